"""Sends requests to jobs (stop, pause, unpause, save), and checks which actions a run's status allows."""

from __future__ import annotations

from seedbed.runs import requests
from seedbed.runs.checkpoints import checkpoints
from seedbed.runs.requests import SentRequest
from seedbed.runs.status import CurrentStatus, current_status, has_simulated_steps
from seedbed.runs.statuses import BUSY, LIVE, OVER
from seedbed.runs.store import RunDir
from seedbed.runs.tasks import output_of


def stop(run: RunDir, reason: str = "asked to stop") -> SentRequest:
    """Ask the run's job to save and stop. Raises SeedbedError unless the run is running, paused or queued."""
    return requests.stop(run, reason)


def pause(run: RunDir) -> SentRequest:
    """Ask the run's job to save and pause. Raises SeedbedError unless the run is running."""
    return requests.pause(run)


def unpause(run: RunDir) -> SentRequest:
    """Ask the job of a paused run to continue. Raises SeedbedError unless it was paused on request."""
    return requests.unpause(run)


def save_now(run: RunDir) -> SentRequest:
    """Ask the run's job to save a checkpoint. Raises SeedbedError unless the run is running."""
    return requests.save_now(run)


def wait_until_ended(request: SentRequest) -> CurrentStatus:
    """Wait until the job that got the stop request has exited and released the run's lock."""
    return request.wait(lambda _: False)


def is_running(run: RunDir) -> bool:
    """Whether a job is working on the run."""
    return current_status(run).status in BUSY


def can_save(run: RunDir) -> bool:
    """Whether a job is working on the run and can save a checkpoint: a simulated run has no weights."""
    current = current_status(run)
    return current.status in BUSY and not has_simulated_steps(run, current.view)


def is_live(run: RunDir) -> bool:
    """Whether a job is working on the run or waits in the queue."""
    return current_status(run).status in LIVE


def is_paused(run: RunDir) -> bool:
    """Whether the run is paused or about to pause."""
    return requests.is_paused(run)


def has_checkpoint(run: RunDir) -> bool:
    """Whether the run has a finished checkpoint."""
    return bool(checkpoints(run, current_status(run).view))


def has_steps(run: RunDir) -> bool:
    """Whether the run has logged a training step."""
    return current_status(run).view.step > 0


def is_resumable(run: RunDir) -> bool:
    """Whether the run ended before its last planned step and can be resumed: stopped, lost, or failed after its first step."""
    current = current_status(run)
    if current.status == "failed" and output_of(run) is not None:
        return True
    if current.status in ("stopped", "lost"):
        return run.config.is_file()
    return current.status == "failed" and (current.view.step > 0 or has_checkpoint(run))


def can_resume(run: RunDir) -> bool:
    """Whether `seedbed resume` without options works for the run: it is paused or resumable."""
    return is_paused(run) or is_resumable(run)


def is_extendable(run: RunDir) -> bool:
    """Whether steps can be added to the run: it is not running and has a checkpoint."""
    return current_status(run).status in OVER and has_checkpoint(run)
