"""The session of a job on the directory of its run or task: lock, event log, heartbeat, requests and signals.

A task uses the class Lifecycle; a run uses its subclass in runs/session.py.
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
from seedbed.append_log import AppendLog
from seedbed.disk_space import Ballast
from seedbed.errors import DiskFullError, SeedbedError, StorageError
from seedbed.events import ASKED, STORAGE, Event, Hardware, Run, Step, encode
from seedbed.files import remove_tree, write_atomic
from seedbed.locks import Lock
from seedbed.runs.control import PAUSE, RESUME, SAVE, STOP, RequestReader, ResumeOptions, StartCondition
from seedbed.runs.process import own_identity
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
"""How many seconds a job that ends waits for its threads: reading a GPU driver may hang."""
BALLAST_BYTES = 128 << 10
"""The number of bytes of disk space that a job reserves (the ballast), so that it can still log when the disk is full."""


LOCK_REMEDY = "Keep the runs on a local disk: use --runs DIR or SEEDBED_RUNS=DIR."


class RunBusyError(SeedbedError):
    """The run cannot be started, since another process owns it."""

    exit_code = 75


class StopRequested(Exception):  # noqa: N818  # a request, not an error
    """The job got a request to stop."""


class Lifecycle:
    """A job's session on the directory of a run or a task, as a context manager.

    Entering acquires the lock (raises RunBusyError if another process holds it), logs `running` (or `queued` if `turn`
    says what to wait for), and starts the heartbeat thread. Signals only make requests to stop, save, pause or resume
    (see signals.SIGNALS). If the session is left without `finish()`, its status becomes `lost`. On a full disk the
    session continues: events that cannot be written are kept in memory, and while `blocked` is set the job should call
    `wait_paused`.
    """

    def __init__(
        self,
        path: Path,
        resume: ResumeOptions | None = None,
        *,
        turn: StartCondition | None = None,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self.run = RunDir(path.absolute())
        self.resume = resume or ResumeOptions()
        self.turn = turn or StartCondition()
        self.number = 0
        self.stop_requested: str | None = None
        """Why the job should stop and save; None if no stop was requested. A hook checks it after each step."""
        self.step = 0
        """The number of the last step that was logged."""
        self.status = "queued" if self.turn else "running"
        """The last logged status of this session."""
        self.pause_requested = False
        """Whether a pause was requested, and no resume was requested after it."""
        self.began_s = time.monotonic()
        """When the work of this session began, on the clock of time.monotonic()."""
        self.paused_s = 0.0
        """The seconds that this session has been paused."""
        self.observers: list[Callable[[Event], None]] = []
        """Functions that are called with every event after it was logged, in the thread that logged it."""
        self.gone = False
        """Whether the run's folder was deleted or moved. Then nothing may be saved, and the job stops."""
        self._ballast = Ballast(self.run.path / ".ballast", BALLAST_BYTES)
        self._backlog: list[bytes] = []
        self._trouble: StorageError | None = None
        """The error of the last write to the log or to the ballast that failed."""
        self._pause: Pause | None = None
        """Why the job is paused; None while it is not."""
        self._clock: float | None = None  # the last time of the run's own clock, in a simulated session
        self.poll_s = POLL_S
        """Seconds between two looks at the requests; a job may lower it."""
        self._heartbeat_s = heartbeat_s
        self._beat_failed = False
        self._lock = Lock(self.run.lock, LOCK_REMEDY)
        self._emitting = threading.Lock()
        self._saves_requested = 0
        self._saves_done = 0
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._beat, name="heartbeat", daemon=True)]
        self._handlers = Handlers(self._record_request)

    def __enter__(self) -> Self:
        self._take_lock()
        with contextlib.ExitStack() as undo:
            undo.callback(self._lock.release)
            undo.callback(self._handlers.restore)
            self._handlers.install()
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
            self._handlers.restore()
            self._lock.release()
            OWNERS.discard(self)
            if self.gone:
                self._remove_own_files()

    def _enter(self) -> None:
        """To be overridden: called after the lock was acquired and the log was read."""

    def _leave(self) -> None:
        """To be overridden: called before the lock is released."""

    def emit(self, event: Event, t: float | None = None) -> None:
        """Append one event to the log. May be called from any thread. Takes a few microseconds and one write.

        `t` is the time of the event by the run's clock (see events.Emit). In a simulated session, an event without `t`
        gets the time of the event before. A line that cannot be written is kept until the log can be written again;
        until then, hardware samples are dropped.
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
        for observe in self.observers:
            observe(event)

    @property
    def is_simulated(self) -> bool:
        """Whether this session has a clock of its own; then this machine's load says nothing about the run."""
        return self._clock is not None

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
        """The error with which logging or reserving disk space failed; None if both work, or `can_write` has succeeded."""
        if not self._backlog and self._ballast.held:
            return None
        return self._trouble or self._ballast.problem

    def can_write(self) -> bool:
        """Write the lines that were kept in memory, and reserve disk space again. Returns whether both succeeded."""
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
        """Append one event to the log, then call `check_requests`. For long work that logs its progress."""
        self.emit(event, t)
        self.check_requests()

    def check_requests(self) -> None:
        """Wait while a pause is requested; raise StopRequested if a stop is requested."""
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
        """Log a change of status of this session, and why (see events.Run)."""
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
        """Log `paused`, wait, log `running`, and return True. Returns False, still paused, if a stop is requested.

        Waits until `until()` is true; without it, until a resume is requested.
        """
        code = ASKED if until is None else STORAGE
        self._pause = Pause(reason, hint or "", code)
        began = time.monotonic()
        self.emit_status("paused", reason, hint, code=code)
        next_look = 0.0
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
            self.paused_s += time.monotonic() - began
            return False
        self.paused_s += time.monotonic() - began
        self._pause = None
        self.emit_status("running")
        return True

    def finish(self, status: str, **why: str | None) -> None:
        """Log how this session ended: completed, stopped or failed; `why` as in `emit_status`."""
        self.emit_status(status, **why)
        with self._emitting:
            try:
                self._write_backlog()
            except StorageError as error:
                log_to_stderr(f"{error.reason}: the end of this session could not be logged")

    def fail(self, reason: str, hint: str | None = None) -> None:
        """Log that this session failed, and why."""
        self.finish("failed", reason=reason, hint=hint)

    def end_as_asked(self) -> None:
        """Log that this session was stopped on request."""
        self.finish("stopped")

    def release_in_child(self) -> None:
        """Release the lock and restore the default signal handlers. To be called in a forked worker.

        Otherwise the worker would hold the lock after the job's process has exited.
        """
        self._lock.release()
        self._handlers.reset_in_child()

    def save_requested(self) -> bool:
        """Whether a checkpoint was requested since the last call of this method."""
        requested, self._saves_done = self._saves_requested > self._saves_done, self._saves_requested
        return requested

    def _take_lock(self) -> None:
        """Acquire the run's lock, or raise RunBusyError if another session owns it.

        Waits briefly for a process that is exiting or only checks the lock.
        """
        if self._lock.acquire():
            return
        found = read_view(self.run, read_state(self.run))
        end = time.monotonic() + _LOCK_PATIENCE_S
        while time.monotonic() < end:
            time.sleep(0.05)
            if self._lock.acquire():
                current = read_view(self.run, read_state(self.run))
                if current.session == found.session and (found.status in ENDED or current.status == found.status):
                    return
                self._lock.release()  # another session owned it, and has ended in the meantime
                break
        raise RunBusyError(
            f'"{self.run.id}" is already running in another process.',
            f"Watch it with `seedbed status {self.run.id}`; `seedbed stop {self.run.id} --wait` stops it and"
            " returns when it has saved.",
        )

    def _emit_start(self) -> None:
        me = own_identity()
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

    def _record_request(self, verb: str, reason: str) -> None:
        """Record the request `verb` (stop, save, pause or resume).

        Signal handlers call this, so it may neither wait nor write.
        """
        if verb == STOP:
            self.stop_requested = self.stop_requested or reason or "stop requested"
        elif verb == SAVE:
            self._saves_requested += 1
        elif verb in (PAUSE, RESUME):
            self.pause_requested = verb == PAUSE

    def _beat(self) -> None:
        """Run the heartbeat thread: read requests often, and write state.json each second. Continues if a write fails."""
        next_state = time.monotonic()
        while not self._over.wait(self.poll_s):
            for verb, reason in self._requests.new().items():
                self._record_request(verb, reason)
            if not self.gone and not self._lock.is_current():
                self.gone = True
                self._record_request(STOP, "its folder is gone")
            if time.monotonic() >= next_state:
                next_state = time.monotonic() + self._heartbeat_s
                self._beat_once()

    def _beat_once(self) -> None:
        """Write state.json; an error is printed once. On a full disk, the reserved space is freed for the next attempt."""
        if self.gone:
            return
        try:
            self._write_state()
            self._beat_failed = False
        except SeedbedError as error:
            if not self._beat_failed:
                log_to_stderr(f"heartbeat: {error}")
            self._beat_failed = True
            if isinstance(error, DiskFullError):
                with self._emitting:
                    self._ballast.drop()
                    self._trouble = error

    def _write_state(self) -> None:
        """Write state.json: the View (the state of the run, built from its events) and the heartbeat."""
        follow(self.run, self._view)
        unlogged = self._pause if self._backlog else None
        write_atomic(self.run.state, state_json(self._view, self.number, unlogged), durable=False)

    def _remove_own_files(self) -> None:
        """Delete what this job has written after its directory was deleted; keep the directory if it has other files."""
        with contextlib.suppress(OSError, SeedbedError):
            if {entry.name for entry in self.run.path.iterdir()} <= self._own_files():
                remove_tree(self.run.path)

    def _own_files(self) -> set[str]:
        """Names of the files and folders that a job creates again if they are missing."""
        return {self.run.state.name}


def log_to_stderr(text: str) -> None:
    """Print a line to stderr, which is job.log; does nothing if the disk is full."""
    with contextlib.suppress(OSError):
        sys.stderr.write(text + "\n")
