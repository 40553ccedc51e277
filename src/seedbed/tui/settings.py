"""Every option of a run, with its value, where that comes from, what it may be, and what it does."""

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

from seedbed.config.keys import alternatives, keys
from seedbed.config.layers import Flagged
from seedbed.config.resolving import defaults, resolve
from seedbed.config.roots import TRAIN
from seedbed.errors import SeedbedError
from seedbed.presentation.config_text import typed
from seedbed.tui.dialogs import close
from seedbed.tui.safe_text import ERROR_STYLE, fitted_text, safe_text

_VALUE_WIDTH = 22


class Settings(ModalScreen[dict[str, str] | None]):
    """A table of keys; below it the one under the cursor: help, what is expected, a field for its value.

    Answers with the values that differ from the preset's, as they were typed; None where they are to be thrown away.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "escape", "back", "Done", tooltip="From the field to the table; from there back, what was entered kept"
        ),
        Binding("ctrl+s", "keep", "Keep", show=False, tooltip="Take the value in the field too, and go back"),
        Binding("delete,backspace", "preset", "Preset's value", key_display="del"),
    ]

    def __init__(self, preset: str, sets: dict[str, str]) -> None:
        super().__init__()
        self._preset = preset
        self._sets = sets
        self._paths = list(keys(TRAIN))

    def compose(self) -> ComposeResult:
        """The table, the help of the key under the cursor, its value, two buttons."""
        with Vertical(classes="dialog wide") as box:
            box.border_title = safe_text(f"All options over preset {self._preset}")
            yield DataTable(cursor_type="row", cell_padding=0, id="settings-table")
            yield Static("", id="settings-help")
            yield Input(id="settings-value", compact=True, placeholder="the preset's value")
            yield Static("", id="settings-problem")
            with Horizontal(classes="buttons"):
                yield Button("Keep (ctrl+s)", id="keep", variant="success", compact=True)
                yield Button("Discard", id="discard", compact=True)
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        """Fill the table."""
        table = self.query_one(DataTable)
        for heading, width in (("KEY", 26), ("VALUE", _VALUE_WIDTH + 1), ("FROM", 14)):
            table.add_column(Text(heading, style="bold"), width=width)
        for path in self._paths:
            table.add_row(*self._row(path), key=path)
        table.focus()
        self._show_key()

    def _row(self, path: str) -> list[Text]:
        value = self._sets.get(path, "")
        if value:
            return [
                fitted_text(path, 25, "bold yellow"),
                fitted_text(value, _VALUE_WIDTH, "bold yellow"),
                fitted_text("you", 13, "yellow"),
            ]
        config = defaults(TRAIN, self._preset)
        return [
            fitted_text(path, 25),
            fitted_text(typed(config, path), _VALUE_WIDTH),
            fitted_text(f"preset {self._preset}", 13, "dim"),
        ]

    @property
    def _path(self) -> str:
        return self._paths[max(self.query_one(DataTable).cursor_row, 0)]

    @on(DataTable.RowHighlighted)
    def _show_key(self) -> None:
        key = keys(TRAIN)[self._path]
        said = Text.assemble((self._path, "bold"), " ", end="")
        said.append_text(safe_text(f"{key.help} Expected: {key.expected}."))
        self.query_one("#settings-help", Static).update(said)
        field = self.query_one("#settings-value", Input)
        with self.prevent(Input.Changed):
            field.value = self._sets.get(self._path, "")
        self._complain("")

    @on(DataTable.RowSelected)
    def _edit(self) -> None:
        self.query_one("#settings-value").focus()

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        self._complain(self._problem(self._path, event.value.strip()))

    @on(Input.Submitted)
    def _take(self, event: Input.Submitted) -> None:
        path, value = self._path, event.value.strip()
        problem = self._problem(path, value)
        self._complain(problem)
        if problem:
            return
        self._set(path, value)
        table = self.query_one(DataTable)
        table.focus()
        table.action_cursor_down()

    def _set(self, path: str, value: str) -> None:
        if value:
            self._sets[path] = value
        else:
            self._sets.pop(path, None)
        others = [other for other in alternatives(path, TRAIN) if other != path]
        if value:
            for other in others:
                self._sets.pop(other, None)
        table = self.query_one(DataTable)
        for row, each in enumerate(self._paths):
            if each in (path, *others):
                for column, cell in enumerate(self._row(each)):
                    table.update_cell_at(Coordinate(row, column), cell)

    def _problem(self, path: str, value: str) -> str:
        sets = {name: each for name, each in self._sets.items() if name != path}
        if value:
            excluded = alternatives(path, TRAIN)
            sets = {name: each for name, each in sets.items() if name not in excluded} | {path: value}
        try:
            flags = {name: Flagged(each, "All options") for name, each in sets.items()}
            resolve(TRAIN, preset=self._preset, flags=flags)
        except SeedbedError as error:
            return f"{error.message} {error.hint}"
        return ""

    def _complain(self, problem: str) -> None:
        self.query_one("#settings-problem", Static).update(safe_text(problem, ERROR_STYLE, newlines=True))

    def action_preset(self) -> None:
        """Take the preset's value again."""
        if self.focused is self.query_one(DataTable):
            self._set(self._path, "")
            self._show_key()

    @on(Button.Pressed, "#keep")
    def action_keep(self) -> None:
        """Answer with what was set."""
        field = self.query_one("#settings-value", Input)
        typed = field.value.strip()
        if typed != self._sets.get(self._path, ""):
            problem = self._problem(self._path, typed)
            if problem:
                self._complain(problem)
                field.focus()
                return
            self._set(self._path, typed)
        close(self, self._sets)

    @on(Button.Pressed, "#discard")
    def _discard(self) -> None:
        self.dismiss(None)

    def action_back(self) -> None:
        """From the field to the table; from there back with what was entered."""
        table = self.query_one(DataTable)
        if self.focused is self.query_one("#settings-value"):
            self._show_key()
            table.focus()
        else:
            close(self, self._sets)
