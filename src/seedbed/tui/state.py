"""What all panels show: the runs, and which of them are chosen, marked or active. Panels keep no copies of these."""

from __future__ import annotations

from seedbed.presentation.run_list import default_model, live_runs, shown_models, shown_runs
from seedbed.runs.models import Model
from seedbed.runs.store import Store
from seedbed.runs.watch import ListedRun, Watch

MAX_MARKED = 6
"""The maximum number of runs in one plot, which is the number of colours."""


class WindowState:
    """What all panels show: the runs, and which of them are chosen, marked or active, by run id.

    `chosen` is the run under the cursor of the panel Runs; the curves of the runs in `marked` are shown together;
    `active` is the run whose model generates text and can be trained further. Ids stay valid when runs appear or move
    in the list.
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
        """The store (folder of runs) that the window shows."""
        return self.watch.store

    def run(self, run_id: str | None) -> ListedRun | None:
        """The run with this id; None if there is none, for example because it has been deleted."""
        return self.watch.runs.get(run_id) if run_id is not None else None

    def runs(self) -> list[ListedRun]:
        """The runs that match the filter: live ones (running or waiting) first, newest first within each part."""
        return shown_runs(self.watch.runs.values(), self.filter, archived=self.show_archived)

    def models(self) -> list[Model]:
        """The models to show, the one trained last first; those of archived runs only if archived runs are shown."""
        return shown_models(self.watch.runs.values(), archived=self.show_archived)

    def live(self) -> list[ListedRun]:
        """The live runs: those that a process works on or that wait in the queue, the newest first."""
        return live_runs(self.watch.runs.values())

    def model(self) -> Model | None:
        """The active model. If none was chosen or it was deleted: the model trained last that is not corrupted."""
        active = self.run(self.active)
        if active is not None and active.model is not None:
            return active.model
        return default_model(self.models())

    def forget_deleted(self) -> None:
        """Remove runs that have been deleted from `chosen`, `marked` and `active`."""
        self.marked = [run_id for run_id in self.marked if run_id in self.watch.runs]
        if self.chosen is not None and self.chosen not in self.watch.runs:
            self.chosen = None
        if self.active is not None and self.active not in self.watch.runs:
            self.active = None

    def mark(self, run_id: str) -> bool:
        """Mark a run, or unmark it if it is marked. Returns False if no more runs can be marked."""
        if run_id in self.marked:
            self.marked.remove(run_id)
        elif len(self.marked) >= MAX_MARKED:
            return False
        else:
            self.marked.append(run_id)
        return True
