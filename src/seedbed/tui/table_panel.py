"""A panel around a table of runs: as many columns as there is room for, and what one does to the run under the cursor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len
from textual import on
from textual.widget import Widget

from seedbed.tui.panel import Panel
from seedbed.tui.table import MARGIN, Column, RunTable, choose

_NAME_WIDTHS = (12, 40)
"""The smallest and the largest width of the open column."""


class TablePanel(Panel):
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

    def on_mount(self) -> None:
        """Tell of rows out of sight whenever the table is scrolled."""
        super().on_mount()
        self.watch(self.table, "scroll_y", self.tell_rows, init=False)
        self.watch(self.table, "virtual_size", self.tell_rows, init=False)

    @on(RunTable.Resized)
    def tell_rows(self) -> None:
        """Which of the rows are seen, in the lower edge; nothing where all of them are."""
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
        """As many columns as there is room for."""
        if self.fit_columns():
            self.update(set())

    def fit_columns(self) -> bool:
        """Choose the columns by the room and by the names, which are shown whole where a quarter of the room is enough.

        Whether they are others than before, and so every row is to be written again.
        """
        room, (least, most) = self.inner_width() - MARGIN, _NAME_WIDTHS
        longest = max((cell_len(each.status["name"]) for each in self.state.watch.runs.values()), default=0)
        columns = choose(self.COLUMNS, room, self.LEAST, (max(least, min(longest, room // 4)), most))
        if columns == self.columns:
            return False
        self.columns = columns
        self.table.set_columns(columns)
        return True

    def action_rename(self) -> None:
        """Give it another name."""
        self.window.rename(self.table.current)

    def action_tags(self) -> None:
        """Change its tags."""
        self.window.tag(self.table.current)

    def action_note(self) -> None:
        """Write a note on it."""
        self.window.note(self.table.current)

    def action_archive(self) -> None:
        """Put it out of sight, or back."""
        self.window.archive(self.table.current)

    def action_delete(self) -> None:
        """Delete the run with its checkpoints."""
        self.window.delete(self.table.current)

    def action_archived(self) -> None:
        """Show archived ones too, or hide them."""
        self.state.show_archived = not self.state.show_archived
        self.window.show_all()
