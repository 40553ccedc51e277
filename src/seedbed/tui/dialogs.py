"""Dialogs: a confirmation, a name, tags, a note, the list of keys."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import ClassVar, NamedTuple, TypeVar

from rich.cells import cell_len
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Button, DataTable, Footer, Input, Static, TextArea

from seedbed.tui.safe_text import ERROR_STYLE, safe_string, safe_text
from seedbed.tui.wrapped_text import WrappedText

R = TypeVar("R")


def close(screen: Screen[R], answer: R) -> None:
    """Close a screen with an answer, once the screen is open: closing it earlier would close the whole window."""

    def now() -> None:
        if screen.is_active:
            screen.dismiss(answer)

    screen.call_later(now)


class Confirm(ModalScreen[bool]):
    """A dialog that asks for confirmation of an action. Enter presses the focused button.

    At first, that is the button No if the action is risky (`careful`), else the button Yes.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes"),
        Binding("n,escape", "answer(False)", "No", key_display="n/esc"),
        Binding("left,right", "other", "Other button", show=False),
    ]

    def __init__(self, title: str, body: Text | str, *, yes: str = "Yes", careful: bool = True) -> None:
        super().__init__()
        self._title, self._body, self._yes, self._careful = title, body, yes, careful

    def compose(self) -> ComposeResult:
        """Yield the question and two buttons."""
        with Vertical(classes="dialog") as box:
            box.border_title = safe_text(self._title)
            with VerticalScroll(classes="dialog-body"):
                yield WrappedText(
                    self._body if isinstance(self._body, Text) else safe_text(self._body, newlines=True), id="question"
                )
            with Horizontal(classes="buttons"):
                yield Button(
                    f"{self._yes} (y)", id="yes", variant="error" if self._careful else "success", compact=True
                )
                yield Button("No (n)", id="no", compact=True)
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        """Focus the button No if the action is risky, else the button Yes."""
        self.query_one("#no" if self._careful else "#yes").focus()

    def action_answer(self, answer: bool) -> None:
        """Close the dialog with an answer."""
        close(self, answer)

    def action_other(self) -> None:
        """Move the focus to the other button."""
        self.query_one("#yes" if self.focused is self.query_one("#no") else "#no").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Close the dialog with the answer of the pressed button."""
        close(self, event.button.id == "yes")


class OneLine(ModalScreen[str | None]):
    """A dialog that asks for a line of text. While the text is invalid, the dialog stays open and shows why."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Cancel")]
    TITLE = ""
    YES = ""
    MAX_LENGTH = 64
    PLACEHOLDER = ""

    def __init__(self, before: str, problem_of: Callable[[str], str]) -> None:
        super().__init__()
        self._before = before
        self._problem_of = problem_of

    def compose(self) -> ComposeResult:
        """Yield a text field, a line that says what is wrong with the text, and two buttons."""
        with Vertical(classes="dialog") as box:
            box.border_title = self.TITLE
            yield Input(
                safe_string(self._before),
                id="name",
                max_length=self.MAX_LENGTH,
                compact=True,
                placeholder=self.PLACEHOLDER,
            )
            yield Static("", id="problem")
            with Horizontal(classes="buttons"):
                yield Button(self.YES, id="yes", variant="primary", compact=True)
                yield Button("Cancel", id="no", compact=True)
        yield Footer(show_command_palette=False, compact=True)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show immediately what is wrong with the typed text."""
        self._problem(event.value)

    def on_input_submitted(self) -> None:
        """Accept the text, because Enter was pressed."""
        self._accept()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Accept the text, or close without a change, as the pressed button says."""
        if event.button.id == "yes":
            self._accept()
        else:
            close(self, None)

    def action_cancel(self) -> None:
        """Close the dialog without a change."""
        close(self, None)

    def _accept(self) -> None:
        name = self.query_one(Input).value
        if name == self._before:
            close(self, None)
        elif not self._problem(name):
            close(self, name)

    def _problem(self, name: str) -> str:
        problem = "" if name == self._before else self._problem_of(name)
        self.query_one("#problem", Static).update(safe_text(problem, ERROR_STYLE, newlines=True))
        return problem


class Rename(OneLine):
    """A dialog that asks for the name of a run."""

    TITLE = YES = "Rename"


class Tags(OneLine):
    """A dialog that asks for the tags of a run, separated by spaces."""

    TITLE, YES = "Tags", "Save"
    MAX_LENGTH = 600
    PLACEHOLDER = "separated by spaces: baseline best"


class Note(ModalScreen[str | None]):
    """A dialog that asks for a note of one or more lines."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "save", "Save"),
        Binding("escape", "cancel", "Cancel"),
    ]

    def __init__(self, before: str, problem_of: Callable[[str], str]) -> None:
        super().__init__()
        self._before = before
        self._problem_of = problem_of

    def compose(self) -> ComposeResult:
        """Yield a text field of several lines, a line that says what is wrong with the note, and two buttons."""
        with Vertical(classes="dialog") as box:
            box.border_title = "Note"
            yield TextArea(
                safe_string(self._before, newlines=True),
                id="note",
                compact=True,
                soft_wrap=True,
                tab_behavior="focus",
                highlight_cursor_line=False,
                placeholder="What this run is about; empty removes the note",
            )
            yield Static("", id="problem")
            with Horizontal(classes="buttons"):
                yield Button("Save (ctrl+s)", id="yes", variant="primary", compact=True)
                yield Button("Cancel", id="no", compact=True)
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        """Place the cursor at the end of the note."""
        area = self.query_one(TextArea)
        area.move_cursor(area.document.end)
        area.focus()

    def on_text_area_changed(self) -> None:
        """Show immediately what is wrong with the typed note."""
        self._problem()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Save the note, or close without a change, as the pressed button says."""
        if event.button.id == "yes":
            self.action_save()
        else:
            close(self, None)

    def action_save(self) -> None:
        """Close the dialog with the note as the answer, unless something is wrong with the note."""
        if not self._problem():
            close(self, self.query_one(TextArea).text)

    def action_cancel(self) -> None:
        """Close the dialog without a change."""
        close(self, None)

    def _problem(self) -> str:
        problem = self._problem_of(self.query_one(TextArea).text)
        self.query_one("#problem", Static).update(safe_text(problem, ERROR_STYLE, newlines=True))
        return problem


class KeyRow(NamedTuple):
    """A row of the list of keys: where a command works, its keys, what it does, and a function that runs it.

    The function is None if only a key can run the command.
    """

    where: str
    keys: str
    description: str
    run: Callable[[], Awaitable[None]] | None


class Keys(ModalScreen[KeyRow | None]):
    """A dialog with a table of every key. Enter or a click runs the command of a row."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,q", "close", "Close", key_display="esc")]

    def __init__(self, rows: list[KeyRow]) -> None:
        super().__init__()
        self._rows = rows

    def compose(self) -> ComposeResult:
        """Yield the table of keys."""
        with Vertical(classes="dialog wide") as box:
            box.border_title = "Keys"
            box.border_subtitle = "enter runs the command · esc closes"
            yield DataTable(cursor_type="row", zebra_stripes=True)
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        """Give the focus to the table of keys."""
        self.query_one(DataTable).focus()

    def on_resize(self) -> None:
        """Fill the table once the width of the table is known."""
        self.call_after_refresh(self._fill)

    def _fill(self) -> None:
        """Fill the table of keys; descriptions take as many lines as they need."""
        if not self.is_attached:
            return  # the dialog has been closed
        table = self.query_one(DataTable)
        at, last = table.cursor_row, ""
        widths = [max(cell_len(row.where) for row in self._rows), max(cell_len(row.keys) for row in self._rows)]
        gaps = 6 * table.cell_padding + table.styles.scrollbar_size_vertical
        widths.append(max(table.size.width - sum(widths) - gaps, 20))
        table.clear(columns=True)
        for heading, width in zip(("Where", "Key", "What it does"), widths, strict=True):
            table.add_column(heading, width=width)
        for row in self._rows:
            where = row.where if row.where != last else ""
            table.add_row(
                safe_text(where, "bold"),
                safe_text(row.keys, "bold cyan"),
                Text(safe_string(row.description)),
                height=None,
            )
            last = row.where
        table.move_cursor(row=at, animate=False)

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Close with the selected row, whose command is then run; ignore a row whose command only a key can run."""
        row = self._rows[event.cursor_row]
        if row.run is not None:
            close(self, row)

    def action_close(self) -> None:
        """Close the list of keys."""
        close(self, None)
