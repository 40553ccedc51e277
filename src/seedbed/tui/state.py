"""What all panels look at: the runs, which of them is chosen, marked or active. One of each; panels keep no copy."""

from __future__ import annotations

from typing import Any

from seedbed.runs.models import CORRUPTED, Model
from seedbed.runs.status import word
from seedbed.runs.store import RunDir, Store
from seedbed.runs.watch import Listed, Watch

MOST_MARKED = 6
"""Runs that can be laid over each other: as many as there are colours to tell them apart."""


class WindowState:
    """The state of the window, keyed by run id, so that a new run never moves a choice.

    `chosen` is the run under the cursor of Runs, `active` the one whose model generates and is trained further.
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
        """Where the runs live."""
        return self.watch.store

    def run(self, run_id: str | None) -> Listed | None:
        """The run, if it is still there."""
        return self.watch.runs.get(run_id) if run_id is not None else None

    def runs(self) -> list[Listed]:
        """The runs to show: those that live first, each part by age, the newest first."""
        shown = [each for each in self.watch.runs.values() if self._wanted(each)]
        return sorted(shown, key=lambda each: (each.lives, each.run.id), reverse=True)

    def models(self) -> list[Model]:
        """The models to show, the one trained last first."""
        shown = [each.model for each in self.watch.runs.values() if each.model is not None and self._visible(each)]
        return sorted(shown, key=lambda model: (model.trained, model.run.id), reverse=True)

    def living(self) -> list[Listed]:
        """The runs at work or waiting, the newest first."""
        return sorted((each for each in self.watch.runs.values() if each.lives), key=_id, reverse=True)

    def model(self) -> Model | None:
        """The active model; where none was chosen, or it is gone, the one trained last whose files are whole."""
        active = self.run(self.active)
        if active is not None and active.model is not None:
            return active.model
        return next((model for model in self.models() if model.status != CORRUPTED), None)

    def settle(self) -> None:
        """Forget choices of runs that are gone."""
        self.marked = [run_id for run_id in self.marked if run_id in self.watch.runs]
        if self.chosen is not None and self.chosen not in self.watch.runs:
            self.chosen = None
        if self.active is not None and self.active not in self.watch.runs:
            self.active = None

    def mark(self, run_id: str) -> bool:
        """Mark a run, or take its mark away; False where the most are marked already."""
        if run_id in self.marked:
            self.marked.remove(run_id)
        elif len(self.marked) >= MOST_MARKED:
            return False
        else:
            self.marked.append(run_id)
        return True

    def _visible(self, each: Listed) -> bool:
        return self.show_archived or not each.status["archived"]

    def _wanted(self, each: Listed) -> bool:
        if not self._visible(each):
            return False
        said = searched(each)
        return all(wanted in said for wanted in self.filter.casefold().split())


def searched(each: Listed) -> str:
    """What the words of a filter are looked for in: name, id, status (as it is shown, too), tags, note."""
    found = each.status
    words = [found["name"], found["id"], found["status"], word(found), *found["tags"], found["note"] or ""]
    return " ".join(words).casefold()


def _id(each: Listed) -> str:
    return each.run.id


def steps_text(found: dict[str, Any]) -> str:
    """Steps done of those meant."""
    return f"{found['step']}/{found['steps']}" if found["steps"] else str(found["step"])


def epochs_text(found: dict[str, Any]) -> str:
    """Passes over the text done of those meant."""
    if found["epoch"] is None:
        return "-"
    return f"{found['epoch']:.1f}/{found['epochs']:.1f}" if found["epochs"] is not None else f"{found['epoch']:.1f}"


def run_dir(each: Listed | None) -> RunDir | None:
    """The directory of a listed run."""
    return each.run if each is not None else None
