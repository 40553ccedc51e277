"""A store's runs as windows list them, kept up to date for next to nothing. Knows no screen."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from seedbed.errors import SeedbedError
from seedbed.runs.models import Model, model_of
from seedbed.runs.status import standing, status
from seedbed.runs.statuses import LIVE
from seedbed.runs.store import TASKS, RunDir, Store, is_run
from seedbed.text import quoted


class Listed(NamedTuple):
    """A run as it stood when its folder last changed.

    `status` is the flat object of `seedbed status --json`, `hardware` the last look at the machine while the run lives.
    """

    run: RunDir
    status: dict[str, Any]
    model: Model | None
    hardware: dict[str, Any] | None

    @property
    def lives(self) -> bool:
        """Whether a process has the run, or waits for its turn."""
        return self.status["status"] in LIVE


class Watch:
    """All runs of a store by id. One look costs a stat for each run, and a reading of those that changed or live.

    Whatever is done to a run replaces a file in its folder, and so changes the folder's time. One thread may look while
    others read `runs`: it is never changed, but replaced by another mapping.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.runs: Mapping[str, Listed] = {}
        """The runs as they were found; read it once where several answers must agree."""
        self.problem: str | None = None
        """Why the store cannot be looked at, or None."""
        self._stamps: dict[str, int] = {}
        self._forgotten: set[str] = set()

    def refresh(self) -> set[str]:
        """Look at everything; the ids of runs that are new, gone, or read again."""
        changed: set[str] = set()
        for some in self.refreshing():
            changed |= some
        return changed

    def refreshing(self, at_once: int = 64) -> Iterator[set[str]]:
        """The same in pieces, the newest runs first, so that a window may show them before the rest is read."""
        stamps = self._look()
        while self._forgotten:
            self._stamps.pop(self._forgotten.pop(), None)
        self._stamps = {run_id: stamp for run_id, stamp in self._stamps.items() if run_id in stamps}
        found = {run_id: listed for run_id, listed in self.runs.items() if run_id in stamps}
        changed = set(self.runs) - set(found)
        for run_id in sorted(stamps, reverse=True):
            held = found.get(run_id)
            lives = held is not None and held.status["status"] in LIVE
            # The process of one that lives may be gone without a trace in its folder.
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
        """Read this run anew at the next look, whatever its folder's time says. May be called while another looks."""
        self._forgotten.add(run_id)

    def _look(self) -> dict[str, int]:
        """The folders' times by id. A store that is not there yet is empty; one that may not be read keeps what it was."""
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

    def _read(self, run_id: str) -> Listed | None:
        run = self.store.run_dir(run_id)
        try:
            if not is_run(run.path):
                return None
            stands = standing(run)
            found = status(run, stands)
            return Listed(
                run, found, model_of(found, stands.view), stands.view.hardware if found["status"] in LIVE else None
            )
        except (OSError, SeedbedError):
            return None  # it went away while it was read
