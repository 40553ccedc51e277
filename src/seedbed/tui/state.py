"""What all panels show: the runs, and which of them are chosen, marked or active. Panels keep no copies of these."""

from __future__ import annotations

from seedbed.presentation.run_list import default_model, live_runs, shown_models, shown_runs
from seedbed.runs.models import Model
from seedbed.runs.store import Store
from seedbed.runs.watch import ListedRun, Watch

MAX_MARKED = 6
"""The maximum number of runs in one plot, which is the number of colours."""


class WindowState:
    """The state of the window. Choices are run ids, so that they do not change when runs appear or move in the list.

    `chosen` is the run under the cursor of Runs, `active` the one whose model generates and can be trained further.
    """

    def __init__(self, store: Store) -> None:
        self.watch = Watch(store)
        self.chosen: str | None = None
        self.active: str | None = None
        self.marked: list[str] = []
        self.filter = ""
        self.show_archived = False
        self.loaded = False
        """Whether every run has been read once."""

    @property
    def store(self) -> Store:
        """The store that the runs are in."""
        return self.watch.store

    def run(self, run_id: str | None) -> ListedRun | None:
        """The run with this id, if it still exists."""
        return self.watch.runs.get(run_id) if run_id is not None else None

    def runs(self) -> list[ListedRun]:
        """The runs to show: live ones first, newest first within each part."""
        return shown_runs(self.watch.runs.values(), self.filter, archived=self.show_archived)

    def models(self) -> list[Model]:
        """The models to show, the one trained last first."""
        return shown_models(self.watch.runs.values(), archived=self.show_archived)

    def live(self) -> list[ListedRun]:
        """The runs that a process works on or that wait in the queue, the newest first."""
        return live_runs(self.watch.runs.values())

    def model(self) -> Model | None:
        """The active model. If none is chosen, or if it was deleted, the model trained last that is not corrupted."""
        active = self.run(self.active)
        if active is not None and active.model is not None:
            return active.model
        return default_model(self.models())

    def forget_deleted(self) -> None:
        """Remove deleted runs from the choices."""
        self.marked = [run_id for run_id in self.marked if run_id in self.watch.runs]
        if self.chosen is not None and self.chosen not in self.watch.runs:
            self.chosen = None
        if self.active is not None and self.active not in self.watch.runs:
            self.active = None

    def mark(self, run_id: str) -> bool:
        """Mark or unmark a run. Returns False if no more runs can be marked."""
        if run_id in self.marked:
            self.marked.remove(run_id)
        elif len(self.marked) >= MAX_MARKED:
            return False
        else:
            self.marked.append(run_id)
        return True
