"""Saves checkpoints beside training, on a thread of its own, and keeps those that are worth keeping. Needs no torch."""

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
    """Saves beside training: one write at a time, on a thread of its own; afterwards keeps the newest and the best.

    `keep_every` > 0 keeps those whose step is a multiple of it as well.

    Only the holder of the run's lock may have one, since it first cleans up what cut-off writes left. All finished
    checkpoints in its folder must be in force: others are set aside before. What a write ran into is raised by the next
    `poll` or `close`; after a StorageError its snapshot is kept for `retry`. A checkpoint that cannot be removed stays
    until the next save.
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
        """Start writing and return; waits only where the previous write is still going on.

        `begun` is the `time.perf_counter()` at which the snapshot was begun, so that the event's `stall_s` counts all
        that training waited for.
        """
        begun = time.perf_counter() if begun is None else begun
        self._wait()
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, "checkpoint-writer", initializer=_give_way)
        self._stall_s = time.perf_counter() - begun
        self._failed = None
        self._writing = self._executor.submit(self._work, snapshot, best)

    def retry(self) -> None:
        """Write the last snapshot again that could not be written; nothing where a later one was submitted since."""
        if self._failed is not None:
            self.submit(self._failed[0], best=self._failed[1])

    def give_up(self) -> None:
        """Let go of the snapshot that could not be written."""
        self._failed = None

    def poll(self) -> list[events.Checkpoint]:
        """What was finished since the last call. Raises what a write ran into, once."""
        if self._writing is not None and self._writing.done():
            self._wait()
        finished: list[events.Checkpoint] = []
        while self._written and not (finished and self._written[0].exception()):
            finished.append(self._written.pop(0).result())
        return finished

    def close(self) -> None:
        """Wait for the write that is going on. Raises what it ran into; what was finished stays for `poll`."""
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
        """Delete what is neither among the last, nor the best, nor on a step to keep, nor `newest`, just verified."""
        valid = find(self._folder).good
        kept = {newest, self._best, *valid[-self._keep_last :]}
        if self._keep_every > 0:
            kept |= {path for path in valid if step_of(path) % self._keep_every == 0}
        for path in valid:
            if path not in kept:
                with suppress(SeedbedError):
                    remove_tree(path)
                    deleted.append(path)


def _give_way() -> None:
    """Let training's threads go first. Linux alone has priorities of single threads."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
