"""Requests to a running job: to stop, pause, resume or save. They go to its control file, and as a signal if nobody reads that.

No other signal is ever sent, so nothing here can kill a job.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

from seedbed.errors import SeedbedError
from seedbed.events import ASKED
from seedbed.files import is_locked
from seedbed.runs import control
from seedbed.runs.control import PAUSE, RESUME, SAVE, STOP
from seedbed.runs.process import Identity, send_signal
from seedbed.runs.status import Standing, read_state, standing
from seedbed.runs.statuses import BUSY, LIVE
from seedbed.runs.store import RunDir

PATIENCE_S = 5.0
"""A job reads its control file five times a second; one that has not for so long gets a signal."""
_POLL_S = 0.1
SIGNAL_OF = {STOP: signal.SIGTERM, SAVE: signal.SIGUSR1, PAUSE: signal.SIGTSTP, RESUME: signal.SIGCONT}
"""The signal that a session takes for each request; no other is ever sent."""


class SentRequest:
    """A request to a running job. While you wait for its effect, call `repeat`: the thread that reads requests may hang."""

    def __init__(self, run: RunDir, verb: str, stands: Standing, reason: str = "") -> None:
        self.run = run
        self.stands = stands
        """How the run stood when the request was made."""
        self._verb = verb
        self._asked = time.monotonic()
        self._settled = False
        try:
            control.write_request(run.control, verb, stands.view.session, reason)
        except SeedbedError:  # a full disk, above all: a signal needs none
            self._settled = True
            if not self._send():
                raise

    def heard(self) -> bool:
        """Whether the thread that reads requests has run since the request was made."""
        state = read_state(self.run)
        if state is None or state.heartbeat.session < self.stands.view.session:
            return False
        return state.heartbeat.age_s() < time.monotonic() - self._asked

    def repeat(self, *, at_once: bool = False) -> bool:
        """Send the signal, once, if nobody has read the request in time, or `at_once`; returns whether it was sent."""
        if self._settled or (time.monotonic() - self._asked < PATIENCE_S and not at_once):
            return False
        self._settled = True
        # A job that is leaving has given its signals back, and then its lock.
        return not self.heard() and standing(self.run).status in LIVE and is_locked(self.run.lock) and self._send()

    def deliver(self) -> None:
        """Return when the job knows: within a second, at its next heartbeat, or when the signal is sent."""
        while not (self._settled or self.repeat() or self.heard()):
            time.sleep(_POLL_S)

    def wait(self, done: Callable[[Standing], bool], within_s: float = float("inf")) -> Standing:
        """How the run stands once that is `done`, or the run has ended and let go, or `within_s` have passed."""
        end = time.monotonic() + within_s
        while True:
            stands = standing(self.run)
            if done(stands) or time.monotonic() >= end:
                return stands
            if stands.status not in LIVE and not is_locked(self.run.lock):
                return stands
            if stands.view.session != self.stands.view.session and self.stands.view.session:
                return stands  # that session is over, and somebody has begun the next
            self.repeat()
            time.sleep(_POLL_S)

    def _send(self) -> bool:
        said = self.stands.view.run
        pid, started, boot = (said.get(key) for key in ("pid", "process_start", "boot_id"))
        if not isinstance(pid, int) or not isinstance(started, int | float):
            return False
        return send_signal(Identity(pid, float(started), str(boot or "")), SIGNAL_OF[self._verb])


def stop(run: RunDir, reason: str = "asked to stop") -> SentRequest:
    """Ask the run's job to stop and save, whether it works, is paused or waits for its turn."""
    stands = standing(run)
    if stands.status not in LIVE:
        raise SeedbedError(f'"{run.id}" is not running ({stands.status}).', "`seedbed runs` shows which are.")
    return SentRequest(run, STOP, stands, reason)


def pause(run: RunDir) -> SentRequest:
    """Ask the run's job to save and to hold until somebody asks it to go on."""
    stands = standing(run)
    if stands.status == "pausing" or _asked_to_pause(stands):
        raise SeedbedError(f'"{run.id}" is {stands.status} already.', f"`seedbed resume {run.id}` lets it go on.")
    _refuse_others(run, stands, "pause")
    return SentRequest(run, PAUSE, stands, "asked to pause")


def save_now(run: RunDir) -> SentRequest:
    """Ask the run's job for a checkpoint after the step at hand."""
    stands = standing(run)
    if stands.status == "pausing":
        raise SeedbedError(f'"{run.id}" is pausing: it saves anyway.', f"Watch it: seedbed status {run.id}")
    if _asked_to_pause(stands):
        raise SeedbedError(f'"{run.id}" is paused, and saved before that.', f"`seedbed resume {run.id}` lets it go on.")
    _refuse_others(run, stands, "save")
    return SentRequest(run, SAVE, stands, "asked to save")


def unpause(run: RunDir) -> SentRequest:
    """Let a run go on that is paused, or about to be, because somebody asked."""
    stands = standing(run)
    asked = control.unfinished_request(run.control, stands.view.session)
    if asked == STOP and stands.status in BUSY:
        raise _stopping(run)
    if stands.status == "paused" and not _asked_to_pause(stands):
        raise SeedbedError(f'"{run.id}" is paused. {stands.view.reason or ""}'.rstrip(), stands.view.hint or "")
    if stands.status not in ("paused", "pausing") and not (stands.status in BUSY and asked == PAUSE):
        raise SeedbedError(f'"{run.id}" is not paused ({stands.status}).', "`seedbed runs` shows which are.")
    return SentRequest(run, RESUME, stands)


def is_paused(run: RunDir) -> bool:
    """Whether the run is paused, or about to be."""
    stands = standing(run)
    asked = control.unfinished_request(run.control, stands.view.session)
    return stands.status in ("pausing", "paused") or (stands.status in BUSY and asked == PAUSE)


def _asked_to_pause(stands: Standing) -> bool:
    """Whether the run's pause ends when somebody asks; every other one ends by itself."""
    return stands.status == "paused" and stands.view.code == ASKED


def _refuse_others(run: RunDir, stands: Standing, what: str) -> None:
    """Raise unless the run works and is not about to end."""
    if stands.status == "queued":
        raise SeedbedError(
            f'"{run.id}" is queued: it has not begun, so there is nothing to {what}.',
            f"`seedbed stop {run.id}` takes it out of the queue.",
        )
    if stands.status not in ("running", "stalled"):
        reason = f": {stands.view.reason}" if stands.status == "paused" and stands.view.reason else ""
        raise SeedbedError(
            f'"{run.id}" is not running ({stands.status}{reason.rstrip(".")}).', "`seedbed runs` shows which are."
        )
    if control.unfinished_request(run.control, stands.view.session) == STOP:
        raise _stopping(run)


def _stopping(run: RunDir) -> SeedbedError:
    return SeedbedError(f'"{run.id}" has been asked to stop: it saves and ends.', f"Watch it: seedbed status {run.id}")
