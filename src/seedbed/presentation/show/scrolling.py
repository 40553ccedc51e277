"""The scrolling view of the show: which rows appear, in order, with the reminder that all is simulated."""

from __future__ import annotations

from collections.abc import Iterator

from seedbed.events import Event
from seedbed.presentation.show.lines import rows_of
from seedbed.presentation.show.reminder import reminder
from seedbed.presentation.show.rows import Glyphs, Row
from seedbed.simulate.show.items import Item

_TAG_EVERY = 20
"""Rows after which the reminder comes again, at most."""
_LEAST_TAG_EVERY = 3


class Scrolling:
    """Makes the rows of the scrolling view, which follow a first reminder.

    `width` and `height` are those of the terminal, and may change.
    """

    def __init__(self, seed: int, glyphs: Glyphs, width: int = 80, height: int = 24) -> None:
        self.width, self.height = width, height
        self._seed, self._glyphs = seed, glyphs
        self._since_tag = 0

    def rows(self, item: Item | Event) -> Iterator[Row]:
        """The rows of an item."""
        found = rows_of(item, self.width, self._glyphs)
        lasting = sum(not each.is_transient or each.is_kept for each in found)
        most = max(self.height - 2, _LEAST_TAG_EVERY)
        # A table is not interrupted if it fits the screen.
        if self._since_tag and self._since_tag + lasting > min(_TAG_EVERY, most):
            self._since_tag = 0
            yield reminder(self._seed, self.width)
        for each in found:
            if not each.is_transient and self._since_tag >= most:
                self._since_tag = 0
                yield reminder(self._seed, self.width)
            if not each.is_transient or each.is_kept:
                self._since_tag += 1
            yield each
