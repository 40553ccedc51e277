"""Shorten records that have too many tokens: chats at the boundaries of turns, texts at the ends of lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from seedbed.curation.record import Message, Record, is_trained

FLOOR_TOKENS, FLOOR_SHARE = 64, 16
"""A tool's output is not made shorter than about so many tokens, or this part (1/16) of the limit if that is more."""
_MARK = "\n[... {count:,} characters left out ...]\n"


class Counter(Protocol):
    """What `clip` needs of a Renderer (a Protocol)."""

    def count(self, record: Record) -> int | None: ...
    def encode(self, text: str) -> list[int]: ...


class Clipped(NamedTuple):
    """What is left of a record: one record, several pieces of a text, or none for a `reason`; and how many tokens were lost."""

    records: list[Record]
    lost_tokens: int = 0
    reason: str = ""


def clip(
    record: Record,
    max_tokens: int,
    renderer: Counter,
    *,
    length: int | None = None,
    sizes: Mapping[int, int] | None = None,
) -> Clipped:
    """Shorten a record to at most `max_tokens` tokens.

    `length`: how many it has at least, if that is known; if it is at most `max_tokens`, the record is not changed. `sizes`: the
    tokens of the texts of messages (see `size_of`) by `id`, for messages of which they are known.

    A chat keeps its system message and its first task; what comes after the last trained turn goes first, then the oldest
    outputs of tools are shortened (their beginning and end stay), then the oldest turns go, each with its tool results; the
    messages of a user stay as long as turns that answer them. A turn of the assistant is never cut: a chat whose last trained
    turn does not fit is left out. A text is cut into pieces at the ends of lines, and nothing is lost. A row for fill in the
    middle is not shortened.
    """
    if record.kind == "text":
        pieces = list(cut_text(record.text or "", max_tokens - 1, renderer.encode))
        return Clipped([msgspec.structs.replace(record, text=piece) for piece in pieces])
    if record.kind == "fim":
        return Clipped([record])
    total = renderer.count(record) if length is None else length
    if total is None:
        return Clipped([], 0, "the chat template refuses the chat")
    if total <= max_tokens:
        return Clipped([record])
    chat = _Chat(record.messages or [], renderer, total, sizes or {}, max(FLOOR_TOKENS, max_tokens // FLOOR_SHARE))
    left = total
    while chat.shorten(left - max_tokens):
        made = msgspec.structs.replace(record, messages=chat.messages)
        counted = renderer.count(made)
        if counted is None:
            return Clipped([], total, "the chat template refuses the chat without its oldest turns")
        left = counted
        if left <= max_tokens:
            return Clipped([made], total - left)
    return Clipped([], total, "a turn and its task are longer than the limit")


class _Step(NamedTuple):
    """A turn of the assistant with its tool results: the numbers of their messages, and the user's messages before it."""

    asked: list[int]
    messages: list[int]


class _Chat:
    """The messages of a chat that is shortened, with about how many tokens each has."""

    def __init__(
        self, messages: Sequence[Message], renderer: Counter, total: int, sizes: Mapping[int, int], floor: int
    ) -> None:
        last = max((number for number, each in enumerate(messages) if is_trained(each)), default=len(messages) - 1)
        self._messages: list[Message | None] = list(messages[: last + 1])
        self._trailing_messages = list(messages[last + 1 :])
        self._encode, self._known, self._floor = renderer.encode, sizes, floor
        self._sizes = [self._size(each) for each in messages[: last + 1]]
        self._trailing_size = sum(map(self._size, self._trailing_messages))
        # At most what the template writes for a message beside its texts. If it is less, another round leaves out the rest.
        self._overhead = 2 * max(0, total - sum(self._sizes) - self._trailing_size) // (len(messages) + 1)
        head = next((number for number, each in enumerate(messages) if each.role in ("assistant", "tool")), last)
        self._steps = list(_steps(messages[: last + 1], head))

    @property
    def messages(self) -> list[Message]:
        """What is left."""
        return [*(each for each in self._messages if each is not None), *self._trailing_messages]

    def shorten(self, excess: int) -> bool:
        """Leave out about `excess` tokens or more. Returns whether anything was left out."""
        left, steps, trailing = excess, len(self._steps), bool(self._trailing_messages)
        if self._trailing_messages:
            left -= self._trailing_size + self._overhead * len(self._trailing_messages)
            self._trailing_messages = []
        for step in self._steps[:-1]:
            left -= self._shorten_outputs(step, left)
        while left > 0 and len(self._steps) > 1:
            left -= self._drop_oldest()
        if left > 0 and self._steps:
            left -= self._shorten_outputs(self._steps[-1], left)
        return left < excess or len(self._steps) < steps or trailing

    def _shorten_outputs(self, step: _Step, excess: int) -> int:
        """Shorten the outputs of tools of a step; returns how many tokens they lost."""
        lost = 0
        for number in step.messages:
            message = self._messages[number]
            if excess - lost <= 0 or message is None or message.role != "tool":
                continue
            size = self._sizes[number]
            wanted = max(self._floor, size - (excess - lost) - FLOOR_TOKENS // 2)
            if size <= self._floor + FLOOR_TOKENS or wanted >= size:
                continue
            keep = len(message.content) * wanted // size
            self._messages[number] = msgspec.structs.replace(message, content=head_and_tail(message.content, keep))
            self._sizes[number] = self._size(self._messages[number])
            lost += size - self._sizes[number]
        return lost

    def _drop_oldest(self) -> int:
        """Leave out the oldest step; the user's messages before it stay if the next step answers them, too."""
        asked, messages = self._steps.pop(0)
        gone = list(messages)
        if self._steps[0].asked:
            gone += asked
        else:
            self._steps[0] = _Step(asked, self._steps[0].messages)
        for number in gone:
            self._messages[number] = None
        return sum(self._sizes[number] + self._overhead for number in gone)

    def _size(self, message: Message | None) -> int:
        if message is None:
            return 0
        return self._known.get(id(message)) or size_of(message, self._encode)


def size_of(message: Message, encode: Callable[[str], list[int]]) -> int:
    """How many tokens the texts of a message have, without what a template writes around them."""
    texts = [message.content, message.reasoning or ""]
    texts += [text for call in message.tool_calls or () for text in (call.function.name, call.function.arguments)]
    return sum(len(encode(text)) for text in texts if text)


def _steps(messages: Sequence[Message], head: int) -> Iterator[_Step]:
    """The steps after the head of a chat, which has the system message and the first task."""
    asked: list[int] = []
    own: list[int] = []
    for number in range(head, len(messages)):
        role = messages[number].role
        if own and role != "tool":
            yield _Step(asked, own)
            asked, own = [], []
        (own if role in ("assistant", "tool") else asked).append(number)
    if own or asked:
        yield _Step(asked, own)


def head_and_tail(text: str, keep: int) -> str:
    """The beginning and the end of a text, together about `keep` characters, at the ends of lines if some are near."""
    head, tail = text[: keep * 2 // 3], text[len(text) - keep // 3 :]
    line = head.rfind("\n")
    if line > len(head) // 2:
        head = head[:line]
    line = tail.find("\n")
    if 0 <= line < len(tail) // 2:
        tail = tail[line + 1 :]
    return head + _MARK.format(count=len(text) - len(head) - len(tail)) + tail


def cut_text(text: str, max_tokens: int, encode: Callable[[str], list[int]]) -> Iterator[str]:
    """Cut a text into pieces of at most `max_tokens` tokens each; together they are the text.

    It is cut at empty lines if they are near, else at the ends of lines, and a longer line at spaces. `encode` gives the ids.
    """
    lines = [piece for line in text.split("\n") for piece in (line, "\n")][:-1]
    lines = [first + newline for first, newline in zip(lines[::2], [*lines[1::2], ""], strict=True)]
    piece: list[str] = []
    sizes: list[int] = []
    for line in lines:
        size = len(encode(line))
        if size > max_tokens:
            yield from _fitting("".join(piece), max_tokens, encode)
            piece, sizes = [], []
            yield from _fitting(line, max_tokens, encode)
            continue
        if sum(sizes) + size > max_tokens:
            cut = _empty_line(piece)
            yield from _fitting("".join(piece[:cut]), max_tokens, encode)
            piece, sizes = piece[cut:], sizes[cut:]
            if sum(sizes) + size > max_tokens:
                yield from _fitting("".join(piece), max_tokens, encode)
                piece, sizes = [], []
        piece.append(line)
        sizes.append(size)
    yield from _fitting("".join(piece), max_tokens, encode)


def _empty_line(lines: Sequence[str]) -> int:
    """Where to cut lines: after the last empty line in their second half, else after the last line."""
    for number in range(len(lines), len(lines) // 2, -1):
        if not lines[number - 1].strip():
            return number
    return len(lines)


def _fitting(text: str, max_tokens: int, encode: Callable[[str], list[int]]) -> Iterator[str]:
    """A text, or, if it has too many tokens, parts of it that have not; cut near the middle at a line, a space or anywhere."""
    if not text:
        return
    if len(text) == 1 or len(encode(text)) <= max_tokens:
        yield text
        return
    middle = len(text) // 2
    cuts = (text.rfind(sign, len(text) // 4, middle) + 1 for sign in ("\n", " "))
    cut = next((each for each in cuts if each > 0), middle)
    yield from _fitting(text[:cut], max_tokens, encode)
    yield from _fitting(text[cut:], max_tokens, encode)
