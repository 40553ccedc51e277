"""Words that change often: painted anew only where they differ, laid out anew only where their height may, followed."""

from __future__ import annotations

from rich.cells import cell_len
from rich.text import Text
from textual.containers import VerticalScroll
from textual.widgets import Static


class Words(Static):
    """A text of one or more lines."""

    def __init__(self, *, id: str) -> None:  # noqa: A002  # Textual's own name
        super().__init__("", id=id)
        self._said = Text()
        self._shape: tuple[object, ...] = ()

    def say(self, words: Text) -> None:
        """Show these words."""
        if words == self._said and words.style == self._said.style:
            return
        self._said = words
        width = max(self.size.width, 1)
        shape = (width, tuple(_breaks(line, width) for line in words.plain.split("\n")))
        self.update(words, layout=shape != self._shape)
        self._shape = shape


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
