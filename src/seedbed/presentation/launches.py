"""Starts or resumes a job for a front end, waits until the job has begun, and returns errors as text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from seedbed import actions
from seedbed.config.resolving import Resolved
from seedbed.config.schema import Config
from seedbed.errors import SeedbedError
from seedbed.runs.control import ResumeOptions, StartCondition
from seedbed.runs.kinds import KINDS
from seedbed.runs.store import RunDir, Store


class LaunchOutcome(NamedTuple):
    """The run whose job was started, or None if none was created; and what went wrong, or "" if the job has begun."""

    run: RunDir | None
    problem: str


def start(
    store: Store, resolved: Resolved[Config], name: str | None, turn: StartCondition, command: Sequence[str]
) -> LaunchOutcome:
    """Create a run and start its job; return once the job has begun. `turn` says what the job must wait for."""
    return _begun(lambda: actions.start_new_run(store, KINDS["train"], resolved, name, turn, command))


def resume(run: RunDir, request: ResumeOptions, turn: StartCondition) -> LaunchOutcome:
    """Start the job of an existing run again; return once the job has begun. `turn` says what it must wait for."""
    return _begun(lambda: actions.resume(run, request, turn=turn), run)


def _begun(launch: Callable[[], actions.Launch], run: RunDir | None = None) -> LaunchOutcome:
    try:
        launched = launch()
        run = launched.run
        actions.wait_until_started(launched)
    except SeedbedError as error:
        return LaunchOutcome(run, str(error))
    except OSError as error:
        return LaunchOutcome(run, f"The job could not be started: {error.strerror}.")
    return LaunchOutcome(run, "")
