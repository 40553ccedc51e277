"""The dialog All options: every config key with its value, the origin of the value, and the help of the key."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.coordinate import Coordinate
from textual.screen import ModalScreen
from textual.widgets import Button, DataTable, Footer, Input, Static

from seedbed.presentation.forms import ConfigForm, Field
from seedbed.tui.dialogs import close
from seedbed.tui.safe_text import ERROR_STYLE, fitted_text, safe_text

_KEY_CELLS, _VALUE_CELLS, _ORIGIN_CELLS = 25, 22, 13


class AllOptions(ModalScreen[dict[str, str] | None]):
    """A dialog with a table of config keys; below it the help of the key under the cursor and a field for its value.

    The answer of the dialog has the values that differ from the preset's, as they were typed. None discards the
    changes.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "escape", "back", "Done", tooltip="Go from the field to the table; in the table, keep the changes and close"
        ),
        Binding("ctrl+s", "keep", "Keep", show=False, tooltip="Set the value in the field, keep the changes and close"),
        Binding("delete,backspace", "preset", "Use preset", key_display="del", tooltip="Use the preset's value"),
    ]

    def __init__(self, form: ConfigForm) -> None:
        super().__init__()
        self._form = form

    def compose(self) -> ComposeResult:
        """Yield the table, the help of the key under the cursor, a field for its value, and two buttons."""
        with Vertical(classes="dialog wide") as box:
            box.border_title = safe_text(f"All options: preset {self._form.preset}")
            yield DataTable(cursor_type="row", cell_padding=0, id="settings-table")
            yield Static("", id="settings-help")
            yield Input(id="settings-value", compact=True, placeholder="the preset's value")
            yield Static("", id="settings-problem")
            with Horizontal(classes="buttons"):
                yield Button("Keep (ctrl+s)", id="keep", variant="success", compact=True)
                yield Button("Discard", id="discard", compact=True)
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        """Fill the table with the config keys."""
        table = self.query_one(DataTable)
        for heading, cells in (("KEY", _KEY_CELLS), ("VALUE", _VALUE_CELLS), ("FROM", _ORIGIN_CELLS)):
            table.add_column(Text(heading, style="bold"), width=cells + 1)
        for field in self._form.fields:
            table.add_row(*self._row(field), key=field.key)
        table.focus()
        self._show_key()

    def _row(self, field: Field) -> list[Text]:
        value = self._form.values.get(field.key, "")
        if value:
            return [
                fitted_text(field.key, _KEY_CELLS, "bold yellow"),
                fitted_text(value, _VALUE_CELLS, "bold yellow"),
                fitted_text("you", _ORIGIN_CELLS, "yellow"),
            ]
        return [
            fitted_text(field.key, _KEY_CELLS),
            fitted_text(self._form.default(field.key), _VALUE_CELLS),
            fitted_text(f"preset {self._form.preset}", _ORIGIN_CELLS, "dim"),
        ]

    @property
    def _field(self) -> Field:
        """The form field of the config key under the cursor."""
        return self._form.fields[max(self.query_one(DataTable).cursor_row, 0)]

    @on(DataTable.RowHighlighted)
    def _show_key(self) -> None:
        field = self._field
        shown = Text.assemble((field.key, "bold"), " ", end="")
        shown.append_text(safe_text(field.help))
        self.query_one("#settings-help", Static).update(shown)
        widget = self.query_one("#settings-value", Input)
        with self.prevent(Input.Changed):
            widget.value = self._form.values.get(field.key, "")
        self._show_problem("")

    @on(DataTable.RowSelected)
    def _edit(self) -> None:
        self.query_one("#settings-value").focus()

    @on(Input.Changed)
    def _check(self, event: Input.Changed) -> None:
        self._show_problem(self._form.problem(self._field.key, event.value.strip()))

    @on(Input.Submitted)
    def _submit(self) -> None:
        if self._set_typed():
            table = self.query_one(DataTable)
            table.focus()
            table.action_cursor_down()

    def _set_typed(self) -> bool:
        """Set the config key under the cursor to the typed value.

        If the value is wrong, change nothing and return False.
        """
        key, value = self._field.key, self.query_one("#settings-value", Input).value.strip()
        problem = self._form.problem(key, value)
        self._show_problem(problem)
        if not problem:
            self._set(key, value)
        return not problem

    def _set(self, key: str, value: str) -> None:
        self._form.set(key, value)
        table = self.query_one(DataTable)
        for row, field in enumerate(self._form.fields):
            if field.key in self._form.related(key):
                for column, cell in enumerate(self._row(field)):
                    table.update_cell_at(Coordinate(row, column), cell)

    def _show_problem(self, problem: str) -> None:
        self.query_one("#settings-problem", Static).update(safe_text(problem, ERROR_STYLE, newlines=True))

    def action_preset(self) -> None:
        """Restore the preset's value of the config key under the cursor."""
        if self.focused is self.query_one(DataTable):
            self._set(self._field.key, "")
            self._show_key()

    @on(Button.Pressed, "#keep")
    def action_keep(self) -> None:
        """Close the dialog with the values that were set. If the typed value is wrong, the dialog stays open."""
        widget = self.query_one("#settings-value", Input)
        if widget.value.strip() != self._form.values.get(self._field.key, "") and not self._set_typed():
            widget.focus()
            return
        close(self, self._form.values)

    @on(Button.Pressed, "#discard")
    def _discard(self) -> None:
        self.dismiss(None)

    def action_back(self) -> None:
        """Move the focus from the field to the table; in the table, close the dialog with the values that were set."""
        if self.focused is self.query_one("#settings-value"):
            self._show_key()
            self.query_one(DataTable).focus()
        else:
            close(self, self._form.values)
