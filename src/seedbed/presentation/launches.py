"""Starting a job from the window, in a thread: the run, or what went wrong in words."""

from __future__ import annotations

from seedbed import actions
from seedbed.config.resolving import Resolved
from seedbed.config.schema import Config
from seedbed.errors import SeedbedError
from seedbed.runs.control import Resume, Turn
from seedbed.runs.store import RunDir, Store

Outcome = tuple[RunDir | None, str]
"""The run that was started, if there is one, and what went wrong, if anything did."""


def start(store: Store, wanted: Resolved[Config], name: str | None, turn: Turn) -> Outcome:
    """Make a run, start its job, wait for its first word."""
    run = None
    try:
        launch = actions.begin(store, wanted, name, turn, command=["seedbed", "tui"])
        run = launch.run
        actions.wait_until_begun(launch)
    except SeedbedError as error:
        return run, str(error)
    except OSError as error:
        return run, f"It could not be started: {error.strerror}."
    return run, ""


def resume(run: RunDir, asked: Resume, turn: Turn) -> Outcome:
    """Start a run's job again, wait for its first word."""
    try:
        actions.wait_until_begun(actions.resume(run, asked, turn=turn))
    except SeedbedError as error:
        return run, str(error)
    except OSError as error:
        return run, f"It could not be started: {error.strerror}."
    return run, ""
