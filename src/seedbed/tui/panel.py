"""A numbered panel with a title: open when there is room or it has the focus, else a line that sums it up."""

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
"""The panels by number, from 1."""
_BETWEEN = " · "
"""Stands between the parts of a summary."""
_FRAME = 6
"""Cells of a panel's top edge that its title does not get."""


class Panel(Vertical):
    """One of the window's panels. A subclass says its number and name, what has its focus first, and how it sums up."""

    NUMBER = 0
    NAME = ""

    def __init__(self) -> None:
        super().__init__(id=self.NAME.lower(), classes="panel")
        self._summary = ""

    @property
    def window(self) -> PanelWindow:
        """The application."""
        return cast("PanelWindow", self.app)

    @property
    def state(self) -> WindowState:
        """What all panels look at."""
        return self.window.state

    def on_mount(self) -> None:
        """Show the title at once."""
        self.sum_up("")

    def home(self) -> Widget:
        """What takes the focus when the panel is gone to."""
        raise NotImplementedError

    def update(self, changed: set[str]) -> None:
        """Show what became of the runs in `changed`, or of the board's choices."""
        raise NotImplementedError

    async def look(self) -> None:
        """Called each second."""

    def chosen_changed(self) -> None:
        """Another run is under the cursor of Runs."""

    def on_click(self) -> None:
        """A click on a closed panel opens it."""
        if not self.has_focus_within and not self.has_class("-open"):
            self.window.action_panel(self.NUMBER)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While one types, characters are text: what they would do is not offered."""
        return not (is_editor(self.screen.focused) and action in typed_actions(type(self)))

    def inner_width(self) -> int:
        """The cells of a row while the panel is open: closed it has no border at the sides, and so two more."""
        return min(self.size.width, self.window.size.width - 2)

    def leave_editor(self) -> None:
        """Escape in a field: the focus goes to where keys are commands."""
        self.home().focus()

    def sum_up(self, summary: str) -> None:
        """The panel in a few words, in its title: all that is seen of it while it is closed."""
        if summary == self._summary and self.border_title is not None:
            return
        self._summary = summary
        self._entitle()

    def on_resize(self) -> None:
        """As much in the title as there is room for."""
        self._entitle()

    def _entitle(self) -> None:
        """Number, name and summary; parts that would not fit are left out whole, from the last."""
        title = Text.assemble((f"{self.NUMBER} ", "bold"), (self.NAME, "bold"))
        if self._summary:
            title.append_text(Text(" ─ "))
            room = self.outer_size.width - _FRAME - title.cell_len
            parts, told = self._summary.split(_BETWEEN), self._summary
            while len(parts) > 1 and cell_len(told) > room > 0:
                parts.pop()
                told = f"{_BETWEEN.join(parts)}…"
            title.append_text(safe_text(told))
        self.border_title = title
