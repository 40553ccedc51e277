"""The results of an evaluation as text: tables that fit the terminal, and names that cannot control it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from seedbed.errors import SeedbedError
from seedbed.presentation.evaluation import lines, read_results, with_margin
from seedbed.runs.store import Store
from seedbed.runs.tasks import create_task


def model(name: str, bits: float, **fields: Any) -> dict[str, Any]:
    row = {"name": name, "parameters": 134_515_008, "tokens": 285_123, "loss": 2.5312, "perplexity": 12.57}
    interval = {"bits_per_byte": bits, "bits_per_byte_low": bits - 0.02, "bits_per_byte_high": bits + 0.03}
    return row | interval | fields


def results(*models: dict[str, Any], **fields: Any) -> dict[str, Any]:
    names = [each["name"] for each in models]
    pairs = [(a, b) for number, a in enumerate(names) for b in names[number + 1 :]]
    interval = {"bits_per_byte": -0.01, "bits_per_byte_low": -0.015, "bits_per_byte_high": -0.005, "a_better": 0.998}
    return {
        "format": 1,
        "data": {"name": "wikitext-2", "split": "validation", "documents": 60, "bytes": 1_121_681},
        "method": {"confidence": 0.95, "resamples": 10_000, "unit": "document", "units": 60},
        "models": list(models),
        "differences": [{"a": a, "b": b, **interval} for a, b in pairs],
        "notes": ["The tokenizers differ: compare bits per byte, not losses and perplexities, which are per token."],
        **fields,
    }


def test_the_tables_fit_80_columns_and_have_all_figures() -> None:
    long = "a-name-that-is-much-longer-than-a-terminal-has-columns-to-show-it-whole@12000"
    shown = lines(results(model("SmolLM2-135M-Instruct", 0.8912), model(long, 0.9)))
    assert max(map(len, shown)) <= 80
    text = "\n".join(shown)
    for figure in ("wikitext-2 (validation): 60 documents, 1.1 MiB", "135M", "285k", "2.5312", "12.57"):
        assert figure in text
    assert "0.8912 ± 0.0250" in text
    assert "-0.0100  -0.0150 to -0.0050     99.8%" in text
    assert "95%, from 10,000 resamples of 60 documents" in text
    assert "The tokenizers differ" in text


@pytest.mark.parametrize(
    ("name", "shown"),
    [("text:/tmp/notes.txt", "text:/tmp/notes.txt"), (f"text:/{'a' * 40}/notes.txt", f"text:…{'a' * 24}/notes.txt")],
)
def test_a_heading_that_does_not_fit_has_two_lines_and_keeps_the_kind_of_text(name: str, shown: str) -> None:
    data = {"name": name, "split": "validation", "documents": 60, "bytes": 1_121_681}
    assert lines(results(model("a", 0.9), data=data), 40)[:2] == [shown, "(validation): 60 documents, 1.1 MiB"]


@pytest.mark.parametrize("columns", [40, 52, 64, 80, 100])
def test_a_narrow_terminal_gets_all_figures_and_whole_names(columns: int) -> None:
    names = ["quickstart@12000", "a-folder/with-a-name-of-many-words/step-00001200"]
    shown = lines(results(*(model(name, 0.8912) for name in names)), columns)
    assert max(map(len, shown)) <= columns
    text = "\n".join(shown)
    for figure in ("135M", "285k", "2.5312", "12.57", "0.8912 ± 0.0250", "-0.0150 to -0.0050", "99.8%"):
        assert figure in text
    assert "…" not in text
    for name in names:
        last = name.rpartition("/")[2][-8:]
        assert text.count(last) == 2, "the end of a name, which tells checkpoints apart, is cut"


def test_a_name_is_folded_within_its_column() -> None:
    shown = lines(results(model("a-folder/with-a-name-of-many-words/step-00001200", 0.8912)), 74)
    header = next(number for number, line in enumerate(shown) if line.startswith("MODEL"))
    first, *folded = shown[header + 1 : shown.index("", header)]
    assert first.endswith("0.8912 ± 0.0250")
    assert folded
    assert first.split()[0] + "".join(folded) == "a-folder/with-a-name-of-many-words/step-00001200"


def test_without_intervals_values_stand_alone() -> None:
    alone = model("one", 1.25, bits_per_byte_low=None, bits_per_byte_high=None, perplexity=None)
    text = "\n".join(lines(results(alone)))
    assert "1.2500\n" in text
    assert "±" not in text
    assert "infinite" in text
    assert "Differences" not in text
    assert "resamples" not in text
    assert with_margin(2.0, 1.5, 2.7) == "2.0000 ± 0.6000"


def test_of_a_long_path_the_end_is_shown() -> None:
    data = {"name": f"text:/{'a' * 90}/notes", "split": "all", "documents": 1, "bytes": 12}
    first, second, *_ = lines(results(model("a", 1.0), data=data))
    assert len(first) == 80
    assert first.startswith("text:…aaa")
    assert first.endswith("aa/notes")
    assert second == "(all): 1 document, 12 B"


def test_names_cannot_control_the_terminal() -> None:
    text = "\n".join(lines(results(model("\x1b[31mred\x07", 1.0), model("b", 1.1))))
    assert "\x1b" not in text
    assert "\x07" not in text


@pytest.mark.parametrize("content", ["", "[]", json.dumps({"format": 1}), json.dumps({"format": 2, "models": []})])
def test_results_that_cannot_be_read_are_an_error(tmp_path: Path, content: str) -> None:
    task = create_task(Store(tmp_path / "runs"), "evaluate", "x", "", tmp_path / "x.json")
    if content:
        (tmp_path / "x.json").write_text(content)
    with pytest.raises(SeedbedError, match=r"missing|newer version"):
        read_results(task)
