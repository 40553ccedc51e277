"""A table whose rows are runs: kept in step with a list of ids, the cursor on its run wherever that moves."""

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
"""Cells of a row that are no column: its mark and the scroll bar."""


class Column(NamedTuple):
    """A column: its heading, its width in cells (0: what is left), whether its values stand at the right."""

    heading: str
    width: int
    right: bool = False


def choose(columns: Sequence[Column], room: int, least: int, name: tuple[int, int]) -> list[Column]:
    """The columns that fit into `room` cells, the first `least` of them in any case; the open one gets what is left.

    `name` are the smallest and the largest width of the open column.
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
    """A value as a cell of that column, cut and aligned."""
    said = fitted_text(value, column.width, style)
    if column.right:
        said.pad_left(column.width - said.cell_len)
    return said


class RunTable(DataTable[Text]):
    """Rows keyed by run id. Only cells that differ are written, and rows are laid anew only where their order changed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select_cursor", "Open", tooltip="The run in full: curve, log, config, differences, samples"),
        Binding("j", "cursor_down", "Down", show=False),
        Binding("k", "cursor_up", "Up", show=False),
        Binding("g", "scroll_top", "Top", show=False),
        Binding("G", "scroll_bottom", "Bottom", show=False),
    ]

    class Resized(Message):
        """There is room for more or fewer rows."""

    def __init__(self, *, id: str) -> None:  # noqa: A002  # Textual's own name
        super().__init__(id=id, cursor_type="row", cell_padding=0, zebra_stripes=False)
        self._ids: list[str] = []
        self._stays: str | None = None

    def on_resize(self) -> None:
        """Tell the panel."""
        self.post_message(self.Resized())

    @property
    def current(self) -> str | None:
        """The id of the run under the cursor."""
        return self._ids[self.cursor_row] if 0 <= self.cursor_row < len(self._ids) else None

    @property
    def ids(self) -> list[str]:
        """The runs from top to bottom."""
        return list(self._ids)

    def go_to(self, run_id: str) -> None:
        """Put the cursor on a run, if it is shown."""
        if run_id in self._ids:
            self.move_cursor(row=self._ids.index(run_id), animate=False)

    def set_columns(self, columns: Sequence[Column]) -> None:
        """Begin anew with these columns, after one of two cells for marks; the cursor will be on its run again."""
        self._stays = self.current or self._stays
        with self.prevent(DataTable.RowHighlighted):
            self.clear(columns=True)
        self._ids = []
        for column in (Column("", 1), *columns):
            label = column.heading.rjust(column.width) if column.right else column.heading
            self.add_column(Text(label, style="bold"), width=column.width + 1)

    def show(
        self, ids: list[str], row: Callable[[str], list[Text]], changed: set[str], cursor: str | None = None
    ) -> None:
        """Show these runs in this order. `row` gives a run's cells, `changed` says whose may be new.

        The cursor stays on its run; where that is gone, near the row where it was. Without one it goes to `cursor`.
        """
        held = len(self._ids)
        if ids == self._ids:
            self._write(ids, row, changed)
        elif ids[:held] == self._ids and held:
            self._write(self._ids, row, changed)
            for run_id in ids[held:]:
                self.add_row(*row(run_id), key=run_id)
            self._ids = ids
        else:
            self._lay(ids, row, cursor)

    def _write(self, ids: list[str], row: Callable[[str], list[Text]], changed: set[str]) -> None:
        for place, run_id in enumerate(ids):
            if run_id in changed:
                for number, new in enumerate(row(run_id)):
                    at = Coordinate(place, number)
                    before = self.get_cell_at(at)
                    if before.plain != new.plain or before.style != new.style:
                        self.update_cell_at(at, new)

    def _lay(self, ids: list[str], row: Callable[[str], list[Text]], cursor: str | None) -> None:
        stays, self._stays = self.current or self._stays or cursor, None
        place, above = self.cursor_row, self.cursor_row - self.scroll_offset.y
        at_top = self.scroll_offset.y == 0  # who looks at the newest run wants to see a newer one
        with self.prevent(DataTable.RowHighlighted):
            self.clear()
            for run_id in ids:
                self.add_row(*row(run_id), key=run_id)
            self._ids = ids
            if not ids:
                return
            place = ids.index(stays) if stays in ids else min(max(place, 0), len(ids) - 1)
            self.move_cursor(row=place, animate=False, scroll=False)
        self.call_after_refresh(self._keep_in_sight, place, 0 if at_top else max(place - above, 0))

    def _keep_in_sight(self, place: int, top: int) -> None:
        """Keep the cursor as far below the top as it was, or the top itself, and the cursor in sight."""
        self.scroll_to(y=top, animate=False, force=True)
        if self.cursor_row == place:
            self.move_cursor(row=place, animate=False, scroll=True)
