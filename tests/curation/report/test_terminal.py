"""The report card in a terminal: lines that fit, with the figures of the rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from reported import chat_with_tools, dataset, measured
from seedbed.curation.drops import Drops
from seedbed.curation.report.summary import Summary, summarise
from seedbed.curation.report.terminal import lines, wrapped
from split_rows import chat, fim


@pytest.fixture
def summary(tmp_path: Path) -> Summary:
    rows = [fim("a = 1\nb = 2\n" * 20, 10, 60, f"{n}.py", f"repository-{n}" * (1 + n)) for n in range(12)]
    rows[3].provenance.repository = "\x1b[31mred\x1b[0m\nsecond line"
    rows[4].provenance.repository = "漢字のリポジトリ" * 10
    drops = Drops()
    for number in range(30):
        drops.drop("files", "vendored folder", f"{number}", "")
    facts = {"leakage": {"answers": 2, "leaked": 0}}
    path, description = dataset(
        tmp_path / "full",
        [*rows, chat_with_tools()],
        [chat("a", "b")],
        drops,
        facts=facts,
        command="seedbed data merge a",
    )
    return summarise(path, description)


@pytest.mark.parametrize("width", [40, 61, 80, 200])
def test_lines_fit_the_width(summary: Summary, width: int) -> None:
    from rich.cells import cell_len

    for line in lines(summary, width):
        assert cell_len(line) <= width
        assert line.isprintable()


def test_lines_say_what_there_is(summary: Summary) -> None:
    text = "\n".join(lines(summary, 100))
    assert "13 for training, 1 for evaluation" in text
    assert "0 of 2 evaluation answers visible in training rows" in text
    assert "vendored folder (files)" in text
    assert "gap to fill" in text
    assert "6 others" in text  # of the repositories
    assert "seedbed data merge a" in text


def test_tokens_leaks_sets_and_duplicates_are_said(summary: Summary) -> None:
    summary.tokens = measured()
    pair = {"share": 0.4, "train_share": 0.3, "eval_row": "git app a.py, row 1", "train_row": "git app a.py, row 2"}
    summary.facts = {
        "leakage": {"answers": 2, "leaked": 0, "worst": [pair], "messages": ["No chat row is evaluated."]},
        "evaluation_sets": [{"name": "eval.jsonl", "items": 164, "repeated": 5, "dropped": 7}],
        "duplicates": {"records": 40, "exact": 4, "near": 2, "clustered": 10},
    }
    text = "\n".join(lines(summary, 120))
    for shown in (
        "1k tokens; 25 % of them are trained",
        "at a context of 64 tokens of small: 9 whole, 1 shortened, 2 left out",
        "3 packed rows, 98.76 % full",
        "markers, prefix find the same tokens",
        "the most visible one: 40% of an answer of git app a.py, row 1 is in training rows, 30% in git app a.py, row 2",
        "No chat row is evaluated.",
        "5 of 164 items of eval.jsonl repeated; left out for it: 7 rows",
        "Tokens of a row (median 10, longest 70)",
        "Duplicates among 40 rows",
    ):
        assert shown in text
    summary.tokens = measured(problem="Two ways disagree.")
    assert "chat template refused for default: Two ways disagree." in "\n".join(lines(summary, 100))


def test_nothing_is_cut_on_a_narrow_terminal(summary: Summary) -> None:
    shown = "".join("".join(lines(summary, 40)).split())
    assert "…" not in shown
    for text in ("0 of 2 evaluation answers visible in training rows", "repository-2" * 3):
        assert text.replace(" ", "") in shown


def test_a_long_line_is_cut_at_spaces_and_keeps_its_beginning() -> None:
    assert wrapped("  one two three", 9) == ["  one two", "  three"]
    assert wrapped("  abcdefghij k", 8) == ["  abcdef", "  ghij k"]
    assert wrapped("漢字漢字", 4) == ["漢字", "漢字"]
    assert wrapped("a   b", 5) == ["a   b"]


def test_bars_are_to_scale(summary: Summary) -> None:
    kinds = [line for line in lines(summary, 100) if line.startswith(("  gap", "  conv"))]
    assert [line.count("━") for line in kinds] == [40, 7]  # 12 and 2 rows
