"""The texts of a record that are compared for leaks: what it shows, and what it trains."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from seedbed.curation.record import Message, Record, is_trained


def shown_of(record: Record) -> list[str]:
    """All texts that a model sees in a training row. The parts of a gap are joined, so that a run across a cut is found.

    The arguments of a tool call are a JSON text; the strings in it are taken, since an escaped text equals no other text, and
    names and punctuation are the same in all calls of a tool.
    """
    found: list[str] = []
    if record.kind == "fim":
        found.append((record.prefix or "") + (record.middle or "") + (record.suffix or ""))
    elif record.kind == "text":
        found.append(record.text or "")
    found += [each.text for each in record.context or ()]
    for message in record.messages or ():
        found += _texts(message)
    return found


def answers_of(record: Record) -> list[str]:
    """The texts that a row trains: the middle, the text, or each part of the trained turns.

    A middle that begins or ends inside a word is cut to whole words: other rows have the whole words only.
    """
    if record.kind == "fim":
        return [whole_words(record.prefix or "", record.middle or "", record.suffix or "")]
    if record.kind == "text":
        return [record.text or ""]
    return [text for text, _ in answers_and_calls_of(record)]


def answers_and_calls_of(record: Record) -> list[tuple[str, bool]]:
    """What `answers_of` gives, with whether it is the arguments of a tool call."""
    if record.kind != "chat":
        return [(text, False) for text in answers_of(record)]
    return [each for message in record.messages or () if is_trained(message) for each in _parts(message)]


def whole_words(before: str, middle: str, after: str) -> str:
    """`middle` without the part of a word at its ends that continues in `before` or `after`."""
    start, end = 0, len(middle)
    if before and _in_word(before[-1]):
        while start < end and _in_word(middle[start]):
            start += 1
    if after and _in_word(after[0]):
        while end > start and _in_word(middle[end - 1]):
            end -= 1
    return middle[start:end]


def _in_word(character: str) -> bool:
    """Whether a character is part of a word, as in `fingerprints`."""
    return (character.isascii() and (character.isalnum() or character == "_")) or "\x80" <= character < "\u0800"


def _texts(message: Message) -> Iterator[str]:
    return (text for text, _ in _parts(message))


def _parts(message: Message) -> Iterator[tuple[str, bool]]:
    for text in (message.reasoning, message.content):
        if text:
            yield text, False
    for call in message.tool_calls or ():
        yield _strings_of_json(call.function.arguments), True


def _strings_of_json(text: str) -> str:
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text
    return "\n".join(_strings(value))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each)
