"""Saves checkpoints on a background thread and deletes old ones. Needs no torch."""

from __future__ import annotations

import os
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path

from seedbed import events
from seedbed.checkpoint.marker import read_marker, step_of
from seedbed.checkpoint.reading import find
from seedbed.checkpoint.writing import Snapshot, clean_up, save
from seedbed.errors import SeedbedError, StorageError
from seedbed.files import explained, make_dir, remove_tree


class Writer:
    """Saves checkpoints on a background thread, one at a time, and deletes old checkpoints after each save.

    It keeps the newest `keep_last` checkpoints, the best one, and, if `keep_every` > 0, those whose step is a multiple
    of `keep_every`.

    Only the owner of the run's lock may create a Writer, since the Writer first removes the remains of interrupted
    saves. `folder` must contain no superseded checkpoints, that is, of steps that a resume from an earlier step
    replaced. If a write fails, the next `poll` or `close` raises its error; after a StorageError the snapshot is kept
    for `retry`. If a checkpoint cannot be deleted, the Writer tries again after the next save.
    """

    def __init__(self, folder: Path, *, keep_last: int = 2, keep_every: int = 0) -> None:
        self._folder = folder
        self._keep_last, self._keep_every = max(1, keep_last), keep_every
        make_dir(folder)
        clean_up(folder)
        good = find(folder).good
        self._best = next((path for path in reversed(good) if read_marker(path).best), None)
        self._executor: ThreadPoolExecutor | None = None
        self._writing: Future[events.Checkpoint] | None = None
        self._written: list[Future[events.Checkpoint]] = []
        self._stall_s = 0.0
        self._failed: tuple[Snapshot, bool] | None = None

    def submit(self, snapshot: Snapshot, *, best: bool = False, begun: float | None = None) -> None:
        """Start to write a snapshot on the background thread, and return. Waits only if the previous write is unfinished.

        `begun` is the `time.perf_counter()` at the start of the snapshot, so that the event's `stall_s` is the whole
        time that training waited.
        """
        begun = time.perf_counter() if begun is None else begun
        self._wait()
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, "checkpoint-writer", initializer=_lower_priority)
        self._stall_s = time.perf_counter() - begun
        self._failed = None
        self._writing = self._executor.submit(self._work, snapshot, best)

    def retry(self) -> None:
        """Write again the snapshot whose write failed, unless a later one was submitted in the meantime."""
        if self._failed is not None:
            self.submit(self._failed[0], best=self._failed[1])

    def give_up(self) -> None:
        """Discard the snapshot whose write failed; `retry` then does nothing."""
        self._failed = None

    def poll(self) -> list[events.Checkpoint]:
        """Return the events of the checkpoints that were finished since the last call.

        Raises the error of a failed write, once.
        """
        if self._writing is not None and self._writing.done():
            self._wait()
        finished: list[events.Checkpoint] = []
        while self._written and not (finished and self._written[0].exception()):
            finished.append(self._written.pop(0).result())
        return finished

    def close(self) -> None:
        """Wait for the current write and end the thread. Raises the write's error if it failed.

        After that, `poll` still returns the events of finished checkpoints.
        """
        self._wait()
        if self._executor is not None:
            self._executor.shutdown()
            self._executor = None
        failed = [future for future in self._written if future.exception() is not None]
        self._written = [future for future in self._written if future.exception() is None]
        if failed:
            failed[-1].result()

    def _wait(self) -> None:
        if self._writing is not None:
            wait([self._writing])
            self._written.append(self._writing)
            self._writing = None

    def _work(self, snapshot: Snapshot, best: bool) -> events.Checkpoint:
        stall_s = self._stall_s
        try:
            with explained(self._folder):
                saved = save(self._folder, snapshot, best=best)
        except StorageError:
            self._failed = (snapshot, best)
            raise
        if best:
            self._best = saved.path
        deleted: list[Path] = []
        with suppress(SeedbedError), explained(self._folder):
            self._retain(saved.path, deleted)
        return events.Checkpoint(
            step=snapshot.step,
            path=f"{self._folder.name}/{saved.path.name}",
            size_bytes=saved.size_bytes,
            stall_s=stall_s,
            write_s=saved.write_s,
            best=best,
            deleted=tuple(f"{self._folder.name}/{path.name}" for path in deleted),
        )

    def _retain(self, newest: Path, deleted: list[Path]) -> None:
        """Delete all checkpoints except those that the class keeps and `newest`; append the deleted paths to `deleted`."""
        valid = find(self._folder).good
        kept = {newest, self._best, *valid[-self._keep_last :]}
        if self._keep_every > 0:
            kept |= {path for path in valid if step_of(path) % self._keep_every == 0}
        for path in valid:
            if path not in kept:
                with suppress(SeedbedError):
                    remove_tree(path)
                    deleted.append(path)


def _lower_priority() -> None:
    """Lower the priority of this thread, so that it does not slow training. Only Linux has a priority per thread."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
