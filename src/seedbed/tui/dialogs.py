"""Questions that stand before everything else: a confirmation, a name, tags, a note, all the keys."""

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
    """Close a screen with an answer, once it is open: taken apart while it is put together, it would end the window."""

    def now() -> None:
        if screen.is_active:
            screen.dismiss(answer)

    screen.call_later(now)


class Confirm(ModalScreen[bool]):
    """Asks before something that cannot be taken back, or that costs hours. Enter does what the focus is on: No."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes"),
        Binding("n,escape", "answer(False)", "No", key_display="n/esc"),
        Binding("left,right", "other", "Other button", show=False),
    ]

    def __init__(self, title: str, body: Text | str, *, yes: str = "Yes", careful: bool = True) -> None:
        super().__init__()
        self._title, self._body, self._yes, self._careful = title, body, yes, careful

    def compose(self) -> ComposeResult:
        """A box with the question and two buttons."""
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
        """The harmless answer has the focus where the other does harm."""
        self.query_one("#no" if self._careful else "#yes").focus()

    def action_answer(self, answer: bool) -> None:
        """Close with the answer."""
        close(self, answer)

    def action_other(self) -> None:
        """Move between the two buttons."""
        self.query_one("#yes" if self.focused is self.query_one("#no") else "#no").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """A button was pressed or clicked."""
        close(self, event.button.id == "yes")


class OneLine(ModalScreen[str | None]):
    """Asks for a line of text; stays open, with the reason, until there is one that can be taken."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Cancel")]
    TITLE = ""
    YES = ""
    MOST = 64
    PLACEHOLDER = ""

    def __init__(self, now: str, refuse: Callable[[str], str]) -> None:
        super().__init__()
        self._now = now
        self._refuse = refuse

    def compose(self) -> ComposeResult:
        """The text in a field, a line for what is wrong with it, and two buttons."""
        with Vertical(classes="dialog") as box:
            box.border_title = self.TITLE
            yield Input(
                safe_string(self._now), id="name", max_length=self.MOST, compact=True, placeholder=self.PLACEHOLDER
            )
            yield Static("", id="problem")
            with Horizontal(classes="buttons"):
                yield Button(self.YES, id="yes", variant="primary", compact=True)
                yield Button("Cancel", id="no", compact=True)
        yield Footer(show_command_palette=False, compact=True)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Say at once what is wrong with the text."""
        self._problem(event.value)

    def on_input_submitted(self) -> None:
        """Enter takes the text."""
        self._take()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Take the text, or leave."""
        if event.button.id == "yes":
            self._take()
        else:
            close(self, None)

    def action_cancel(self) -> None:
        """Leave it as it is."""
        close(self, None)

    def _take(self) -> None:
        name = self.query_one(Input).value
        if name == self._now:
            close(self, None)
        elif not self._problem(name):
            close(self, name)

    def _problem(self, name: str) -> str:
        problem = "" if name == self._now else self._refuse(name)
        self.query_one("#problem", Static).update(safe_text(problem, ERROR_STYLE, newlines=True))
        return problem


class Rename(OneLine):
    """Asks for a name that runs may bear."""

    TITLE = YES = "Rename"


class Tags(OneLine):
    """Asks for the tags of a run, with blanks between them."""

    TITLE, YES = "Tags", "Keep"
    MOST = 600
    PLACEHOLDER = "words with spaces between them: baseline best"


class Note(ModalScreen[str | None]):
    """Asks for a note of one or more lines."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "keep", "Keep"),
        Binding("escape", "cancel", "Cancel"),
    ]

    def __init__(self, now: str, refuse: Callable[[str], str]) -> None:
        super().__init__()
        self._now = now
        self._refuse = refuse

    def compose(self) -> ComposeResult:
        """The note in a field of some lines, a line for what is wrong with it, and two buttons."""
        with Vertical(classes="dialog") as box:
            box.border_title = "Note"
            yield TextArea(
                safe_string(self._now, newlines=True),
                id="note",
                compact=True,
                soft_wrap=True,
                tab_behavior="focus",
                highlight_cursor_line=False,
                placeholder="What this run is about; empty takes the note away",
            )
            yield Static("", id="problem")
            with Horizontal(classes="buttons"):
                yield Button("Keep (ctrl+s)", id="yes", variant="primary", compact=True)
                yield Button("Cancel", id="no", compact=True)
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        """Write on at the end."""
        area = self.query_one(TextArea)
        area.move_cursor(area.document.end)
        area.focus()

    def on_text_area_changed(self) -> None:
        """Say at once what is wrong with the note."""
        self._problem()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Take the note, or leave."""
        if event.button.id == "yes":
            self.action_keep()
        else:
            close(self, None)

    def action_keep(self) -> None:
        """Take the note."""
        if not self._problem():
            close(self, self.query_one(TextArea).text)

    def action_cancel(self) -> None:
        """Leave it as it is."""
        close(self, None)

    def _problem(self) -> str:
        problem = self._refuse(self.query_one(TextArea).text)
        self.query_one("#problem", Static).update(safe_text(problem, ERROR_STYLE, newlines=True))
        return problem


class KeyRow(NamedTuple):
    """A command: where it is heard, its keys, what it does, and how a click calls it (None where only a key can)."""

    where: str
    keys: str
    told: str
    run: Callable[[], Awaitable[None]] | None


class Keys(ModalScreen[KeyRow | None]):
    """Every key of every place, as the bindings themselves tell it. Enter or a click does what a row says."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,q", "close", "Close", key_display="esc")]

    def __init__(self, rows: list[KeyRow]) -> None:
        super().__init__()
        self._rows = rows

    def compose(self) -> ComposeResult:
        """A table: where, key, what it does."""
        with Vertical(classes="dialog wide") as box:
            box.border_title = "Keys"
            box.border_subtitle = "enter does it · esc closes"
            yield DataTable(cursor_type="row", zebra_stripes=True)
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        """The table is at hand."""
        self.query_one(DataTable).focus()

    def on_resize(self) -> None:
        """Fill the table once it is known how wide it is."""
        self.call_after_refresh(self._fill)

    def _fill(self) -> None:
        """What a key does takes as many lines as it needs."""
        if not self.is_attached:
            return  # closed meanwhile
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
                safe_text(where, "bold"), safe_text(row.keys, "bold cyan"), Text(safe_string(row.told)), height=None
            )
            last = row.where
        table.move_cursor(row=at, animate=False)

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Do it, if a click can."""
        row = self._rows[event.cursor_row]
        if row.run is not None:
            close(self, row)

    def action_close(self) -> None:
        """Back to where one was."""
        close(self, None)
