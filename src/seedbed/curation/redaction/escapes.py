"""The lines of a text that have escapes of JSON, decoded, so that what the escapes hide is found.

A text need not be JSON for that: lines of JSON in the output of a tool, or a part of one that was cut, have escapes, too.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left, bisect_right
from typing import NamedTuple, Self

LEVELS = 3
"""How often a text may be escaped: JSON in a string of JSON is escaped twice."""
_HIDING = re.compile(r'\\["/un]')
_RUN = re.compile(r'(?:\\(?:u[0-9a-fA-F]{4}|["\\/bfnrt]))+')


class View(NamedTuple):
    """A decoded text, and where its parts come from."""

    text: str
    starts: list[int]
    """Where the parts begin in `text`. A part is either as it was, or was a run of escapes."""
    origins: list[tuple[int, int]]
    """Where each part begins and ends in the text that was decoded first."""

    @classmethod
    def of(cls, text: str) -> Self | None:
        """The decoded lines with escapes; None if there are none."""
        if _HIDING.search(text) is None:
            return None
        pieces: list[str] = []
        starts: list[int] = []
        origins: list[tuple[int, int]] = []
        at = size = 0
        for line in text.split("\n"):
            if _HIDING.search(line) is not None:
                starts.append(size)
                origins.append((at, at + len(line)))
                pieces += [line, "\n"]
                size += len(line) + 1
            at += len(line) + 1
        return cls("".join(pieces), starts, origins).decoded()

    def decoded(self) -> Self | None:
        """The view with one more level of escapes decoded; None if there are none."""
        made = type(self)("", [], [])
        pieces: list[str] = []
        at = size = number = 0
        for run in _RUN.finditer(self.text):
            size, number = self._keep(made, pieces, (at, run.start()), size, number)
            pieces.append(json.loads(f'"{run[0]}"'))
            made.starts.append(size)
            made.origins.append(self.origin(run.start(), run.end()))
            size += len(pieces[-1])
            at = run.end()
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
