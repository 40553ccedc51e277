"""The messages and tools of a record, in the form that chat templates read."""

from __future__ import annotations

import json
from typing import Any

from seedbed.curation.record import Message, Record, is_trained
from seedbed.curation.rendering.probes import Arguments
from seedbed.tokenizer.tokenizer import well_formed


class UnreadableError(Exception):
    """A record cannot be given to a chat template; the message is a reason to count."""


def messages_of(record: Record, arguments: Arguments) -> list[dict[str, Any]]:
    """The messages of a record for a template that takes the arguments of tool calls in this form.

    Raises UnreadableError.
    """
    if not record.messages:
        raise UnreadableError("a chat without messages")
    return [_message(each, arguments) for each in record.messages]


def tools_of(record: Record) -> list[dict[str, Any]] | None:
    """The tools of a record; None if it has none. Raises UnreadableError."""
    if not record.tools:
        return None
    try:
        found = json.loads(record.tools)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise UnreadableError("the tools of a chat are not a JSON list of objects")
    return found or None


def trained_turns(record: Record) -> list[int]:
    """The numbers of the messages that the loss counts: turns of the assistant only, whatever others say."""
    return [
        number
        for number, message in enumerate(record.messages or ())
        if message.role == "assistant" and is_trained(message)
    ]


def _message(message: Message, arguments: Arguments) -> dict[str, Any]:
    made: dict[str, Any] = {"role": message.role, "content": well_formed(message.content)}
    if message.reasoning:
        made["reasoning_content"] = well_formed(message.reasoning)
    if message.tool_calls:
        made["tool_calls"] = [
            {
                "id": call.id,
                "type": call.type,
                "function": {
                    "name": well_formed(call.function.name),
                    "arguments": _arguments(call.function.arguments, arguments),
                },
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        made["tool_call_id"] = message.tool_call_id
    if message.name is not None:
        made["name"] = well_formed(message.name)
    return made


def _arguments(text: str, form: Arguments) -> Any:
    if form == "text":
        return well_formed(text)
    try:
        value = json.loads(text or "{}", parse_constant=_refused)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise UnreadableError("the arguments of a tool call are not a JSON object")
    return value


def _refused(name: str) -> None:
    raise ValueError(name)
