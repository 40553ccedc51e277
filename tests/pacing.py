"""Jobs that wait for a test: HOLD_AT names steps after which a job does nothing until a file `go` lies in its run's folder.

It also goes on when it is asked to stop or pause. So a test can act in the middle of a run, however fast or slow both are.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from seedbed.events import Event, Step
from seedbed.runs.session import Session


def install() -> None:
    """Make the jobs of this process wait where HOLD_AT says."""
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
    """Let the job of a run go on."""
    (run / "go").touch()
