"""A panel around a table of runs: as many columns as there is room for, and what one does to the run under the cursor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.widget import Widget

from seedbed.tui.panel import Panel
from seedbed.tui.table import MARGIN, Column, RunTable, choose

_NAME_WIDTHS = (12, 40)
"""The smallest and the largest width of the open column."""


class ListingPanel(Panel):
    """A subclass says its columns, in the order in which they are dropped from the last, and how many it always shows."""

    COLUMNS: ClassVar[Sequence[Column]] = ()
    LEAST = 0

    def __init__(self) -> None:
        super().__init__()
        self.columns: list[Column] = []

    @property
    def table(self) -> RunTable:
        """The table."""
        return self.query_one(RunTable)

    def home(self) -> Widget:
        """The table."""
        return self.table

    def on_resize(self) -> None:
        """As many columns as there is room for."""
        columns = choose(self.COLUMNS, self.inner_width() - MARGIN, self.LEAST, _NAME_WIDTHS)
        if columns != self.columns:
            self.columns = columns
            self.table.set_columns(columns)
            self.update(set())

    def action_rename(self) -> None:
        """Give it another name."""
        self.window.rename(self.table.current)

    def action_archive(self) -> None:
        """Put it out of sight, or back."""
        self.window.archive(self.table.current)

    def action_delete(self) -> None:
        """Delete the run with its checkpoints."""
        self.window.delete(self.table.current)

    def action_archived(self) -> None:
        """Show archived ones too, or hide them."""
        self.board.show_archived = not self.board.show_archived
        self.window.show_all()
