"""Asking a job to stop, pause, go on or save, and what can be asked of a run as it stands."""

from __future__ import annotations

from seedbed.runs import requests
from seedbed.runs.checkpoints import checkpoints
from seedbed.runs.requests import Request
from seedbed.runs.status import Standing, standing
from seedbed.runs.statuses import BUSY, LIVE, OVER
from seedbed.runs.store import RunDir
from seedbed.runs.tasks import output_of


def stop(run: RunDir, reason: str = "asked to stop") -> Request:
    """Ask the run's job to stop and save: one that works, is paused, or waits for its turn. Raises SeedbedError else."""
    return requests.stop(run, reason)


def pause(run: RunDir) -> Request:
    """Ask the run's job to save and hold. Raises SeedbedError where it does not work, or holds already."""
    return requests.pause(run)


def go_on(run: RunDir) -> Request:
    """Let a paused run go on. Raises SeedbedError where it is not paused, or because its disk is full."""
    return requests.go_on(run)


def save_now(run: RunDir) -> Request:
    """Ask the run's job for a checkpoint. Raises SeedbedError where it does not work."""
    return requests.save_now(run)


def wait_until_ended(asked: Request) -> Standing:
    """Until the job that was asked to stop has ended and let go of its run."""
    return asked.wait(lambda _: False)


def is_running(run: RunDir) -> bool:
    """Whether a job works on the run."""
    return standing(run).status in BUSY


def is_live(run: RunDir) -> bool:
    """Whether a job works on the run, or waits for its turn."""
    return standing(run).status in LIVE


def is_held(run: RunDir) -> bool:
    """Whether the run is paused, or about to be."""
    return requests.is_held(run)


def has_checkpoint(run: RunDir) -> bool:
    """Whether the run has a finished checkpoint."""
    return bool(checkpoints(run, standing(run).view))


def has_steps(run: RunDir) -> bool:
    """Whether the run has logged a training step."""
    return standing(run).view.step > 0


def is_resumable(run: RunDir) -> bool:
    """Whether the run ended short of its horizon, with something to go on from: stopped, lost, or failed under way."""
    stands = standing(run)
    if stands.status == "failed" and output_of(run) is not None:
        return True
    if stands.status in ("stopped", "lost"):
        return run.config.is_file()
    return stands.status == "failed" and (stands.view.step > 0 or has_checkpoint(run))


def can_go_on(run: RunDir) -> bool:
    """Whether `resume` alone means something for the run: it is paused, or resumable."""
    return is_held(run) or is_resumable(run)


def is_extendable(run: RunDir) -> bool:
    """Whether steps can be added to the run: it is not running and has a checkpoint."""
    return standing(run).status in OVER and has_checkpoint(run)
