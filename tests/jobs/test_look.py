"""Rows are found by the text that they show, however the file that holds them escapes it."""

from __future__ import annotations

from pathlib import Path

import pytest

import row_datasets
from seedbed.curation.record import ContextFile, Function, Message, Provenance, Record, ToolCall
from seedbed.jobs import look
from seedbed.jobs.look import Request, _answer, contains
from seedbed.presentation.dataset import dropped_lines
from trained_bases import save_tokenizer

CHAT = Record(
    kind="chat",
    messages=[
        Message(role="user", content='Print "ja" in\ntwo lines\t✓'),
        Message(
            role="assistant",
            reasoning="The shell\\does it",
            tool_calls=[ToolCall(id="1", function=Function(name="bash", arguments='{"run": ["echo \\"ja\\"\\nls"]}'))],
        ),
    ],
    provenance=Provenance(source="codex", session="0123-abc"),
)
GAP = Record(
    kind="fim",
    prefix="def f(",
    middle="value",
    suffix="):\n    return 'é'",
    context=[ContextFile(path="b.py", text="other = 1")],
    provenance=Provenance(source="git", repository="me/app", path="src/a.py"),
)


@pytest.mark.parametrize(
    "wanted",
    ['"ja" in\ntwo', "lines\t✓", "shell\\does", 'echo "ja"\nls', '{"run": ["echo \\"ja\\"', "bash", "0123-abc"],
)
def test_a_conversation_is_found(wanted: str) -> None:
    assert contains(CHAT, wanted)
    assert not contains(GAP, wanted)


@pytest.mark.parametrize("wanted", ["f(value):\n", "return 'é'", "other = 1", "src/a.py", "me/app"])
def test_a_gap_is_found(wanted: str) -> None:
    assert contains(GAP, wanted)
    assert not contains(CHAT, wanted)


@pytest.mark.parametrize("wanted", ["messages", "codex", "in\\ntwo", "prefix", "tool_calls"])
def test_how_the_file_writes_a_row_is_not_its_text(wanted: str) -> None:
    assert not contains(CHAT, wanted)
    assert not contains(GAP, wanted)


def test_rows_that_cannot_be_shown_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path / "cache"))
    (tmp_path / "model").mkdir()
    save_tokenizer(tmp_path / "model")
    monkeypatch.setattr(look, "families_of", lambda tokenizer: [])  # as one without markers for gaps
    rows = [*map(row_datasets.fim_row, range(5)), *map(row_datasets.text_row, range(3))]
    made = row_datasets.dataset(tmp_path / "rows", rows, None)
    request = Request(what="peek", folder=str(made), model=str(tmp_path / "model"), rows=2)
    *shown, last = _answer(request)
    assert [each["kind"] for each in shown] == ["text", "text"]
    assert "5 not shown: gap to fill, for which the tokenizer has no markers" in dropped_lines(last["drops"])
