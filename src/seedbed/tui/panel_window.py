"""What panels, screens and dialogs may ask of the window that they belong to."""

from __future__ import annotations

from seedbed.runs.curves.series import Series
from seedbed.runs.store import RunDir
from seedbed.tui.actions import RunActions


class PanelWindow(RunActions):
    """A window of panels. Panels know it by this class alone, so that they import no other panel."""

    def series(self, run: RunDir) -> Series:
        """The curves of a run; everything that shows them shares one object."""
        raise NotImplementedError

    def show_all(self) -> None:
        """Draw every panel again: which runs are shown has changed."""
        raise NotImplementedError

    def chosen_changed(self) -> None:
        """The cursor of Runs is on another run."""
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
