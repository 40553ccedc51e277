"""A panel with a table of runs: as many columns as fit, and actions on the run under the cursor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len
from textual import on
from textual.widget import Widget

from seedbed.presentation.run_facts import listed_name
from seedbed.tui.panel import Panel
from seedbed.tui.table import MARGIN, Column, RunTable, fitting_columns

_NAME_WIDTHS = (12, 40)
"""The smallest and the largest width of the column of names, in terminal cells."""


class TablePanel(Panel):
    """A panel with a table of runs.

    A subclass sets COLUMNS, of which the last are omitted if there is no room, and LEAST, the number that is always
    shown.
    """

    COLUMNS: ClassVar[Sequence[Column]] = ()
    LEAST = 0

    def __init__(self) -> None:
        super().__init__()
        self.columns: list[Column] = []

    @property
    def table(self) -> RunTable:
        """The table of runs."""
        return self.query_one(RunTable)

    def home(self) -> Widget:
        """The table of runs, which gets the focus first."""
        return self.table

    def on_mount(self) -> None:
        """Watch the table, so that the panel shows which rows are visible when the table is scrolled."""
        super().on_mount()
        self.watch(self.table, "scroll_y", self.show_position, init=False)
        self.watch(self.table, "virtual_size", self.show_position, init=False)

    @on(RunTable.Resized)
    def show_position(self) -> None:
        """Show in the lower edge which rows of the table are visible, such as `1-20 of 35 ↓`; nothing if all are."""
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
        """Show as many columns of the table as fit."""
        if self.fit_columns():
            self.update(set())

    def fit_columns(self) -> bool:
        """Choose the columns of the table that fit.

        Names are shown in full if a quarter of the width is enough for them. Returns whether the columns have changed,
        so that every row must be written again.
        """
        room, (least, most) = self.inner_width() - MARGIN, _NAME_WIDTHS
        longest = max((cell_len(listed_name(each.status)) for each in self.state.watch.runs.values()), default=0)
        columns = fitting_columns(self.COLUMNS, room, self.LEAST, (max(least, min(longest, room // 4)), most))
        if columns == self.columns:
            return False
        self.columns = columns
        self.table.set_columns(columns)
        return True

    def action_rename(self) -> None:
        """Rename the run under the cursor."""
        self.window.rename(self.table.current)

    def action_tags(self) -> None:
        """Change the tags of the run under the cursor."""
        self.window.tag(self.table.current)

    def action_note(self) -> None:
        """Write a note on the run under the cursor."""
        self.window.note(self.table.current)

    def action_archive(self) -> None:
        """Archive the run under the cursor, or undo that for an archived run."""
        self.window.archive(self.table.current)

    def action_delete(self) -> None:
        """Delete the run under the cursor with its checkpoints."""
        self.window.delete(self.table.current)

    def action_archived(self) -> None:
        """Show archived runs, or hide them again."""
        self.state.show_archived = not self.state.show_archived
        self.window.show_all()
