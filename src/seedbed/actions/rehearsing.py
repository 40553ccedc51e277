"""Rehearses the recovery from failures: trains a real run, injects faults into it, and compares it with an undisturbed one.

Faults are injected from outside the job, when its log says that a step is done: signals kill or stop its process, and the
file .faults fills or slows its disk (runs/faults.py). A run that was killed or stopped is resumed as by a user.
"""

from __future__ import annotations

import os
import signal
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from seedbed.actions import launching
from seedbed.actions.checks import refuse_without_torch
from seedbed.actions.resuming import resume
from seedbed.actions.supervising import stop
from seedbed.checkpoint.marker import OPTIMIZER, read_marker
from seedbed.checkpoint.reading import find
from seedbed.config.resolving import Resolved
from seedbed.config.schema import Config
from seedbed.errors import SeedbedError
from seedbed.events import STORAGE, Checkpoint, Data, Phase, Run, Step
from seedbed.runs.control import ResumeOptions
from seedbed.runs.faults import Faults, lift_faults, write_faults
from seedbed.runs.kinds import KINDS
from seedbed.runs.log import Reader
from seedbed.runs.printed import last_printed
from seedbed.runs.status import current_status
from seedbed.runs.store import RunDir, Store
from seedbed.runs.superseded import begins_at, goes_back_to
from seedbed.runs.view import View
from seedbed.simulate import rehearsal
from seedbed.simulate.rehearsal import Injection, Measured, Shrunk

_POLL_S = 0.01
_ASK_AGAIN_S = 1.0
_PATIENCE_S = 600.0
"""The most seconds without a logged event in which an incident must be over. Even a busy machine needs less."""


class Interrupted(Exception):  # noqa: N818  # a request, not an error
    """The user asked to end the rehearsal."""


class NotRecoveredError(SeedbedError):
    """The run did not recover from an incident."""


class NotInjectedError(SeedbedError):
    """Training was over before a fault could take effect, so nothing is known about the recovery from it."""


class Outcome(msgspec.Struct):
    """What an incident has cost.

    `step`: the step at which it was injected; `went_back_to`: the step from which training continued.
    """

    fault: str
    step: int
    went_back_to: int
    lost_steps: int
    lost_s: float


class Watched:
    """A run that this process trains: its job, and what its log says."""

    def __init__(self, launch: launching.Launch, interrupted: Callable[[], bool], tell: Callable[[str], None]) -> None:
        self.run, self.launch = launch.run, launch
        self.view = View()
        self.ended: dict[int, float] = {}
        """When each current step was logged, in Unix seconds."""
        self.losses: dict[int, tuple[Any, ...]] = {}
        """Loss, learning rate and gradient norm of each current step."""
        self.saves: list[Checkpoint] = []
        self.begun = 0
        """The last session that began to train."""
        self.launched_at = time.time()
        self._reader = Reader(launch.run.events)
        self._interrupted, self._tell = interrupted, tell
        self._heard_s = time.monotonic()

    def refresh(self) -> None:
        """Read what was logged since the last call."""
        heard = False
        for record in self._reader.new():
            heard, event = True, record.event
            if isinstance(event, Step):
                self._void_after(goes_back_to(event.step, self.view.step))
                self.ended[event.step] = record.t
                self.losses[event.step] = (event.loss, event.lr, event.grad_norm)
            elif isinstance(event, Checkpoint):
                self.saves.append(event)
            elif isinstance(event, Run) and (begins := begins_at(event)) is not None:
                self.begun = event.session
                self._void_after(begins)
            self.view.add(record)
        if heard:
            self._heard_s = time.monotonic()
            self._tell(f"step {self.view.step} of {self.view.steps or '?'}")

    def _void_after(self, last: int | None) -> None:
        if last is not None:
            for step in [each for each in self.ended if each > last]:
                del self.ended[step], self.losses[step]

    def wait(self, condition: Callable[[], bool], *, end: bool = False) -> None:
        """Wait until the condition is true. Unless `end`, the job must not end before.

        Raises Interrupted, NotInjectedError if the run is completed before, and NotRecoveredError if its job ends otherwise.
        """
        self._heard_s = time.monotonic()
        while True:
            over = self.launch.process.poll() is not None
            self.refresh()
            if condition():
                return
            if self._interrupted():
                raise Interrupted
            if over and not end:
                _refuse_too_late(self, self.view.status == "completed")
                raise NotRecoveredError(f"The job ended at step {self.view.step}: {self.why_ended()}")
            if time.monotonic() - self._heard_s > _PATIENCE_S:
                raise NotRecoveredError(f"The job has logged nothing for {_PATIENCE_S:.0f} s.")
            time.sleep(_POLL_S)

    def why_ended(self) -> str:
        """Why the job ended, as a sentence."""
        if self.view.status == "failed" and self.view.reason:
            return self.view.reason
        code = self.launch.process.returncode
        return last_printed(self.run.log, lines=1) or f"exit status {code}."

    def signal(self, number: int) -> None:
        """Send a signal to the job."""
        self.launch.process.send_signal(number)

    def resume(self) -> None:
        """Resume the run, and wait until its job trains; training may begin at an earlier step."""
        session = self.view.session
        self.launch = resume(self.run, ResumeOptions())
        self.wait(lambda: self.begun > session)

    def close(self, leave: Callable[[], bool] = lambda: False) -> None:
        """Lift all faults, and ask the job to save and stop if it still runs; returns when it has ended, or `leave()`."""
        lift_faults(self.run)
        request = None
        if self.launch.process.poll() is None:
            self.signal(signal.SIGCONT)
            with suppress(SeedbedError):  # the job has not logged its start, or has just ended
                request = stop(self.run, "the rehearsal was stopped")
        while self.launch.process.poll() is None and not leave():
            if request is None:
                self.signal(signal.SIGTERM)
                time.sleep(_ASK_AGAIN_S)
            else:
                request.repeat()
                time.sleep(_POLL_S)
        self.refresh()


# The undisturbed run -------------------------------------------------------------------------------------------------


def start_undisturbed(store: Store, config: Resolved[Config], name: str, command: Sequence[str]) -> launching.Launch:
    """Start the run that nothing disturbs. Raises SeedbedError if PyTorch is not installed."""
    refuse_without_torch("no real run can be trained", "leave out --rehearse")
    return launching.start_new_run(store, KINDS["train"], config, name, command=command)


def start_disturbed(store: Store, config: Resolved[Config], name: str, command: Sequence[str]) -> launching.Launch:
    """Start the run that will be disturbed."""
    return launching.start_new_run(store, KINDS["rehearsal"], config, name, command=command)


def train_to_the_end(watched: Watched) -> None:
    """Wait until a run is completed. Raises SeedbedError if it ends otherwise."""
    watched.wait(lambda: watched.launch.process.poll() is not None, end=True)
    watched.refresh()
    if watched.view.status != "completed":
        hint = watched.view.hint or f"Its output is in {watched.run.log}."
        raise SeedbedError(f'The run "{watched.run.name()}" was not completed: {watched.why_ended()}', hint)


def measure(watched: Watched) -> Measured:
    """How long this machine needed for the parts of an undisturbed run. Raises SeedbedError for a run without checkpoints."""
    steps, prepared_s, prepares, ended_at = [], 0.0, False, 0.0
    for record in Reader(watched.run.events).new():
        event = record.event
        if isinstance(event, Step) and event.step > 1:
            steps.append(event.step_s)
        elif isinstance(event, Data) and event.stage.startswith("token"):
            prepares = True
        elif isinstance(event, Phase) and event.name == "prepare" and event.done and prepares:
            prepared_s = event.elapsed_s or 0.0  # a resume finds the text prepared
        ended_at = record.t
    if not steps or not watched.saves:
        raise SeedbedError(f'The run "{watched.run.name()}" logged no steps or checkpoints.', "Set more steps.")
    last = max(watched.ended)
    first_s = watched.ended[1] - watched.launched_at
    step_s = statistics.fmean(steps)
    return Measured(
        step_s=step_s,
        stall_s=statistics.median(save.stall_s for save in watched.saves),
        write_s=statistics.median(save.write_s for save in watched.saves),
        start_s=max(first_s - step_s - prepared_s, 0.1),
        end_s=max(ended_at - watched.ended[last], 0.0),
    )


# The disturbed run ---------------------------------------------------------------------------------------------------


def inject(watched: Watched, injection: Injection, shrunk: Shrunk, measured: Measured) -> Outcome:
    """Wait for the step of an injection, inject it, and wait until training goes on.

    Raises NotRecoveredError, Interrupted, and NotInjectedError if training was too fast.
    """
    watched.wait(lambda: watched.view.step >= injection.step)
    _refuse_too_late(watched, watched.view.step >= shrunk.steps - 1)
    if injection.fault == "slow-writes":
        return _slow_writes(watched, shrunk, measured)
    begun_at = watched.view.step
    _FAULTS[injection.fault](watched)
    watched.refresh()
    if watched.launch.process.poll() is None:
        lifted_at = time.time()  # what was logged in memory during the fault comes into the log after it, with its time
        watched.wait(lambda: watched.ended[watched.view.step] > lifted_at)
        return Outcome(injection.fault, begun_at, begun_at, 0, _longest_gap_s(watched, begun_at, measured))
    _refuse_too_late(watched, watched.view.status == "completed")
    step, at = watched.view.step, watched.ended[watched.view.step]
    newest = max((saved.step for saved in watched.view.checkpoints), default=0)
    watched.resume()
    _refuse_lost_checkpoint(watched, newest)
    back = watched.view.start_step
    watched.wait(lambda: watched.view.step > step)
    lost_s = watched.ended[step + 1] - at - measured.step_s
    return Outcome(injection.fault, step, back, step - back, max(lost_s, 0.0))


def _refuse_too_late(watched: Watched, is_over: bool) -> None:
    if is_over:
        raise NotInjectedError(
            f"Training had reached step {watched.view.step} before the fault could take effect, so it was not rehearsed.",
            "Set more steps (--rehearse-steps), or a larger model (--preset tiny), whose steps take longer.",
        )


def _longest_gap_s(watched: Watched, after: int, measured: Measured) -> float:
    """The longest time between the ends of two steps since step `after`, less that of a step."""
    gaps = [t - watched.ended[step - 1] for step, t in watched.ended.items() if step > after]
    return max(max(gaps) - measured.step_s, 0.0)


def _refuse_lost_checkpoint(watched: Watched, newest: int) -> None:
    """Raise NotRecoveredError if training went back further than to the newest checkpoint that was logged."""
    if watched.view.start_step < newest:
        raise NotRecoveredError(
            f"Training began again at step {watched.view.start_step}, although the checkpoint of step {newest} was saved.",
            f"See `seedbed logs {watched.run.id}`.",
        )


def _kill(watched: Watched) -> None:
    watched.signal(signal.SIGKILL)
    watched.launch.process.wait()


def _hang(watched: Watched) -> None:
    """Stop the process, so that it makes no progress, and kill it when the time-out is over."""
    watched.signal(signal.SIGSTOP)
    _pause(watched, rehearsal.HANG_S)
    _kill(watched)


def _stall(watched: Watched) -> None:
    """Stop the process for a time, and let it continue. If this is interrupted, Watched.close lets it continue."""
    watched.signal(signal.SIGSTOP)
    _pause(watched, rehearsal.STALL_S)
    watched.signal(signal.SIGCONT)


def _fill_disk(watched: Watched) -> None:
    """Let no file grow, wait until the run is paused for that reason, and a while longer."""
    write_faults(watched.run, Faults(os.getpid(), disk_full=True))
    try:
        watched.wait(lambda: _waits_for_storage(watched))
        _pause(watched, rehearsal.FULL_DISK_S)
    finally:
        lift_faults(watched.run)


def _waits_for_storage(watched: Watched) -> bool:
    """Whether the run is paused because it cannot write; it cannot log that, either."""
    current = current_status(watched.run)
    return current.status == "paused" and current.view.code == STORAGE


def _stop(watched: Watched) -> None:
    """Ask the run to save and stop, as before maintenance."""
    stop(watched.run, "maintenance (rehearsal)")
    watched.wait(lambda: watched.launch.process.poll() is not None, end=True)


_FAULTS: dict[str, Callable[[Watched], None]] = {
    "kill": _kill,
    "hang": _hang,
    "stall": _stall,
    "full-disk": _fill_disk,
    "stop": _stop,
}


def _slow_writes(watched: Watched, shrunk: Shrunk, measured: Measured) -> Outcome:
    """Let the next checkpoint take long to write. Costs the time for which the checkpoint after it had to wait."""
    watched.wait(lambda: _is_saved(watched, shrunk.every))  # one that is still being written would be delayed, too
    step = watched.view.step
    delayed = (step // shrunk.every + 1) * shrunk.every
    _refuse_too_late(watched, delayed + shrunk.every > shrunk.steps)
    write_faults(watched.run, Faults(os.getpid(), write_delay_s=rehearsal.slow_write_s(measured, shrunk.every)))
    try:
        watched.wait(lambda: any(save.step >= delayed for save in watched.saves) or watched.view.step >= shrunk.steps)
    finally:
        lift_faults(watched.run)
    watched.wait(lambda: any(save.step > delayed for save in watched.saves))
    waited_s = sum(save.stall_s for save in watched.saves if save.step in (delayed, delayed + shrunk.every))
    return Outcome("slow-writes", step, step, 0, max(waited_s - 2 * measured.stall_s, 0.0))


def _is_saved(watched: Watched, every: int) -> bool:
    """Whether every checkpoint that was due until now is complete."""
    due = watched.view.step // every * every
    return due == 0 or any(save.step >= due for save in watched.saves)


def _pause(watched: Watched, seconds: float) -> None:
    """Leave the job alone for a time; raises Interrupted."""
    end = time.monotonic() + seconds
    watched.wait(lambda: time.monotonic() >= end)


# The comparison ------------------------------------------------------------------------------------------------------


class Comparison(msgspec.Struct):
    """How the disturbed run ended, compared with the undisturbed one. `must_be_equal`: on a CPU in fp32."""

    steps_complete: bool
    """Whether the log has every step once, after the superseded ones are left out."""
    same_steps: bool
    """Whether loss, learning rate and gradient norm of every step are equal."""
    same_weights: bool
    """Whether the weights and the optimizer state of the last checkpoint are equal, bit for bit."""
    must_be_equal: bool


def compare(disturbed: Watched, undisturbed: Watched, steps: int) -> Comparison:
    """Compare the logs and the last checkpoints of the two runs."""
    fields = disturbed.view.run
    return Comparison(
        steps_complete=sorted(disturbed.ended) == list(range(1, steps + 1)),
        same_steps=disturbed.losses == undisturbed.losses,
        same_weights=_digests(disturbed.run) == _digests(undisturbed.run),
        must_be_equal=fields.get("device") == "cpu" and fields.get("precision") == "fp32",
    )


def _digests(run: RunDir) -> tuple[int, str, str]:
    """Step and checksums of the newest checkpoint. Raises SeedbedError if there is none."""
    good = find(run.checkpoints).good
    if not good:
        raise NotRecoveredError(f'"{run.id}" has no checkpoint.')
    marker = read_marker(good[-1])
    return marker.step, marker.files[marker.weights][1], marker.files[OPTIMIZER][1]
