"""A job that owns a directory: lock, event log, heartbeat, and what others ask of it. Knows no kind of work.

A task has no more than this; a run has a session besides (runs/session.py).
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from seedbed import __version__
from seedbed.errors import DiskFullError, SeedbedError, StorageError
from seedbed.events import ASKED, STORAGE, Event, Hardware, Run, Step, encode
from seedbed.files import AppendLog, Ballast, Lock, remove_tree, write_atomic
from seedbed.runs.control import PAUSE, RESUME, SAVE, STOP, RequestReader, Resume, Turn
from seedbed.runs.process import myself
from seedbed.runs.signals import OWNERS, Handlers
from seedbed.runs.status import Pause, follow, hostname, read_state, read_view, state_json
from seedbed.runs.statuses import ENDED
from seedbed.runs.store import RunDir

HEARTBEAT_S = 1.0
POLL_S = 0.2
PAUSE_POLL_S = 0.05
SPACE_POLL_S = 1.0
_LOCK_PATIENCE_S = 1.0
_PROBE_PATIENCE_S = 5.0
"""A driver may hang while it is asked for its figures; a finished run does not wait for it."""
BALLAST_BYTES = 128 << 10
"""What a job keeps occupied, so that on a full disk there is still room to say so."""


LOCK_REMEDY = "Keep the runs on a local disk: --runs DIR, or SEEDBED_RUNS=DIR."


class RunBusyError(SeedbedError):
    """Another process owns the run."""

    exit_code = 75


class StopRequested(Exception):  # noqa: N818  # no error: somebody asked
    """Someone asked the job to stop while it was between two pieces of work."""


class Lifecycle:
    """The owner's hold on the directory of a run or a task, as a context manager.

    On entry it takes the lock (RunBusyError if somebody has it), says `running`, or `queued` where it has a turn to
    wait for, and starts the heartbeat thread. Signals, however often, only ask (see signals.SIGNALS). On leaving without
    `finish()` the directory reads as lost. A disk that takes no writes ends nothing: what cannot be written is kept, and the job
    should `hold` while it is `blocked`.
    """

    def __init__(
        self,
        path: Path,
        resume: Resume | None = None,
        *,
        turn: Turn | None = None,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self.run = RunDir(path.absolute())
        self.resume = resume or Resume()
        self.turn = turn or Turn()
        self.number = 0
        self.stop_requested: str | None = None
        """Why the job should stop and save, or None. A hook looks after each step."""
        self.step = 0
        """The last step that was logged."""
        self.status = "queued" if self.turn else "running"
        """What the log said last of this session."""
        self.pause_requested = False
        """Whether somebody asked to pause and nobody to go on since."""
        self.gone = False
        """Whether somebody removed the run's folder, or moved it: then nothing may be saved any more, and the job ends."""
        self._ballast = Ballast(self.run.path / ".ballast", BALLAST_BYTES)
        self._backlog: list[bytes] = []
        self._trouble: StorageError | None = None
        """What the last write that failed ran into."""
        self._pause: Pause | None = None
        """Why the job holds at this moment, where it does."""
        self._clock: float | None = None  # what the run's own clock showed last, where this session is simulated
        self._heartbeat_s = heartbeat_s
        self._skips_beats = False
        self._lock = Lock(self.run.lock, LOCK_REMEDY)
        self._emitting = threading.Lock()
        self._saves_asked = 0
        self._saves_done = 0
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._beat, name="heartbeat", daemon=True)]
        self._handlers = Handlers(self._obey)

    def __enter__(self) -> Self:
        self._take_lock()
        with contextlib.ExitStack() as undo:
            undo.callback(self._lock.release)
            undo.callback(self._handlers.give_back)
            self._handlers.take()
            undo.callback(OWNERS.discard, self)
            OWNERS.add(self)
            self._view = read_view(self.run, read_state(self.run))
            self.number, self.step = self._view.session + 1, self._view.step
            self._n = self._view.n
            self._enter()
            self._requests = RequestReader(self.run.control, self.number)
            self._log = AppendLog(self.run.events)
            undo.callback(self._log.close)
            self._emit_start()
            self._write_backlog()
            self._ballast.take()
            self._beat_once()
            undo.pop_all()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(_PROBE_PATIENCE_S)
        self.gone = self.gone or not self._lock.is_current()
        try:
            self._beat_once()
            self._log.flush()
        finally:
            self._leave()
            self._ballast.drop()
            self._log.close()
            self._handlers.give_back()
            self._lock.release()
            OWNERS.discard(self)
            if self.gone:
                self._sweep()

    def _enter(self) -> None:
        """Called once the directory is ours and its past is known."""

    def _leave(self) -> None:
        """Called before the directory is let go of."""

    def emit(self, event: Event, t: float | None = None) -> None:
        """Append one event to the log. May be called from any thread; a few microseconds and one write.

        `t` is when it happened, by the run's clock (see events.Emit); in a simulated session an event without it has the
        time of the one before. A line that cannot be written is kept until the log can be written again; samples of the
        hardware are not.
        """
        with self._emitting:
            if self._backlog and isinstance(event, Hardware):
                return
            line = encode(event, self._n + 1, self._time_of(event, t))
            if self._backlog:
                self._backlog.append(line)
            else:
                self._append(line)
            self._n += 1
        if isinstance(event, Step):
            self.step = event.step
        elif isinstance(event, Run):
            self.status = event.status
            if event.steps is not None:
                self.step = event.step

    def _time_of(self, event: Event, t: float | None) -> float:
        if isinstance(event, Run) and event.simulated and self._clock is None:
            self._clock = 0.0
        if self._clock is None:
            return time.time() if t is None else t
        self._clock = self._clock if t is None else t
        return self._clock

    def _append(self, line: bytes) -> None:
        try:
            self._log.write(line)
        except StorageError as error:
            self._trouble = error
            if isinstance(error, DiskFullError):
                self._ballast.drop()
                with contextlib.suppress(StorageError):
                    self._log.write(line)
                    return
            self._backlog.append(line)

    @property
    def blocked(self) -> StorageError | None:
        """What keeps the log, or the ballast, from being written, and `can_write` has not seen pass; else None."""
        if not self._backlog and self._ballast.held:
            return None
        return self._trouble or self._ballast.problem

    def can_write(self) -> bool:
        """Write the lines that were kept back, and take the ballast again; whether both went well."""
        with self._emitting:
            try:
                self._write_backlog()
            except StorageError as error:
                self._trouble = error
                return False
            if not (self._ballast.held or self._ballast.take()):
                self._trouble = self._ballast.problem
                return False
            return True

    def _write_backlog(self) -> None:
        while self._backlog:
            self._log.write(self._backlog[0])
            del self._backlog[0]

    def emit_or_stop(self, event: Event, t: float | None = None) -> None:
        """Append one event; then pause if somebody asked to, and raise StopRequested if somebody asked to stop.

        For long work that tells of itself.
        """
        self.emit(event, t)
        self.check_requests()

    def check_requests(self) -> None:
        """Pause if somebody asked to, and raise StopRequested if somebody asked to stop."""
        if self.pause_requested and self.stop_requested is None:
            self.wait_paused("asked to pause")
        if self.stop_requested is not None:
            raise StopRequested(self.stop_requested)

    def emit_status(
        self,
        status: str,
        reason: str | None = None,
        hint: str | None = None,
        *,
        code: str | None = None,
        waits_for: str | None = None,
    ) -> None:
        """Tell a change of status within this session, and why (see events.Run)."""
        change = Run(
            status=status,
            session=self.number,
            step=self.step,
            code=code,
            waits_for=waits_for,
            reason=reason,
            hint=hint,
        )
        self.emit(change)

    def wait_paused(self, reason: str, hint: str | None = None, until: Callable[[], bool] | None = None) -> bool:
        """Say `paused` and wait, then say `running`: True. False, still paused, once somebody asks to stop.

        Waits until `until()` is true; without it, until somebody asks to go on.
        """
        code = ASKED if until is None else STORAGE
        self._pause = Pause(reason, hint or "", code)
        self.emit_status("paused", reason, hint, code=code)
        next_look = 0.0
        try:
            while self.stop_requested is None:
                if until is None:
                    if not self.pause_requested:
                        break
                elif time.monotonic() >= next_look:
                    if until():
                        break
                    next_look = time.monotonic() + SPACE_POLL_S
                time.sleep(PAUSE_POLL_S)
            else:
                return False
        finally:
            self._pause = None
        self.emit_status("running")
        return True

    def finish(self, status: str, **why: str | None) -> None:
        """Say how this session ended: completed, stopped or failed; `why` as in `say`."""
        self.emit_status(status, **why)
        with self._emitting:
            try:
                self._write_backlog()
            except StorageError as error:
                log_to_stderr(f"{error.reason}: how this session ended is not in the log")

    def fail(self, reason: str, hint: str | None = None) -> None:
        """Say that this session failed."""
        self.finish("failed", reason=reason, hint=hint)

    def end_as_asked(self) -> None:
        """Say that this session was stopped."""
        self.finish("stopped")

    def release_in_child(self) -> None:
        """A forked helper must not keep the lock alive after us, and must die of a SIGTERM as its pool expects."""
        self._lock.release()
        self._handlers.reset_in_child()

    def save_requested(self) -> bool:
        """Whether somebody asked for a checkpoint since the last time this was asked."""
        asked, self._saves_done = self._saves_asked > self._saves_done, self._saves_asked
        return asked

    def _take_lock(self) -> None:
        """Wait a moment for an owner that is just leaving, or somebody who only looks; not for the end of a session."""
        if self._lock.acquire():
            return
        found = read_view(self.run, read_state(self.run))
        end = time.monotonic() + _LOCK_PATIENCE_S
        while time.monotonic() < end:
            time.sleep(0.05)
            if self._lock.acquire():
                now = read_view(self.run, read_state(self.run))
                if now.session == found.session and (found.status in ENDED or now.status == found.status):
                    return
                self._lock.release()  # somebody else had it all along, and has ended since
                break
        raise RunBusyError(
            f'"{self.run.id}" is already running in another process.',
            f"Watch it with `seedbed status {self.run.id}`; `seedbed stop {self.run.id} --wait` stops it and"
            " returns when it has saved.",
        )

    def _emit_start(self) -> None:
        me = myself()
        self.emit(
            Run(
                status=self.status,
                session=self.number,
                step=self._view.step,
                pid=me.pid,
                process_start=me.start,
                boot_id=me.boot_id,
                host=hostname(),
                versions={"seedbed": __version__, "python": ".".join(map(str, sys.version_info[:3]))},
                queue=self.turn.queue if self.turn else None,
                after=self.turn.after.name if self.turn.after is not None else None,
            )
        )

    def _obey(self, verb: str, reason: str) -> None:
        """Take a request in; nothing here may wait or write, since a signal may come at any moment."""
        if verb == STOP:
            self.stop_requested = self.stop_requested or reason or "stop requested"
        elif verb == SAVE:
            self._saves_asked += 1
        elif verb in (PAUSE, RESUME):
            self.pause_requested = verb == PAUSE

    def _beat(self) -> None:
        """The heartbeat thread: requests often, state each second. A failed write does not end it."""
        next_state = time.monotonic()
        while not self._over.wait(POLL_S):
            for verb, reason in self._requests.new().items():
                self._obey(verb, reason)
            if not self.gone and not self._lock.is_current():
                self.gone = True
                self._obey(STOP, "its folder is gone")
            if time.monotonic() >= next_state:
                next_state = time.monotonic() + self._heartbeat_s
                self._beat_once()

    def _beat_once(self) -> None:
        """Write the state; what that ran into is told once. On a full disk the ballast makes room for the next beat."""
        if self.gone:
            return
        try:
            self._write_state()
            self._skips_beats = False
        except SeedbedError as error:
            if not self._skips_beats:
                log_to_stderr(f"heartbeat: {error}")
            self._skips_beats = True
            if isinstance(error, DiskFullError):
                with self._emitting:
                    self._ballast.drop()
                    self._trouble = error

    def _write_state(self) -> None:
        """The fold so far with the time of day."""
        follow(self.run, self._view)
        untold = self._pause if self._backlog else None
        write_atomic(self.run.state, state_json(self._view, self.number, untold), durable=False)

    def _sweep(self) -> None:
        """Remove what this job has put where its directory was, after somebody removed that; nothing else."""
        with contextlib.suppress(OSError, SeedbedError):
            if {entry.name for entry in self.run.path.iterdir()} <= self._own_files():
                remove_tree(self.run.path)

    def _own_files(self) -> set[str]:
        """Names of files and folders that a job makes anew wherever it writes."""
        return {self.run.state.name}


def log_to_stderr(words: str) -> None:
    """A line for job.log, if there is room for it."""
    with contextlib.suppress(OSError):
        sys.stderr.write(words + "\n")
