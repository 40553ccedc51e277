"""Reads rows of the ShareGPT form: `conversations` of `from` and `value`, with the names of LLaMA-Factory.

Source of the names: https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from seedbed.curation.drops import Drops
from seedbed.curation.logs.conversation import Conversation, call
from seedbed.curation.logs.head import Head
from seedbed.curation.logs.options import STEP, LogOptions
from seedbed.curation.logs.rows import Row, UnreadableRow, arguments_of, read_rows, text_of, turns_of, unknown_role
from seedbed.curation.record import Record, ToolCall

NAME = "sharegpt"

_ROLES = {
    "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "chatgpt": "assistant",
    "bing": "assistant", "bard": "assistant", "model": "assistant", "system": "system",
    "function_call": "call", "observation": "result", "tool": "result", "function_response": "result",
}  # fmt: skip


def recognise(path: Path, head: Head) -> str | None:
    """ "" if the rows of a file have conversations; None otherwise."""
    if path.suffix not in (".json", ".jsonl", ".ndjson"):
        return None
    for value in head.values:
        turns = value.get("conversations", value.get("conversation"))
        if isinstance(turns, list) and turns and isinstance(turns[0], dict) and {"from", "value"} <= turns[0].keys():
            return ""
    return "" if not head.values and {"conversations", "from", "value"} <= head.keys else None


def unit_of(path: Path) -> Path:
    """Each file is read on its own."""
    return path


def read(files: list[tuple[Path, str]], options: LogOptions, drops: Drops) -> Iterator[Record]:
    """Yield the record of each row. Of pairs for preference training only the chosen answer is read."""

    def fill(row: Row, talk: Conversation) -> None:
        turns = turns_of(row.get("conversations", row.get("conversation")), "conversations")
        if isinstance(row.get("chosen"), dict):
            turns = [*turns, row["chosen"]]
            drops.note(STEP, "rejected answer left out")
        talk.system(text_of(row.get("system"), "system"))
        for turn in turns:
            _turn(turn, talk)

    return read_rows(NAME, files, options, drops, fill)


def _turn(turn: Row, talk: Conversation) -> None:
    role = _ROLES.get(str(turn.get("from", turn.get("role"))))
    text = text_of(turn.get("value", turn.get("content")), "value")
    if role == "user":
        talk.user(text)
    elif role == "assistant":
        talk.assistant(text)
    elif role == "system":
        talk.system(text)
    elif role == "call":
        talk.assistant("", _calls(text, talk))
    elif role == "result":
        for call_id in talk.pending()[:1] or [""]:
            talk.result(call_id, text)
    else:
        raise unknown_role(turn.get("from", turn.get("role")))


def _calls(text: str, talk: Conversation) -> list[ToolCall]:
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        raise UnreadableRow("function call: no JSON") from None
    made: list[ToolCall] = []
    for each in value if isinstance(value, list) else [value]:
        if not isinstance(each, dict) or not isinstance(each.get("name"), str):
            raise UnreadableRow("function call: unknown form")
        made.append(call(talk.new_id(len(made)), each["name"], arguments_of(each.get("arguments"))))
    return made
