"""A numbered panel with a title. If there is no room for all panels, only one is open, and the others are titles."""

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
"""Separates the parts of the summary in a title."""
_FRAME_CELLS = 6
"""Terminal cells of the top edge of a panel that the title cannot use."""


class Panel(Vertical):
    """A panel of the window. A subclass has a number and a name, and says which of its widgets gets the focus first."""

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
        """The runs, and which of them are chosen, marked or active: the same for all panels."""
        return self.window.state

    def on_mount(self) -> None:
        """Show the title of the panel immediately."""
        self.set_summary("")

    def home(self) -> Widget:
        """The widget that gets the focus when the panel opens."""
        raise NotImplementedError

    def update(self, changed: set[str]) -> None:
        """Show the runs with the ids `changed`, and what is chosen, marked or active in the window's state."""
        raise NotImplementedError

    async def look(self) -> None:
        """Do what the panel does every second, such as measure the machine; by default nothing."""

    def chosen_changed(self) -> None:
        """Update the panel after the cursor of the panel Runs has moved to another run."""

    def on_click(self) -> None:
        """Open the panel if it is closed."""
        if not self.has_focus_within and not self.has_class("-open"):
            self.window.action_panel(self.NUMBER)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Whether an action of the panel is available.

        While a text field has the focus, actions on keys that type a character are not.
        """
        return not (is_editor(self.screen.focused) and action in typed_actions(type(self)))

    def inner_width(self) -> int:
        """The terminal cells of a row while the panel is open.

        (A closed panel has no border at its sides and is two cells wider.)
        """
        return min(self.size.width, self.window.size.width - 2)

    def leave_editor(self) -> None:
        """Move the focus from a text field to a widget in which keys are commands. Called when Escape is pressed."""
        self.home().focus()

    def set_summary(self, summary: str) -> None:
        """Show a summary in the title, which is all that is visible of a closed panel.

        The parts of the summary are separated by ` · `.
        """
        if summary == self._summary and self.border_title is not None:
            return
        self._summary = summary
        self._set_title()

    def on_resize(self) -> None:
        """Show as much of the summary as fits into the title."""
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
