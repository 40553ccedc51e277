"""Keeps the list of a store's runs up to date for the window, and reads only the runs that changed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from seedbed.errors import SeedbedError
from seedbed.runs.models import Model, model_of
from seedbed.runs.status import current_status, status
from seedbed.runs.statuses import LIVE
from seedbed.runs.store import TASKS, RunDir, Store, is_run
from seedbed.text import quoted


class ListedRun(NamedTuple):
    """A run in the list, as of the last change of its folder.

    `status` is the flat object of `seedbed status --json`, `hardware` the last hardware sample while the run has a process.
    """

    run: RunDir
    status: dict[str, Any]
    model: Model | None
    hardware: dict[str, Any] | None

    @property
    def lives(self) -> bool:
        """Whether a process owns the run or waits in the queue."""
        return self.status["status"] in LIVE


class Watch:
    """Keeps all runs of a store by id. A refresh checks each folder, and reads the runs that changed or have a process.

    Every change to a run replaces a file in its folder, and so changes the folder's modification time. One thread may
    refresh while others read `runs`: the mapping is never modified, only replaced.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.runs: Mapping[str, ListedRun] = {}
        """The runs as of the last refresh; read it once if several results must be consistent."""
        self.problem: str | None = None
        """Why the store cannot be read; None if it can."""
        self._stamps: dict[str, int] = {}
        self._forgotten: set[str] = set()

    def refresh(self) -> set[str]:
        """Refresh all runs; returns the ids of those that are new, deleted or were read again."""
        changed: set[str] = set()
        for some in self.refreshing():
            changed |= some
        return changed

    def refreshing(self, at_once: int = 64) -> Iterator[set[str]]:
        """Refresh in batches, the newest runs first, so that a window can show them early. Yields the changed ids."""
        stamps = self._look()
        while self._forgotten:
            self._stamps.pop(self._forgotten.pop(), None)
        self._stamps = {run_id: stamp for run_id, stamp in self._stamps.items() if run_id in stamps}
        found = {run_id: listed for run_id, listed in self.runs.items() if run_id in stamps}
        changed = set(self.runs) - set(found)
        for run_id in sorted(stamps, reverse=True):
            known = found.get(run_id)
            lives = known is not None and known.status["status"] in LIVE
            # A process may have ended without a change in the folder of its run.
            if self._stamps.get(run_id) == stamps[run_id] and not lives:
                continue
            self._stamps[run_id] = stamps[run_id]
            listed = self._read(run_id)
            if listed is not None:
                found[run_id] = listed
                changed.add(run_id)
            elif found.pop(run_id, None) is not None:
                changed.add(run_id)
            if len(changed) >= at_once:
                self.runs = found.copy()
                yield changed
                changed = set()
        self.runs = found
        yield changed

    def forget(self, run_id: str) -> None:
        """Make the next refresh read the run with this id, even if its folder is unchanged. May be called from any thread."""
        self._forgotten.add(run_id)

    def _look(self) -> dict[str, int]:
        """Run id -> modification time of the run's folder; {} without a store, the last result if it cannot be read."""
        found: dict[str, int] = {}
        try:
            with os.scandir(self.store.root) as entries:
                for entry in entries:
                    if not entry.name.startswith(".") and entry.is_dir():
                        found[entry.name] = entry.stat().st_mtime_ns
            with suppress(OSError), os.scandir(self.store.root / TASKS) as links:
                for link in links:
                    if link.is_dir():
                        found[link.name] = link.stat().st_mtime_ns
        except FileNotFoundError:
            pass
        except OSError as error:
            self.problem = f"Cannot read {quoted(self.store.root)}: {error.strerror}."
            return self._stamps.copy()
        self.problem = None
        return found

    def _read(self, run_id: str) -> ListedRun | None:
        run = self.store.run_dir(run_id)
        try:
            if not is_run(run.path):
                return None
            current = current_status(run)
            found = status(run, current)
            return ListedRun(
                run, found, model_of(found, current.view), current.view.hardware if found["status"] in LIVE else None
            )
        except (OSError, SeedbedError):
            return None  # the run was deleted while it was read
