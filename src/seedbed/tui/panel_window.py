"""The methods of the window that its panels, screens and dialogs may call."""

from __future__ import annotations

from seedbed.runs.curves.series import Series
from seedbed.runs.store import RunDir
from seedbed.tui.actions import RunActions


class PanelWindow(RunActions):
    """The window as panels, screens and dialogs see it.

    They import only this class, so that no panel imports another.
    """

    def series(self, run: RunDir) -> Series:
        """The curves of a run, as one object that all widgets share."""
        raise NotImplementedError

    def show_all(self) -> None:
        """Update every panel, because other runs are to be shown, such as archived ones."""
        raise NotImplementedError

    def chosen_changed(self) -> None:
        """Update the panels after the cursor of the panel Runs has moved to another run."""
        raise NotImplementedError

    def activate(self, run_id: str | None) -> None:
        """Make this run's model the active one, which generates text and is offered to be trained further."""
        raise NotImplementedError

    def show_started(self, run: RunDir, *, chosen: bool) -> None:
        """Show a run that a panel has started; with `chosen`, put the cursor of the panel Runs on it."""
        raise NotImplementedError

    def open_details(self, run_id: str | None) -> None:
        """Open the screen with the details of a run."""
        raise NotImplementedError

    def action_panel(self, number: int) -> None:
        """Open the panel with this number and give it the focus."""
        raise NotImplementedError
