"""Reads rows of OpenAI's chat form: `messages` with tool calls, and `prompt` with `chosen` or `completion`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seedbed.curation.drops import Drops
from seedbed.curation.logs.conversation import Conversation, call
from seedbed.curation.logs.head import Head
from seedbed.curation.logs.options import STEP, LogOptions
from seedbed.curation.logs.rows import Row, UnreadableRow, arguments_of, read_rows, text_of, turns_of, unknown_role
from seedbed.curation.record import Record, ToolCall

NAME = "openai"

_SYSTEM = ("system", "developer")


def recognise(path: Path, head: Head) -> str | None:
    """ "" if the rows of a file have messages with roles; None otherwise."""
    if path.suffix not in (".json", ".jsonl", ".ndjson"):
        return None
    for value in head.values:
        turns = value.get("messages", value.get("prompt", value.get("chosen")))
        if isinstance(turns, list) and turns and isinstance(turns[0], dict) and "role" in turns[0]:
            return ""
    return "" if not head.values and {"messages", "role", "content"} <= head.keys else None


def unit_of(path: Path) -> Path:
    """Each file is read on its own."""
    return path


def read(files: list[tuple[Path, str]], options: LogOptions, drops: Drops) -> Iterator[Record]:
    """Yield the record of each row. Of pairs for preference training only the chosen answer is read."""
    return read_rows(NAME, files, options, drops, _Filler(drops).fill)


class _Filler:
    def __init__(self, drops: Drops) -> None:
        self._drops = drops

    def fill(self, row: Row, talk: Conversation) -> None:
        """Add the turns of a row."""
        first = "messages" if "messages" in row else "prompt"
        turns = turns_of(row.get(first) or [], first)
        answer = row.get("chosen", row.get("completion"))
        if answer is not None:
            answers = turns_of(answer, "answer")
            turns = answers if answers[: len(turns)] == turns and turns else turns + answers
        if "rejected" in row:
            self._drops.note(STEP, "rejected answer left out")
        if not turns:
            raise UnreadableRow("no messages")
        for turn in turns:
            self._turn(turn, talk)

    def _turn(self, turn: Row, talk: Conversation) -> None:
        role = turn.get("role")
        text = self._content(turn.get("content"))
        if role in _SYSTEM:
            talk.system(text)
        elif role == "user":
            talk.user(text)
        elif role == "assistant":
            trained = turn.get("trained")
            if turn.get("weight") == 0:
                trained = False
            reasoning = turn.get("reasoning_content") or turn.get("reasoning") or turn.get("thinking")
            talk.assistant(
                text or self._content(turn.get("refusal")),
                self._calls(turn, talk),
                reasoning if isinstance(reasoning, str) else None,
                trained=trained if isinstance(trained, bool) else None,
            )
        elif role in ("tool", "function"):
            call_id = turn.get("tool_call_id")
            open_calls = talk.pending()
            if not isinstance(call_id, str):
                call_id = open_calls[0] if open_calls else ""
            talk.result(call_id, text)
        else:
            raise unknown_role(role)

    def _calls(self, turn: Row, talk: Conversation) -> list[ToolCall]:
        made: list[ToolCall] = []
        for each in turns_of(turn.get("tool_calls") or [], "tool_calls"):
            function = each.get("function", each)
            if not isinstance(function, dict) or not isinstance(function.get("name"), str):
                raise UnreadableRow("tool call: unknown form")
            call_id = each.get("id")
            name = call_id if isinstance(call_id, str) and call_id else talk.new_id(len(made))
            made.append(call(name, function["name"], arguments_of(function.get("arguments"))))
        older = turn.get("function_call")
        if isinstance(older, dict) and isinstance(older.get("name"), str):
            made.append(call(talk.new_id(len(made)), older["name"], arguments_of(older.get("arguments"))))
        return made

    def _content(self, content: Any) -> str:
        if not isinstance(content, list):
            return text_of(content, "content")
        parts = []
        for part in content:
            if isinstance(part, str):
                parts.append(part)
            elif isinstance(part, dict) and isinstance(part.get("text"), str):
                parts.append(part["text"])
            elif isinstance(part, dict):
                kind = str(part.get("type", "part")).removesuffix("_url").removeprefix("input_")
                if kind not in ("image", "audio", "file", "video"):
                    raise UnreadableRow("content: unknown form")
                self._drops.note(STEP, f"{kind} replaced by a mark")
                parts.append(f"[{kind}]")
            else:
                raise UnreadableRow("content: unknown form")
        return "\n\n".join(parts)
