"""Shorten records that have too many tokens: chats at the boundaries of turns, texts at the ends of lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import ceil
from typing import NamedTuple, Protocol

import msgspec

from seedbed.curation.record import Message, Record, is_trained

FLOOR_TOKENS, FLOOR_SHARE = 64, 16
"""A tool's output is not made shorter than about so many tokens, or this part (1/16) of the limit if that is more."""
USUAL_OVERHEAD = 5
"""Tokens that a template writes around a message, as ChatML does."""
_MARGIN = 1.1
"""An estimate may be too low by about so much."""
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
) -> Clipped:
    """Shorten a record to at most `max_tokens` tokens.

    `length`: how many it has at least, if that is known; if it is at most `max_tokens`, the record is not changed.

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
    chat = ChatClipper(record, total, max_tokens, Sizes(renderer.encode))
    left = total
    while (made := chat.shorter(left)) is not None:
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


class ChatClipper:
    """Shortens a chat step by step, until the caller finds that it is short enough; see `clip` for what goes first."""

    def __init__(self, record: Record, total: int, max_tokens: int, sizes: Sizes) -> None:
        """`total`: the tokens of the rendered chat, or at least of its texts."""
        self._record, self._max_tokens = record, max_tokens
        messages = record.messages or []
        last = max((number for number, each in enumerate(messages) if is_trained(each)), default=len(messages) - 1)
        self._messages: list[Message | None] = list(messages[: last + 1])
        self._trailing_messages = list(messages[last + 1 :])
        self._known, self._floor = sizes, max(FLOOR_TOKENS, max_tokens // FLOOR_SHARE)
        self._sizes = [sizes.of(each) for each in messages[: last + 1]]
        self._trailing_size = sum(map(sizes.of, self._trailing_messages))
        # About what the template writes for a message beside its texts. If it is more, another round leaves out the rest.
        extra = total - sum(self._sizes) - self._trailing_size
        self._overhead = max(USUAL_OVERHEAD, 2 * extra // (len(messages) + 1))
        head = next((number for number, each in enumerate(messages) if each.role in ("assistant", "tool")), last)
        self._steps = list(_steps(messages[: last + 1], head))

    def shorter(self, total: int) -> Record | None:
        """The chat, which has about `total` tokens, with at most about `max_tokens`; None if nothing can be left out."""
        excess = left = total - self._max_tokens
        steps, trailing = len(self._steps), bool(self._trailing_messages)
        if self._trailing_messages:
            left -= self._trailing_size + self._overhead * len(self._trailing_messages)
            self._trailing_messages = []
        for _ in range(self._without_room() if left > 0 else 0):
            left -= self._drop_oldest()
        for step in self._steps[:-1]:
            left -= self._shorten_outputs(step, left)
        while left > 0 and len(self._steps) > 1:
            left -= self._drop_oldest()
        if left > 0 and self._steps:
            left -= self._shorten_outputs(self._steps[-1], left)
        if left >= excess and len(self._steps) == steps and not trailing:
            return None
        return msgspec.structs.replace(self._record, messages=[each for each in self._messages if each is not None])

    def _without_room(self) -> int:
        """How many of the oldest steps have to go even if the outputs of all steps are made as short as they may be."""
        inside = {number for step in self._steps for number in (*step.asked, *step.messages)}
        room = self._max_tokens
        for number, message in enumerate(self._messages):
            if message is not None and number not in inside:
                room -= self._sizes[number]
        for number in range(len(self._steps) - 1, 0, -1):
            room -= self._shortest(self._steps[number])
            if room < 0:
                return number
        return 0

    def _shortest(self, step: _Step) -> int:
        """At least how many tokens the messages of a step have, with the outputs of tools as short as they may be."""
        total = 0
        for number in step.messages:
            message, size = self._messages[number], self._sizes[number]
            is_output = message is not None and message.role == "tool"
            total += min(size, self._floor) if is_output else size
        return total

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
            self._messages[number], self._sizes[number] = self._known.shortened(message, size, wanted)
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


class Sizes:
    """How many tokens the texts of messages have, without what a template writes around them; each is counted once."""

    def __init__(self, encode: Callable[[str], list[int]], exact_characters: int | None = None) -> None:
        """`exact_characters`: longer outputs of tools are estimated from so many of their characters; None: never."""
        self._encode, self._exact = encode, exact_characters
        self._known: dict[int, tuple[Message, int]] = {}  # by `id`, so the messages are kept, too
        self._shortened: dict[tuple[int, int], tuple[Message, int]] = {}
        self._estimates: set[int] = set()
        self._written = float(USUAL_OVERHEAD)

    def of(self, message: Message) -> int:
        """The tokens of a message, which must not change."""
        found = self._known.get(id(message))
        if found is None:
            found = self._known[id(message)] = (message, self._count(message))
        return found[1]

    def note_rendered(self, messages: Sequence[Message], tokens: int) -> None:
        """Note how many tokens a chat has when it is rendered, from which follows what a template writes for a message."""
        self._written = max(self._written, (tokens - sum(map(self.of, messages))) / max(len(messages), 1))

    def rendered(self, messages: Sequence[Message]) -> int:
        """About how many tokens a chat has when it is rendered: rather more than fewer."""
        total = self._written * len(messages)
        for message in messages:
            total += self.of(message) * (_MARGIN if id(message) in self._estimates else 1)
        return ceil(total)

    def shortened(self, message: Message, size: int, wanted: int) -> tuple[Message, int]:
        """The output of a tool of `size` tokens with about `wanted` of them, and how many it then has."""
        key = (id(message), wanted)
        if key not in self._shortened:
            self.of(message)  # which keeps it
            keep = len(message.content) * wanted // size
            made = msgspec.structs.replace(message, content=head_and_tail(message.content, keep))
            self._shortened[key] = (made, self._count(made))
        return self._shortened[key]

    def _count(self, message: Message) -> int:
        texts = [message.content, message.reasoning or ""]
        texts += [text for call in message.tool_calls or () for text in (call.function.name, call.function.arguments)]
        estimated = message.role == "tool" and self._exact is not None
        if estimated and len(message.content) > (self._exact or 0):
            self._estimates.add(id(message))
        return sum(self._estimate(text) if estimated else len(self._encode(text)) for text in texts if text)

    def _estimate(self, text: str) -> int:
        assert self._exact is not None
        if len(text) <= self._exact:
            return len(self._encode(text))
        part = max(self._exact // 2, 1)
        return len(text) * (len(self._encode(text[:part])) + len(self._encode(text[-part:]))) // (2 * part)


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
