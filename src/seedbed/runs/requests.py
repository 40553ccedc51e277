"""Sends requests (stop, pause, resume, save) to a running job: checks the run's status, writes its control file, waits.

If the job does not read the file in time, the request is sent as a signal. No other signals are sent, so nothing here
can kill a job. The code with which the job reads requests is in runs/control.py.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

from seedbed.errors import SeedbedError
from seedbed.events import ASKED
from seedbed.locks import is_locked
from seedbed.runs import control
from seedbed.runs.control import PAUSE, RESUME, SAVE, STOP
from seedbed.runs.process import Identity, send_signal
from seedbed.runs.status import CurrentStatus, current_status, has_simulated_steps, read_state
from seedbed.runs.statuses import BUSY, LIVE, OVER
from seedbed.runs.store import RunDir

PATIENCE_S = 5.0
"""How many seconds a job has to read its control file (it does so five times a second) before it gets a signal."""
_POLL_S = 0.1
SIGNAL_OF = {STOP: signal.SIGTERM, SAVE: signal.SIGUSR1, PAUSE: signal.SIGTSTP, RESUME: signal.SIGCONT}
"""The signal that makes each request."""


class SentRequest:
    """A request that was sent to a running job. Call `repeat` while you wait: the job's thread for requests may hang."""

    def __init__(self, run: RunDir, verb: str, current: CurrentStatus, reason: str = "") -> None:
        self.run = run
        self.current = current
        """The status of the run when the request was sent."""
        self._verb = verb
        self._sent_at = time.monotonic()
        self._settled = False
        try:
            control.write_request(run.control, verb, current.view.session, reason)
        except SeedbedError:  # most likely a full disk; a signal needs no disk space
            self._settled = True
            if not self._send():
                raise

    def is_read(self) -> bool:
        """Whether the job has read its control file since the request was sent."""
        state = read_state(self.run)
        if state is None or state.heartbeat.session < self.current.view.session:
            return False
        return state.heartbeat.age_s() < time.monotonic() - self._sent_at

    def repeat(self, *, at_once: bool = False) -> bool:
        """Send the request as a signal, if the job has not read it in time, or immediately if `at_once`; at most once.

        Returns whether the signal was sent.
        """
        if self._settled or (time.monotonic() - self._sent_at < PATIENCE_S and not at_once):
            return False
        self._settled = True
        # A job that exits restores its signal handlers (from then on, a signal kills it), and then releases its lock.
        return (
            not self.is_read() and current_status(self.run).status in LIVE and is_locked(self.run.lock) and self._send()
        )

    def deliver(self) -> None:
        """Wait until the job has read the request (usually within a second), or the request was sent as a signal."""
        while not (self._settled or self.repeat() or self.is_read()):
            time.sleep(_POLL_S)

    def wait(self, done: Callable[[CurrentStatus], bool], within_s: float = float("inf")) -> CurrentStatus:
        """Wait until `done(current_status)` is true or the run has ended and released its lock, at most `within_s` seconds.

        Returns the last status.
        """
        end = time.monotonic() + within_s
        while True:
            current = current_status(self.run)
            if done(current) or time.monotonic() >= end:
                return current
            if current.status not in LIVE and not is_locked(self.run.lock):
                return current
            if current.view.session != self.current.view.session and self.current.view.session:
                return current  # that session is over, and another has begun
            self.repeat()
            time.sleep(_POLL_S)

    def _send(self) -> bool:
        fields = self.current.view.run
        pid, started, boot = (fields.get(key) for key in ("pid", "process_start", "boot_id"))
        if not isinstance(pid, int) or not isinstance(started, int | float):
            return False
        return send_signal(Identity(pid, float(started), str(boot or "")), SIGNAL_OF[self._verb])


def stop(run: RunDir, reason: str = "asked to stop") -> SentRequest:
    """Ask the run's job to save and stop. Raises SeedbedError unless it is running, paused or queued."""
    current = current_status(run)
    if current.status not in LIVE:
        raise SeedbedError(f'"{run.id}" is not running ({current.status}).', _what_to_do(run, current))
    return SentRequest(run, STOP, current, reason)


def pause(run: RunDir) -> SentRequest:
    """Ask the run's job to save and pause until a resume is requested. Raises SeedbedError unless it is running."""
    current = current_status(run)
    if current.status == "pausing" or _is_paused_on_request(current):
        raise SeedbedError(f'"{run.id}" is already {current.status}.', f"`seedbed resume {run.id}` resumes it.")
    _refuse_unless_running(run, current, "pause")
    return SentRequest(run, PAUSE, current, "asked to pause")


def save_now(run: RunDir) -> SentRequest:
    """Ask the run's job to save a checkpoint after the current step.

    Raises SeedbedError unless it is running, and for a simulated run.
    """
    current = current_status(run)
    if has_simulated_steps(run, current.view):
        goes_on = f"It needs no checkpoint: after a stop, `seedbed resume {run.id}` continues it."
        hint = _what_to_do(run, current) if current.status == "completed" else goes_on
        raise SeedbedError(f'"{run.id}" is simulated: it has no weights to save.', hint)
    if current.status == "pausing":
        raise SeedbedError(
            f'"{run.id}" is pausing: it saves a checkpoint anyway.', f"Watch it: seedbed status {run.id}"
        )
    if _is_paused_on_request(current):
        raise SeedbedError(
            f'"{run.id}" is paused: it saved a checkpoint when it paused.', f"`seedbed resume {run.id}` resumes it."
        )
    _refuse_unless_running(run, current, "save")
    return SentRequest(run, SAVE, current, "asked to save")


def unpause(run: RunDir) -> SentRequest:
    """Ask the job of a run that was paused on request to continue. Raises SeedbedError for other runs."""
    current = current_status(run)
    request = control.unfinished_request(run.control, current.view.session)
    if request == STOP and current.status in BUSY:
        raise _stopping(run)
    if current.status == "paused" and not _is_paused_on_request(current):
        raise SeedbedError(f'"{run.id}" is paused. {current.view.reason or ""}'.rstrip(), current.view.hint or "")
    if current.status not in ("paused", "pausing") and not (current.status in BUSY and request == PAUSE):
        raise SeedbedError(f'"{run.id}" is not paused ({current.status}).', _what_to_do(run, current))
    return SentRequest(run, RESUME, current)


def is_paused(run: RunDir) -> bool:
    """Whether the run is paused or about to pause."""
    current = current_status(run)
    request = control.unfinished_request(run.control, current.view.session)
    return current.status in ("pausing", "paused") or (current.status in BUSY and request == PAUSE)


def _is_paused_on_request(current: CurrentStatus) -> bool:
    """Whether the run is paused until a resume is requested; every other pause ends automatically."""
    return current.status == "paused" and current.view.code == ASKED


def _refuse_unless_running(run: RunDir, current: CurrentStatus, what: str) -> None:
    """Raise SeedbedError unless the run is running and no stop is requested; `what` names the request for the message."""
    if current.status == "queued":
        raise SeedbedError(
            f'"{run.id}" is queued: it has not started, so there is nothing to {what}.',
            f"`seedbed stop {run.id}` removes it from the queue.",
        )
    if current.status not in ("running", "stalled"):
        reason = f": {current.view.reason}" if current.status == "paused" and current.view.reason else ""
        raise SeedbedError(
            f'"{run.id}" is not running ({current.status}{reason.rstrip(".")}).', _what_to_do(run, current)
        )
    if control.unfinished_request(run.control, current.view.session) == STOP:
        raise _stopping(run)


def _what_to_do(run: RunDir, current: CurrentStatus) -> str:
    """A hint on what to do if a run cannot carry out a request in its current status."""
    if current.status in ("paused", "broken"):
        return current.view.hint or ""
    if current.status == "completed":
        return f"`seedbed status {run.id}` shows its result."
    if current.status == "failed":
        return f"`seedbed status {run.id}` shows why; `seedbed resume {run.id}` tries it again."
    if current.status in OVER:
        return f"`seedbed resume {run.id}` continues it; `seedbed status {run.id}` shows why it ended."
    return f"`seedbed status {run.id}` shows what it is doing."


def _stopping(run: RunDir) -> SeedbedError:
    return SeedbedError(f'"{run.id}" is stopping: it saves and exits.', f"Watch it: seedbed status {run.id}")
