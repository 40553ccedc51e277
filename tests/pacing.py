"""Jobs that wait for a test: after each step in HOLD_AT a job waits until its run's folder contains a file `go`.

An evaluation waits when it has scored the share HOLD_SHARE of its text. A job also continues when it gets a request to stop
or pause. So a test can act in the middle of the work at any speed of the machine.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from seedbed.events import Data, Event, Step
from seedbed.runs.lifecycle import Lifecycle
from seedbed.runs.session import Session


def install() -> None:
    """Make the jobs of this process wait where HOLD_AT and HOLD_SHARE say."""
    if "HOLD_SHARE" in os.environ:
        _hold_evaluation(float(os.environ["HOLD_SHARE"]))
    named = os.environ.get("HOLD_AT")
    if named is None:
        return
    steps = {int(step) for step in named.split(",") if step}
    emit = Session.emit

    def emit_and_wait(session: Session, event: Event, t: float | None = None) -> None:
        emit(session, event, t)
        if isinstance(event, Step) and event.step in steps:
            _wait(session)

    Session.emit = emit_and_wait  # type: ignore[method-assign]


def _hold_evaluation(share: float) -> None:
    from seedbed.jobs import evaluate, model_losses

    evaluate.REPORT_EVERY_S = model_losses.SAVE_EVERY_S = 0.0
    emit = Lifecycle.emit

    def emit_and_wait(task: Lifecycle, event: Event, t: float | None = None) -> None:
        emit(task, event, t)
        if isinstance(event, Data) and event.whole and event.done >= share * event.total:
            _wait(task)

    Lifecycle.emit = emit_and_wait  # type: ignore[method-assign]


def _wait(job: Lifecycle) -> None:
    go = job.run.path / "go"
    while not (go.exists() or job.stop_requested or job.pause_requested):
        time.sleep(0.005)


def let_go(run: Path) -> None:
    """Let the job of a run continue."""
    (run / "go").touch()
