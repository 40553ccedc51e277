"""Text that changes often: it is drawn again only if it differs, and laid out again only if its height may change.

A word that is longer than a line (a path, a name) is divided after a punctuation mark.
"""

from __future__ import annotations

import re

from rich.cells import cell_len
from rich.text import Text
from textual.containers import VerticalScroll
from textual.widgets import Static

_WORD = re.compile(r"\S+")
_BREAK = re.compile(r"(?<=[/\\_.,:;=+-])")
"""The places at which a long word may be divided: after a punctuation mark."""
_MIN_WIDTH = 10
"""In lines with fewer terminal cells than this, no word is divided."""


class WrappedText(Static):
    """A widget that shows a text of one or more lines; long words are divided."""

    def __init__(self, content: Text | None = None, *, id: str) -> None:  # noqa: A002  # Textual's own name
        super().__init__("" if content is None else content, id=id)
        self._content = Text() if content is None else content
        self._layout_key: tuple[object, ...] = ()

    def set_text(self, content: Text) -> None:
        """Show this text in place of the previous one."""
        if content == self._content and content.style == self._content.style:
            return
        self._content = content
        self._show_content()

    def on_resize(self) -> None:
        """Divide words that are longer than a line of the new width."""
        if any(cell_len(word) > self.size.width for word in self._content.plain.split()):
            self._show_content()

    def _show_content(self) -> None:
        width = max(self.size.width, 1)
        shown = with_line_breaks(self._content, width)
        key = (width, tuple(_line_key(line, width) for line in shown.plain.split("\n")))
        self.update(shown, layout=key != self._layout_key)
        self._layout_key = key


def with_line_breaks(content: Text, width: int) -> Text:
    """A copy of the text in which words longer than `width` cells have line breaks, each after a punctuation mark."""
    offsets: list[int] = []
    for word in _WORD.finditer(content.plain):
        if width < _MIN_WIDTH or cell_len(word[0]) <= width:
            continue
        offset, filled = word.start(), 0
        for part in _BREAK.split(word[0]):
            cells = cell_len(part)
            if filled and filled + cells > width:
                offsets.append(offset)
                filled = 0
            filled = (filled + cells - 1) % width + 1
            offset += len(part)
    return Text("\n").join(content.divide(offsets)) if offsets else content


def _line_key(line: str, width: int) -> tuple[int, ...]:
    """A value that determines how many rows a line takes: if it stays the same, the number of rows does, too.

    It is () if the line fits into one row, else the lengths of the words.
    """
    return () if cell_len(line) <= width else tuple(cell_len(word) for word in line.split(" "))


class FollowingScroll(VerticalScroll):
    """A scrolling area that begins at the top and follows text added at the end, until the user scrolls back."""

    _end = 0.0

    def watch_virtual_size(self) -> None:
        """Follow the end of the content, whose size has changed, once the content is laid out.

        Does nothing if the user has scrolled back.
        """
        self.call_later(self.on_resize)

    def on_resize(self) -> None:
        """Scroll to the end, unless the user has scrolled back."""
        if self.scroll_target_y >= self._end:
            self.scroll_end(animate=False, immediate=True)
        self._end = self.max_scroll_y
