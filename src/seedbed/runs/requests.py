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
from seedbed.runs.status import Standing, read_state, standing
from seedbed.runs.statuses import BUSY, LIVE, OVER
from seedbed.runs.store import RunDir

PATIENCE_S = 5.0
"""A job reads its control file five times a second. If it has not read the file for this long, it gets a signal."""
_POLL_S = 0.1
SIGNAL_OF = {STOP: signal.SIGTERM, SAVE: signal.SIGUSR1, PAUSE: signal.SIGTSTP, RESUME: signal.SIGCONT}
"""The signal for each request."""


class SentRequest:
    """A request that was sent to a running job. Call `repeat` while you wait: the job's thread for requests may hang."""

    def __init__(self, run: RunDir, verb: str, stands: Standing, reason: str = "") -> None:
        self.run = run
        self.stands = stands
        """The standing of the run when the request was sent."""
        self._verb = verb
        self._sent_at = time.monotonic()
        self._settled = False
        try:
            control.write_request(run.control, verb, stands.view.session, reason)
        except SeedbedError:  # most likely a full disk; a signal needs no disk space
            self._settled = True
            if not self._send():
                raise

    def is_read(self) -> bool:
        """Whether the job has read its control file since the request was sent."""
        state = read_state(self.run)
        if state is None or state.heartbeat.session < self.stands.view.session:
            return False
        return state.heartbeat.age_s() < time.monotonic() - self._sent_at

    def repeat(self, *, at_once: bool = False) -> bool:
        """Send the request as a signal, once, if the job has not read it in time, or immediately if `at_once`.

        Returns whether the signal was sent.
        """
        if self._settled or (time.monotonic() - self._sent_at < PATIENCE_S and not at_once):
            return False
        self._settled = True
        # A job that exits restores its signal handlers (from then on, a signal kills it), and then releases its lock.
        return not self.is_read() and standing(self.run).status in LIVE and is_locked(self.run.lock) and self._send()

    def deliver(self) -> None:
        """Wait until the job has read the request (within a second, at its next heartbeat), or the signal was sent."""
        while not (self._settled or self.repeat() or self.is_read()):
            time.sleep(_POLL_S)

    def wait(self, done: Callable[[Standing], bool], within_s: float = float("inf")) -> Standing:
        """Wait until `done(standing)` is true or the run has ended and released its lock, at most `within_s`.

        Returns the last standing.
        """
        end = time.monotonic() + within_s
        while True:
            stands = standing(self.run)
            if done(stands) or time.monotonic() >= end:
                return stands
            if stands.status not in LIVE and not is_locked(self.run.lock):
                return stands
            if stands.view.session != self.stands.view.session and self.stands.view.session:
                return stands  # that session is over, and another has begun
            self.repeat()
            time.sleep(_POLL_S)

    def _send(self) -> bool:
        fields = self.stands.view.run
        pid, started, boot = (fields.get(key) for key in ("pid", "process_start", "boot_id"))
        if not isinstance(pid, int) or not isinstance(started, int | float):
            return False
        return send_signal(Identity(pid, float(started), str(boot or "")), SIGNAL_OF[self._verb])


def stop(run: RunDir, reason: str = "asked to stop") -> SentRequest:
    """Ask the run's job to save and stop. Raises SeedbedError unless it is running, paused or queued."""
    stands = standing(run)
    if stands.status not in LIVE:
        raise SeedbedError(f'"{run.id}" is not running ({stands.status}).', _what_to_do(run, stands))
    return SentRequest(run, STOP, stands, reason)


def pause(run: RunDir) -> SentRequest:
    """Ask the run's job to save and pause until a resume is requested. Raises SeedbedError unless it is running."""
    stands = standing(run)
    if stands.status == "pausing" or _is_paused_on_request(stands):
        raise SeedbedError(f'"{run.id}" is already {stands.status}.', f"`seedbed resume {run.id}` resumes it.")
    _refuse_unless_running(run, stands, "pause")
    return SentRequest(run, PAUSE, stands, "asked to pause")


def save_now(run: RunDir) -> SentRequest:
    """Ask the run's job to save a checkpoint after the current step. Raises SeedbedError unless it is running."""
    stands = standing(run)
    if stands.status == "pausing":
        raise SeedbedError(
            f'"{run.id}" is pausing: it saves a checkpoint anyway.', f"Watch it: seedbed status {run.id}"
        )
    if _is_paused_on_request(stands):
        raise SeedbedError(
            f'"{run.id}" is paused: it saved a checkpoint when it paused.', f"`seedbed resume {run.id}` resumes it."
        )
    _refuse_unless_running(run, stands, "save")
    return SentRequest(run, SAVE, stands, "asked to save")


def unpause(run: RunDir) -> SentRequest:
    """Ask the job of a run that was paused on request to continue. Raises SeedbedError for other runs."""
    stands = standing(run)
    request = control.unfinished_request(run.control, stands.view.session)
    if request == STOP and stands.status in BUSY:
        raise _stopping(run)
    if stands.status == "paused" and not _is_paused_on_request(stands):
        raise SeedbedError(f'"{run.id}" is paused. {stands.view.reason or ""}'.rstrip(), stands.view.hint or "")
    if stands.status not in ("paused", "pausing") and not (stands.status in BUSY and request == PAUSE):
        raise SeedbedError(f'"{run.id}" is not paused ({stands.status}).', _what_to_do(run, stands))
    return SentRequest(run, RESUME, stands)


def is_paused(run: RunDir) -> bool:
    """Whether the run is paused or about to pause."""
    stands = standing(run)
    request = control.unfinished_request(run.control, stands.view.session)
    return stands.status in ("pausing", "paused") or (stands.status in BUSY and request == PAUSE)


def _is_paused_on_request(stands: Standing) -> bool:
    """Whether the run is paused until a resume is requested; every other pause ends automatically."""
    return stands.status == "paused" and stands.view.code == ASKED


def _refuse_unless_running(run: RunDir, stands: Standing, what: str) -> None:
    """Raise SeedbedError unless the run is running and is not asked to stop."""
    if stands.status == "queued":
        raise SeedbedError(
            f'"{run.id}" is queued: it has not started, so there is nothing to {what}.',
            f"`seedbed stop {run.id}` removes it from the queue.",
        )
    if stands.status not in ("running", "stalled"):
        reason = f": {stands.view.reason}" if stands.status == "paused" and stands.view.reason else ""
        raise SeedbedError(
            f'"{run.id}" is not running ({stands.status}{reason.rstrip(".")}).', _what_to_do(run, stands)
        )
    if control.unfinished_request(run.control, stands.view.session) == STOP:
        raise _stopping(run)


def _what_to_do(run: RunDir, stands: Standing) -> str:
    """A hint for a run that cannot carry out a request in its current status."""
    view = stands.view
    if stands.status == "paused":
        return view.hint or ""
    if stands.status in OVER and not (
        stands.status == "completed" and view.steps is not None and view.step >= view.steps
    ):
        return f"`seedbed resume {run.id}` continues it; `seedbed status {run.id}` shows why it ended."
    return f"`seedbed status {run.id}` shows what it is doing."


def _stopping(run: RunDir) -> SeedbedError:
    return SeedbedError(f'"{run.id}" is stopping: it saves and exits.', f"Watch it: seedbed status {run.id}")
