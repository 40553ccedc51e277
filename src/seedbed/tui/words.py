"""Words that change often: painted anew only where they differ, laid out anew only where their height may change.

A name or path that is longer than a line is divided at one of its own marks, not inside a word.
"""

from __future__ import annotations

import re

from rich.cells import cell_len
from rich.text import Text
from textual.containers import VerticalScroll
from textual.widgets import Static

_WORD = re.compile(r"\S+")
_MARK = re.compile(r"(?<=[/\\_.,:;=+-])")
"""After these a long word may be divided."""
_LEAST = 10


class Words(Static):
    """A text of one or more lines."""

    def __init__(self, words: Text | None = None, *, id: str) -> None:  # noqa: A002  # Textual's own name
        super().__init__("" if words is None else words, id=id)
        self._said = Text() if words is None else words
        self._shape: tuple[object, ...] = ()

    def say(self, words: Text) -> None:
        """Show these words."""
        if words == self._said and words.style == self._said.style:
            return
        self._said = words
        self._lay()

    def on_resize(self) -> None:
        """Divide anew what is longer than a line."""
        if any(cell_len(word) > self.size.width for word in self._said.plain.split()):
            self._lay()

    def _lay(self) -> None:
        width = max(self.size.width, 1)
        words = divided(self._said, width)
        shape = (width, tuple(_breaks(line, width) for line in words.plain.split("\n")))
        self.update(words, layout=shape != self._shape)
        self._shape = shape


def divided(words: Text, width: int) -> Text:
    """The same, with line breaks after a mark in every word (a path, a name) that is longer than a line."""
    places: list[int] = []
    for word in _WORD.finditer(words.plain):
        if width < _LEAST or cell_len(word[0]) <= width:
            continue
        place, filled = word.start(), 0
        for part in _MARK.split(word[0]):
            cells = cell_len(part)
            if filled and filled + cells > width:
                places.append(place)
                filled = 0
            filled = (filled + cells - 1) % width + 1
            place += len(part)
    return Text("\n").join(words.divide(places)) if places else words


def _breaks(line: str, width: int) -> tuple[int, ...]:
    """What decides on how many rows a line takes: nothing where it fits, else the lengths of its words."""
    return () if cell_len(line) <= width else tuple(cell_len(word) for word in line.split(" "))


class Follow(VerticalScroll):
    """Begins at its top, and goes along with what is added at its end, until one scrolls back to read."""

    _end = 0.0

    def watch_virtual_size(self) -> None:
        """There is more or less in it: follow once that is laid out."""
        self.call_later(self.on_resize)

    def on_resize(self) -> None:
        """There is more or less room."""
        if self.scroll_target_y >= self._end:
            self.scroll_end(animate=False, immediate=True)
        self._end = self.max_scroll_y
