"""Removes NUL characters from what logs say, and replaces bytes that are not UTF-8; both are counted."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from seedbed.curation.drops import Drops
from seedbed.curation.logs.options import STEP
from seedbed.curation.record import Function, Message, Record, ToolCall

NULS = "NUL characters removed"
_ESCAPED = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
"""The escape for NUL in a string of JSON, after an even number of backslashes."""


def decoded(data: bytes, drops: Drops) -> str:
    """The text of bytes, with U+FFFD for what is not UTF-8, which is counted, and without NUL characters."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("utf-8", "replace")
        drops.note(STEP, "invalid characters replaced")
    return without_nuls(text, drops)


def without_nuls(text: str, drops: Drops) -> str:
    """The text without NUL characters, which are counted."""
    if "\0" not in text:
        return text
    drops.note(STEP, NULS, text.count("\0"))
    return text.replace("\0", "")


def _json_without_nuls(text: str, drops: Drops) -> str:
    text = without_nuls(text, drops)
    if "\\u0000" not in text:
        return text
    text, count = _ESCAPED.subn(r"\1", text)
    if count:
        drops.note(STEP, NULS, count)
    return text


def clean(record: Record, drops: Drops) -> Record:
    """The record of a conversation, whose texts and JSON have no NUL characters any more."""
    for message in record.messages or ():
        _clean(message, lambda text: without_nuls(text, drops), lambda text: _json_without_nuls(text, drops))
    if record.tools is not None:
        record.tools = _json_without_nuls(record.tools, drops)
    return record


def _clean(message: Message, text: Callable[[str], str], json: Callable[[str], str]) -> None:
    message.content = text(message.content)
    message.reasoning = text(message.reasoning) if message.reasoning is not None else None
    message.name = text(message.name) if message.name is not None else None
    if message.tool_calls:
        message.tool_calls = [_with(call, text, json) for call in message.tool_calls]


def _with(call: ToolCall, text: Callable[[str], str], json: Callable[[str], str]) -> ToolCall:
    name, arguments = text(call.function.name), json(call.function.arguments)
    if (name, arguments) == (call.function.name, call.function.arguments):
        return call
    return msgspec.structs.replace(call, function=Function(name=name, arguments=arguments))
