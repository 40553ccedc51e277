"""Reads rows of OpenAI's chat form: `messages` with tool calls, and `prompt` with `chosen` or `completion`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from seedbed.curation.drops import Drops
from seedbed.curation.logs.conversation import Conversation, call
from seedbed.curation.logs.head import Head
from seedbed.curation.logs.options import STEP, LogOptions
from seedbed.curation.logs.rows import Row, UnreadableRow, arguments_of, read_rows, text_of, turns_of, unknown_role
from seedbed.curation.record import Record, ToolCall

NAME = "openai"

_SYSTEM = ("system", "developer")
_CONVERSATIONS = ("messages", "chosen_messages", "prompt_messages", "prompt", "chosen")
_MEDIA = ("image", "audio", "video", "file")


class _Parts(NamedTuple):
    """What the content of a turn has."""

    texts: list[str]
    thoughts: list[str]
    calls: list[ToolCall]


def recognise(path: Path, head: Head) -> str | None:
    """ "" if the rows of a file have messages with roles; None otherwise."""
    if path.suffix not in (".json", ".jsonl", ".ndjson"):
        return None
    for value in head.values:
        turns = next((value[key] for key in _CONVERSATIONS if key in value), None)
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
        turns = _turns(row)
        if "rejected" in row or "rejected_messages" in row:
            self._drops.note(STEP, "rejected answer left out")
        if not turns:
            raise UnreadableRow("no messages")
        for turn in turns:
            self._turn(turn, talk)

    def _turn(self, turn: Row, talk: Conversation) -> None:
        role = turn.get("role")
        parts = self._parts(turn.get("content"), talk)
        text = "\n\n".join(parts.texts)
        if role in _SYSTEM:
            talk.system(text)
        elif role == "user":
            talk.user(text)
        elif role == "assistant":
            trained = turn.get("trained")
            if turn.get("weight", turn.get("loss_weight")) == 0:
                trained = False
            reasoning = turn.get("reasoning_content") or turn.get("reasoning") or turn.get("thinking")
            if isinstance(reasoning, str):
                parts.thoughts.append(reasoning)
            talk.assistant(
                text or text_of(turn.get("refusal"), "refusal"),
                self._calls(turn, parts.calls, talk),
                "\n\n".join(parts.thoughts),
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

    def _calls(self, turn: Row, made: list[ToolCall], talk: Conversation) -> list[ToolCall]:
        """The calls of a turn, after those among its parts."""
        for each in turns_of(turn.get("tool_calls") or [], "tool_calls"):
            made.append(_call(each.get("function", each), each.get("id"), talk.new_id(len(made))))
        if turn.get("function_call"):
            made.append(_call(turn["function_call"], None, talk.new_id(len(made))))
        return made

    def _parts(self, content: Any, talk: Conversation) -> _Parts:
        """The content of a turn: a text, null, or a list of parts, whose text some datasets call `value`."""
        parts = _Parts([], [], [])
        if not isinstance(content, list):
            parts.texts.append(text_of(content, "content"))
            return parts
        for part in content:
            if isinstance(part, str):
                parts.texts.append(part)
                continue
            if not isinstance(part, dict):
                raise UnreadableRow("content: unknown form")
            kind = str(part.get("type", "text"))
            value = part.get("text", part.get("value", part.get("thinking")))
            if kind == "tool_call":
                parts.calls.append(_call(_json(value), None, talk.new_id(len(parts.calls))))
            elif kind in ("reasoning", "thinking"):
                parts.thoughts.append(text_of(value, "reasoning"))
            elif (name := kind.removesuffix("_url").removeprefix("input_")) in _MEDIA:
                self._drops.note(STEP, f"{name} replaced by a mark")
                parts.texts.append(f"[{name}]")
            elif isinstance(value, str):
                parts.texts.append(value)
            else:
                raise UnreadableRow("content: unknown form")
        return parts


def _turns(row: Row) -> list[Row]:
    """The turns of a row: `messages`, or a prompt with the answer, which may repeat the prompt."""
    first = next((key for key in ("messages", "prompt_messages") if key in row), "prompt")
    prompt = row.get(first) or []
    answer = next((row[key] for key in ("chosen", "completion", "chosen_messages") if row.get(key) is not None), None)
    if answer is None:
        return turns_of(prompt, first)
    answers = turns_of(answer, "answer")
    if any(turn.get("role") == "user" for turn in answers) and isinstance(prompt, str):
        return answers  # the prompt is the question in it
    turns = turns_of([{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt, first)
    return answers if answers[: len(turns)] == turns else turns + answers


def _call(function: Any, call_id: Any, new_id: str) -> ToolCall:
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise UnreadableRow("tool call: unknown form")
    name = call_id if isinstance(call_id, str) and call_id else new_id
    return call(name, function["name"], arguments_of(function.get("arguments")))


def _json(value: Any) -> Any:
    try:
        return msgspec.json.decode(value) if isinstance(value, str) else value
    except (msgspec.DecodeError, RecursionError):
        return None
