"""The methods of the window that its panels, screens and dialogs may call."""

from __future__ import annotations

from seedbed.runs.curves.series import Series
from seedbed.runs.store import RunDir
from seedbed.tui.actions import RunActions


class PanelWindow(RunActions):
    """A window of panels. Panels import only this class of the window, so that no panel imports another."""

    def series(self, run: RunDir) -> Series:
        """The curves of a run, one object for all widgets that show them."""
        raise NotImplementedError

    def show_all(self) -> None:
        """Update every panel, because the runs to show have changed."""
        raise NotImplementedError

    def chosen_changed(self) -> None:
        """Update the panels: the cursor of the panel Runs has moved to another run."""
        raise NotImplementedError

    def activate(self, run_id: str | None) -> None:
        """Use this run's model for generation, and as the one to train further."""
        raise NotImplementedError

    def show_started(self, run: RunDir, *, chosen: bool) -> None:
        """Show a run that was started from a panel; with `chosen`, put the cursor on it."""
        raise NotImplementedError

    def open_details(self, run_id: str | None) -> None:
        """Open the screen of one run."""
        raise NotImplementedError

    def action_panel(self, number: int) -> None:
        """Open a panel by its number and give it the focus."""
        raise NotImplementedError
