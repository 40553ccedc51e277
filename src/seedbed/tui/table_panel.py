"""A panel with a table of runs: as many columns as fit, and the actions on the run under the cursor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len
from textual import on
from textual.widget import Widget

from seedbed.tui.panel import Panel
from seedbed.tui.table import MARGIN, Column, RunTable, fitting_columns

_NAME_WIDTHS = (12, 40)
"""The smallest and the largest width of the column of names."""


class TablePanel(Panel):
    """A panel with a table of runs.

    A subclass sets COLUMNS, of which the last are omitted if they do not fit, and LEAST, the number that is always shown.
    """

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

    def on_mount(self) -> None:
        """Update the numbers of the visible rows when the table is scrolled."""
        super().on_mount()
        self.watch(self.table, "scroll_y", self.show_position, init=False)
        self.watch(self.table, "virtual_size", self.show_position, init=False)

    @on(RunTable.Resized)
    def show_position(self) -> None:
        """Show in the lower edge which rows are visible; show nothing if all are visible."""
        table = self.table
        room, rows = table.size.height - table.header_height, table.row_count
        first = round(table.scroll_y)
        if not 0 < room < rows:
            self.border_subtitle = ""
            return
        last = min(first + room, rows)
        more = ("↑" if first else "") + ("↓" if last < rows else "")
        self.border_subtitle = f"{first + 1}-{last} of {rows} {more}"

    def on_resize(self) -> None:
        """Show as many columns as fit."""
        if self.fit_columns():
            self.update(set())

    def fit_columns(self) -> bool:
        """Choose the columns that fit. Names are shown in full if a quarter of the width is enough for them.

        Returns whether the columns have changed, so that every row must be written again.
        """
        room, (least, most) = self.inner_width() - MARGIN, _NAME_WIDTHS
        longest = max((cell_len(each.status["name"]) for each in self.state.watch.runs.values()), default=0)
        columns = fitting_columns(self.COLUMNS, room, self.LEAST, (max(least, min(longest, room // 4)), most))
        if columns == self.columns:
            return False
        self.columns = columns
        self.table.set_columns(columns)
        return True

    def action_rename(self) -> None:
        """Rename the run."""
        self.window.rename(self.table.current)

    def action_tags(self) -> None:
        """Change the tags of the run."""
        self.window.tag(self.table.current)

    def action_note(self) -> None:
        """Write a note about the run."""
        self.window.note(self.table.current)

    def action_archive(self) -> None:
        """Archive the run, or move it back into the list."""
        self.window.archive(self.table.current)

    def action_delete(self) -> None:
        """Delete the run with its checkpoints."""
        self.window.delete(self.table.current)

    def action_archived(self) -> None:
        """Show or hide archived runs."""
        self.state.show_archived = not self.state.show_archived
        self.window.show_all()
