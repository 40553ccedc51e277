"""The lines of a text that have escapes of JSON, decoded, those with colours of a terminal, without them, and hex dumps as text.

What these hide is found so: a colour ends with a letter, behind which no word begins. A text need not be JSON for that:
lines of JSON in the output of a tool, or a part of one that was cut, have escapes, too.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from typing import NamedTuple, Self

LEVELS = 3
"""How often a text may be escaped: JSON in a string of JSON is escaped twice."""
_HIDING = re.compile(r'\\["/un]')
_ESCAPE = "\x1b"
_CODES = re.compile(r"(?:\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)|[()][0-9A-Z]|[=>78cDEHM]))+")
"""Control sequences of terminals (ECMA-48): colours, erasing, links."""
_RUN = re.compile(r'(?:\\(?:u[0-9a-fA-F]{4}|["\\/bfnrt]))+')
_DUMPED = re.compile(
    r"00[0-9A-Fa-f]{4,6}(?:: (?P<grouped>(?:[0-9A-Fa-f]{2}){1,8}(?: (?:[0-9A-Fa-f]{2}){1,8}){0,31})(?: {2,90}[^\n]{0,64})?"
    r"|(?P<single>(?: {1,3}[0-9A-Fa-f]{2}){1,32})(?: {2,90}[|>][^\n]{0,64})?) {0,3}(?=\r?\n|\Z)"
)
"""A line of a hex dump: of xxd, with a colon behind the offset, or of `hexdump -C` and `od -t x1`, with single bytes."""
_GAP = 24
"""The most characters between two lines of a hex dump, such as numbers of lines."""


class View(NamedTuple):
    """A decoded text, and where its parts come from."""

    text: str
    starts: list[int]
    """Where the parts begin in `text`. A part is either as it was, or was a run of escapes."""
    origins: list[tuple[int, int]]
    """Where each part begins and ends in the text that was decoded first."""

    @classmethod
    def of(cls, text: str, wanted: re.Pattern[str]) -> Self | None:
        """The lines in which a pattern is found; None if there are none."""
        if wanted.search(text) is None:
            return None
        pieces: list[str] = []
        starts: list[int] = []
        origins: list[tuple[int, int]] = []
        at = size = 0
        for line in text.split("\n"):
            if wanted.search(line) is not None:
                starts.append(size)
                origins.append((at, at + len(line)))
                pieces += [line, "\n"]
                size += len(line) + 1
            at += len(line) + 1
        return cls("".join(pieces), starts, origins)

    def decoded(self) -> Self | None:
        """The view with one more level of escapes decoded; None if there are none."""
        return self._rewritten(_RUN, lambda run: str(json.loads(f'"{run}"')))

    def without_codes(self) -> Self | None:
        """The view without control sequences of terminals; None if there are none."""
        return self._rewritten(_CODES, lambda _: "") if _ESCAPE in self.text else None

    def _rewritten(self, pattern: re.Pattern[str], change: Callable[[str], str]) -> Self | None:
        """The view with all finds of a pattern changed; None if there are none."""
        made = type(self)("", [], [])
        pieces: list[str] = []
        at = size = number = 0
        for found in pattern.finditer(self.text):
            size, number = self._keep(made, pieces, (at, found.start()), size, number)
            pieces.append(change(found[0]))
            made.starts.append(size)
            made.origins.append(self.origin(found.start(), found.end()))
            size += len(pieces[-1])
            at = found.end()
        if not at:
            return None
        self._keep(made, pieces, (at, len(self.text)), size, number)
        return made._replace(text="".join(pieces))

    def _keep(self, made: Self, pieces: list[str], part: tuple[int, int], size: int, number: int) -> tuple[int, int]:
        """Add a part of the text as it is; returns the size of the made text then, and the number of the last part seen."""
        at, end = part
        while at < end:
            while number + 1 < len(self.starts) and self.starts[number + 1] <= at:
                number += 1
            until = min(end, self.starts[number + 1] if number + 1 < len(self.starts) else end)
            made.starts.append(size)
            made.origins.append(self.origin(at, until))
            pieces.append(self.text[at:until])
            size += until - at
            at = until
        return size, number

    def origin(self, start: int, end: int) -> tuple[int, int]:
        """Where a part of `text` comes from; whole runs of escapes, if it begins or ends within one."""
        return self._begin(start), self._end(end)

    def _begin(self, at: int) -> int:
        number = bisect_right(self.starts, at) - 1
        first = self.origins[number][0]
        return first + at - self.starts[number] if self._is_plain(number) else first

    def _end(self, at: int) -> int:
        number = max(bisect_left(self.starts, at) - 1, 0)
        first, last = self.origins[number]
        return min(first + at - self.starts[number], last) if self._is_plain(number) else last

    def _is_plain(self, number: int) -> bool:
        """Whether a part is as it was: as long as what it comes from, besides a newline that ends a line of the view."""
        end = self.starts[number + 1] if number + 1 < len(self.starts) else len(self.text)
        first, last = self.origins[number]
        return end - self.starts[number] - (last - first) in (0, 1)


def hex_dump(text: str) -> View | None:
    """The bytes of the lines of hex dumps as a text, in which each part comes from a whole line; None if there are none."""
    if "0000" not in text:
        return None
    made: list[str] = []
    view, size, last = View("", [], []), 0, 0
    for line in _DUMPED.finditer(text):
        if line.start() and text[line.start() - 1].isalnum():
            continue
        follows = line.start() - last <= _GAP and text.count("\n", last, line.start()) == 1
        data = bytes.fromhex((line["grouped"] or line["single"]).replace(" ", "")).decode("latin-1")
        made.append(data if follows else "\n" + data)
        view.starts.append(size)
        view.origins.append(line.span())
        size, last = size + len(made[-1]), line.end()
    return view._replace(text="".join(made)) if made else None


def views(text: str) -> Iterator[View]:
    """What a text hides: without the codes of terminals, and with one to LEVELS levels of escapes decoded."""
    if _ESCAPE in text and (view := View.of(text, _CODES)) and (plain := view.without_codes()):
        yield plain
    view = View.of(text, _HIDING)
    for _ in range(LEVELS):
        view = view.decoded() if view is not None else None
        if view is None:
            return
        yield view
        if (plain := view.without_codes()) is not None:
            yield plain
