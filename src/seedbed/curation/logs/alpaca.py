"""Reads rows of the Alpaca form: `instruction`, `input`, `output`, with `system` and `history`.

Source of the columns: https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from seedbed.curation.drops import Drops
from seedbed.curation.logs.conversation import Conversation
from seedbed.curation.logs.head import Head
from seedbed.curation.logs.options import STEP, LogOptions
from seedbed.curation.logs.rows import Row, UnreadableRow, read_rows, text_of
from seedbed.curation.record import Record

NAME = "alpaca"

_PROMPTS = ("instruction", "prompt", "question")
_INPUTS = ("input", "context")
_ANSWERS = ("output", "response", "completion", "answer", "chosen")


def recognise(path: Path, head: Head) -> str | None:
    """ "" if the rows of a file have an instruction and an answer; None otherwise."""
    if path.suffix not in (".json", ".jsonl", ".ndjson"):
        return None
    for value in head.values:
        if any(isinstance(value.get(key), str) for key in _PROMPTS) and any(
            isinstance(value.get(key), str) for key in _ANSWERS
        ):
            return ""
    return "" if not head.values and {"instruction", "output"} <= head.keys else None


def unit_of(path: Path) -> Path:
    """Each file is read on its own."""
    return path


def read(files: list[tuple[Path, str]], options: LogOptions, drops: Drops) -> Iterator[Record]:
    """Yield the record of each row; of pairs for preference training only the chosen answer is read."""

    def fill(row: Row, talk: Conversation) -> None:
        prompt, answer = _first(row, _PROMPTS), _first(row, _ANSWERS)
        if prompt is None or answer is None:
            raise UnreadableRow("no instruction or no answer")
        if "rejected" in row:
            drops.note(STEP, "rejected answer left out")
        talk.system(text_of(row.get("system"), "system"))
        history = row.get("history") or []
        if not isinstance(history, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in history):
            raise UnreadableRow("history: no list of pairs")
        for question, reply in history:
            talk.user(text_of(question, "history"))
            talk.assistant(text_of(reply, "history"))
        # LLaMA-Factory joins the two with a newline, too.
        talk.user("\n".join(filter(None, (prompt, _first(row, _INPUTS)))))
        talk.assistant(answer)

    return read_rows(NAME, files, options, drops, fill)


def _first(row: Row, keys: tuple[str, ...]) -> str | None:
    for key in keys:
        if row.get(key) is not None:
            return text_of(row[key], key)
    return None
