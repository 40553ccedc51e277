"""One life of a job in its run: lock, event log, heartbeat, and what others ask of it. Knows no kind of work."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

from seedbed import __version__
from seedbed.errors import SeedbedError
from seedbed.events import Event, Run, Step, encode
from seedbed.files import AppendLog, Lock, write_atomic
from seedbed.runs.control import SAVE, STOP, Requests, Resume
from seedbed.runs.process import myself
from seedbed.runs.status import follow, hostname, read_state, read_view, state_json
from seedbed.runs.store import RunDir

HEARTBEAT_S = 1.0
POLL_S = 0.2
HARDWARE_S = 5.0
_LOCK_PATIENCE_S = 1.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class RunBusyError(SeedbedError):
    """Another process owns the run."""

    exit_code = 75


class StopRequested(Exception):  # noqa: N818  # no error: somebody asked
    """Someone asked the job to stop while it was between two pieces of work."""


class Session:
    """The owner's hold on a run, as a context manager.

    On entry it takes the lock (RunBusyError if somebody has it), says `running`, and starts the heartbeat thread.
    SIGINT, SIGTERM and SIGHUP, however often, only ask to stop. On leaving without `finish()` the run reads as lost.
    """

    def __init__(self, path: Path, resume: Resume | None = None, *, heartbeat_s: float = HEARTBEAT_S) -> None:
        self.run = RunDir(path.absolute())
        self.resume = resume or Resume()
        self.number = 0
        self.stop_requested: str | None = None
        """Why the job should stop and save, or None. A hook looks after each step."""
        self.step = 0
        """The last step that was logged."""
        self._device: str | None = None
        self._heartbeat_s = heartbeat_s
        self._lock = Lock(self.run.lock)
        self._emitting = threading.Lock()
        self._saves_asked = 0
        self._saves_done = 0
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._beat, name="heartbeat", daemon=True),
            threading.Thread(target=self._watch_hardware, name="hardware", daemon=True),
        ]
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._take_lock()
        try:
            self._take_signals()
            _HELD.add(self)
            self._view = read_view(self.run, read_state(self.run))
            self.number, self.step = self._view.session + 1, self._view.step
            self._n = self._view.n
            self._requests = Requests(self.run.control, self.number)
            self._log = AppendLog(self.run.events)
            self._say_hello()
            self._write_state()
        except BaseException:
            self._give_signals_back()
            self._lock.release()
            _HELD.discard(self)
            raise
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        try:
            self._log.flush()
            self._write_state()
        finally:
            self._log.close()
            self._give_signals_back()
            self._lock.release()
            _HELD.discard(self)

    def emit(self, event: Event) -> None:
        """Append one event to the log. May be called from any thread; a few microseconds and one write."""
        with self._emitting:
            self._log.write(encode(event, self._n + 1, time.time()))
            self._n += 1
        if isinstance(event, Step):
            self.step = event.step
        elif isinstance(event, Run) and event.steps is not None:
            self.step, self._device = event.step, event.device

    def emit_or_stop(self, event: Event) -> None:
        """Append one event, then raise StopRequested if somebody asked to stop: for long work that tells of itself."""
        self.emit(event)
        if self.stop_requested is not None:
            raise StopRequested(self.stop_requested)

    def finish(self, status: str, *, reason: str | None = None, hint: str | None = None) -> None:
        """Say how this session ended: completed, stopped or failed."""
        self.emit(Run(status=status, session=self.number, step=self.step, reason=reason, hint=hint))

    def save_requested(self) -> bool:
        """Whether somebody asked for a checkpoint since the last time this was asked."""
        asked, self._saves_done = self._saves_asked > self._saves_done, self._saves_asked
        return asked

    def _take_lock(self) -> None:
        end = time.monotonic() + _LOCK_PATIENCE_S
        while not self._lock.acquire():
            if time.monotonic() > end:
                raise RunBusyError(
                    f"{self.run.id} is already running in another process.",
                    f"Watch it with `seedbed status {self.run.id}`; `seedbed stop {self.run.id} --wait` stops it and"
                    " returns when it has saved.",
                )
            time.sleep(0.05)

    def _say_hello(self) -> None:
        me = myself()
        self.emit(
            Run(
                status="running",
                session=self.number,
                step=self._view.step,
                pid=me.pid,
                process_start=me.start,
                boot_id=me.boot_id,
                host=hostname(),
                versions={"seedbed": __version__, "python": ".".join(map(str, sys.version_info[:3]))},
            )
        )

    def _take_signals(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _SIGNALS:
            self._handlers[number] = signal.signal(number, self._on_signal)

    def _give_signals_back(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers.clear()

    def let_go_in_child(self) -> None:
        """A forked helper must not keep the lock alive after us, and must die of a SIGTERM as its pool expects."""
        self._lock.release()
        for number in self._handlers:
            signal.signal(number, signal.SIG_DFL)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.stop_requested = self.stop_requested or signal.Signals(number).name

    def _beat(self) -> None:
        """The heartbeat thread: requests often, state each second. A full disk does not end it."""
        next_state = time.monotonic()
        while not self._over.wait(POLL_S):
            for verb, reason in self._requests.new().items():
                if verb == STOP:
                    self.stop_requested = self.stop_requested or reason or "stop requested"
                elif verb == SAVE:
                    self._saves_asked += 1
            if time.monotonic() >= next_state:
                next_state = time.monotonic() + self._heartbeat_s
                try:
                    self._write_state()
                except SeedbedError as error:
                    sys.stderr.write(f"heartbeat: {error}\n")

    def _watch_hardware(self) -> None:
        """A thread of its own, since a probe may hang: what the machine does, every few seconds."""
        from seedbed.hardware.sample import Sampler

        watched, sampler = self._device, None
        while not self._over.wait(HARDWARE_S):
            if sampler is None or watched != self._device:
                watched = self._device
                sampler = Sampler(gpu_index(watched), f"the run is on {watched or 'no device yet'}")
            try:
                self.emit(sampler.sample())
            except SeedbedError as error:
                sys.stderr.write(f"hardware: {error}\n")

    def _write_state(self) -> None:
        follow(self.run, self._view)
        write_atomic(self.run.state, state_json(self._view, self.number), durable=False)


def gpu_index(device: str | None) -> int | None:
    """The GPU that a device's name such as `cuda:1` means; None where it means none."""
    kind, _, number = (device or "").partition(":")
    return int(number or 0) if kind == "cuda" and (number or "0").isdecimal() else None


# Between a fork and the child's own hooks the child still has our handlers, and Python forgets what they heard in that time.
# So signals wait until the child has let go of them.
_HELD: set[Session] = set()
_MASKS = threading.local()


def _before_fork() -> None:
    if _HELD:
        _MASKS.old = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)


def _after_fork() -> None:
    old = _MASKS.__dict__.pop("old", None)
    if old is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)


def _after_fork_in_child() -> None:
    while _HELD:
        _HELD.pop().let_go_in_child()
    _after_fork()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)
