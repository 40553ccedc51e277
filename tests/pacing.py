"""Jobs that wait for a test: after each step in HOLD_AT a job waits until its run's folder contains a file `go`.

It also continues when it gets a request to stop or pause. So a test can act in the middle of a run at any speed of the machine.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from seedbed.events import Event, Step
from seedbed.runs.session import Session


def install() -> None:
    """Make the jobs of this process wait after the steps in HOLD_AT."""
    named = os.environ.get("HOLD_AT")
    if named is None:
        return
    steps = {int(step) for step in named.split(",") if step}
    emit = Session.emit

    def emit_and_wait(session: Session, event: Event, t: float | None = None) -> None:
        emit(session, event, t)
        if isinstance(event, Step) and event.step in steps:
            go = session.run.path / "go"
            while not (go.exists() or session.stop_requested or session.pause_requested):
                time.sleep(0.005)

    Session.emit = emit_and_wait  # type: ignore[method-assign]


def let_go(run: Path) -> None:
    """Let the job of a run continue."""
    (run / "go").touch()
