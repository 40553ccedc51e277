"""A table with a row for each run. The cursor stays on its run even if the row of that run moves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.coordinate import Coordinate
from textual.message import Message
from textual.widgets import DataTable

from seedbed.tui.safe_text import fitted_text

MARGIN = 3
"""Terminal cells of a row that its mark and the scroll bar take."""


class Column(NamedTuple):
    """A column of a table: heading, width in terminal cells, and whether values are aligned to the right.

    A column of width 0 gets the remaining width.
    """

    heading: str
    width: int
    right: bool = False


def fitting_columns(columns: Sequence[Column], room: int, least: int, name: tuple[int, int]) -> list[Column]:
    """The columns that fit into `room` terminal cells, at least the first `least` of them.

    The column of width 0 gets the remaining width; `name` is the smallest and the largest width of that column.
    """
    chosen = list(columns[:least])
    taken = sum(column.width + 1 for column in chosen) + name[0]
    for column in columns[least:]:
        if taken + column.width + 1 > room:
            break
        chosen.append(column)
        taken += column.width + 1
    width = min(max(room - taken + name[0], 6), name[1])
    return [column if column.width else column._replace(width=width) for column in chosen]


def cell(value: str, column: Column, style: str = "") -> Text:
    """A value as the cell of a table in the given column: cut to the width of the column, and aligned."""
    shown = fitted_text(value, column.width, style)
    if column.right:
        shown.pad_left(column.width - shown.cell_len)
    return shown


class RunTable(DataTable[Text]):
    """A table of runs, keyed by run id. Only cells that differ are written again.

    The rows are rebuilt only if their order has changed.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "enter",
            "select_cursor",
            "Open",
            tooltip="Show details of the run: curve, log, config, differences, samples",
        ),
        Binding("j", "cursor_down", "Down", show=False),
        Binding("k", "cursor_up", "Up", show=False),
        Binding("g", "scroll_top", "Top", show=False),
        Binding("G", "scroll_bottom", "Bottom", show=False),
    ]

    class Resized(Message):
        """The message that is posted when the size of the table has changed."""

    def __init__(self, *, id: str) -> None:  # noqa: A002  # Textual's own name
        super().__init__(id=id, cursor_type="row", cell_padding=0, zebra_stripes=False)
        self._ids: list[str] = []
        self._kept: str | None = None
        """The id of the run that the cursor was on before the columns were rebuilt."""

    def on_resize(self) -> None:
        """Tell the panel that the size has changed: it shows which rows are visible."""
        self.post_message(self.Resized())

    @property
    def current(self) -> str | None:
        """The id of the run under the cursor."""
        return self._ids[self.cursor_row] if 0 <= self.cursor_row < len(self._ids) else None

    @property
    def ids(self) -> list[str]:
        """The ids of the runs from top to bottom."""
        return list(self._ids)

    def go_to(self, run_id: str) -> None:
        """Move the cursor to the run with this id, if the table has it."""
        if run_id in self._ids:
            self.move_cursor(row=self._ids.index(run_id), animate=False)

    def set_columns(self, columns: Sequence[Column]) -> None:
        """Rebuild the table with a column for marks, followed by `columns`, and without rows.

        `show_rows` then moves the cursor back to its run.
        """
        self._kept = self.current or self._kept
        with self.prevent(DataTable.RowHighlighted):
            self.clear(columns=True)
        self._ids = []
        for column in (Column("", 1), *columns):
            label = column.heading.rjust(column.width) if column.right else column.heading
            self.add_column(Text(label, style="bold"), width=column.width + 1)

    def show_rows(
        self, ids: list[str], row: Callable[[str], list[Text]], changed: set[str], cursor: str | None = None
    ) -> None:
        """Show the runs `ids` in this order.

        `row` gives the cells of a run; only those of runs in `changed` may differ. The cursor stays on its run, or near
        its row if the run is gone. If there was no cursor, it moves to the run `cursor`.
        """
        before = len(self._ids)
        if ids == self._ids:
            self._write(ids, row, changed)
        elif ids[:before] == self._ids and before:
            self._write(self._ids, row, changed)
            for run_id in ids[before:]:
                self.add_row(*row(run_id), key=run_id)
            self._ids = ids
        else:
            self._rebuild(ids, row, cursor)

    def _write(self, ids: list[str], row: Callable[[str], list[Text]], changed: set[str]) -> None:
        for position, run_id in enumerate(ids):
            if run_id in changed:
                for number, new in enumerate(row(run_id)):
                    at = Coordinate(position, number)
                    before = self.get_cell_at(at)
                    if before.plain != new.plain or before.style != new.style:
                        self.update_cell_at(at, new)

    def _rebuild(self, ids: list[str], row: Callable[[str], list[Text]], cursor: str | None) -> None:
        kept, self._kept = self.current or self._kept or cursor, None
        position, above = self.cursor_row, self.cursor_row - self.scroll_offset.y
        at_top = self.scroll_offset.y == 0  # at the top, a newer run should become visible
        with self.prevent(DataTable.RowHighlighted):
            self.clear()
            for run_id in ids:
                self.add_row(*row(run_id), key=run_id)
            self._ids = ids
            if not ids:
                return
            position = ids.index(kept) if kept in ids else min(max(position, 0), len(ids) - 1)
            self.move_cursor(row=position, animate=False, scroll=False)
        self.call_after_refresh(self._keep_visible, position, 0 if at_top else max(position - above, 0))

    def _keep_visible(self, position: int, top: int) -> None:
        """Scroll so that row `top` is the first visible one, then as far as needed to show the cursor.

        `position` is the row of the cursor.
        """
        self.scroll_to(y=top, animate=False, force=True)
        if self.cursor_row == position:
            self.move_cursor(row=position, animate=False, scroll=True)
