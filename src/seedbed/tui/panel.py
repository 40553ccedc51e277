"""A numbered panel with a title. It is open if there is room or it has the focus; otherwise only its title is visible."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from rich.cells import cell_len
from rich.text import Text
from textual.containers import Vertical
from textual.widget import Widget

from seedbed.tui.editors import is_editor, typed_actions
from seedbed.tui.safe_text import safe_text

if TYPE_CHECKING:
    from seedbed.tui.panel_window import PanelWindow
    from seedbed.tui.state import WindowState


NAMES = ("Runs", "System", "Train", "Generate", "Models")
"""The names of the panels, in the order of their numbers from 1."""
_SEPARATOR = " · "
"""Separates the parts of a summary."""
_FRAME_CELLS = 6
"""Cells of a panel's top edge that its title cannot use."""


class Panel(Vertical):
    """One of the window's panels. A subclass has a number and a name, and says which widget gets the focus first."""

    NUMBER = 0
    NAME = ""

    def __init__(self) -> None:
        super().__init__(id=self.NAME.lower(), classes="panel")
        self._summary = ""

    @property
    def window(self) -> PanelWindow:
        """The window that the panel belongs to."""
        return cast("PanelWindow", self.app)

    @property
    def state(self) -> WindowState:
        """The runs and choices that all panels show."""
        return self.window.state

    def on_mount(self) -> None:
        """Show the title immediately."""
        self.set_summary("")

    def home(self) -> Widget:
        """The widget that gets the focus when the panel opens."""
        raise NotImplementedError

    def update(self, changed: set[str]) -> None:
        """Show the changed runs, given by id, and the choices in the window's state."""
        raise NotImplementedError

    async def look(self) -> None:
        """Update the panel. Called every second."""

    def chosen_changed(self) -> None:
        """Update the panel. Called when the cursor of the panel Runs has moved to another run."""

    def on_click(self) -> None:
        """Open the panel if it is closed."""
        if not self.has_focus_within and not self.has_class("-open"):
            self.window.action_panel(self.NUMBER)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Whether an action is available. While a text field has the focus, actions that are bound to characters are not."""
        return not (is_editor(self.screen.focused) and action in typed_actions(type(self)))

    def inner_width(self) -> int:
        """The cells of a row while the panel is open; a closed panel has no border at its sides and is two cells wider."""
        return min(self.size.width, self.window.size.width - 2)

    def leave_editor(self) -> None:
        """Move the focus from a text field to a widget in which keys are commands. Called for Escape."""
        self.home().focus()

    def set_summary(self, summary: str) -> None:
        """Set the summary in the title, the only visible part of a closed panel. Its parts are separated by ` · `."""
        if summary == self._summary and self.border_title is not None:
            return
        self._summary = summary
        self._set_title()

    def on_resize(self) -> None:
        """Show as much of the summary as fits."""
        self._set_title()

    def _set_title(self) -> None:
        """Set the title to number, name and summary. The last parts of the summary are omitted if they do not fit."""
        title = Text.assemble((f"{self.NUMBER} ", "bold"), (self.NAME, "bold"))
        if self._summary:
            title.append_text(Text(" ─ "))
            room = self.outer_size.width - _FRAME_CELLS - title.cell_len
            parts, shown = self._summary.split(_SEPARATOR), self._summary
            while len(parts) > 1 and cell_len(shown) > room > 0:
                parts.pop()
                shown = f"{_SEPARATOR.join(parts)}…"
            title.append_text(safe_text(shown))
        self.border_title = title
