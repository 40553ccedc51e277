"""A job that waits in the queue and then runs on the requested device, until its run's folder contains a file `finish`.

Run as `python waiting_job.py RUN_DIR [--queue] [--after RUN_DIR]`. It runs for at least WORK_S seconds; with a file `fail` it
then fails. STALE_S is the age at which a heartbeat is stale.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from seedbed.errors import SeedbedError
from seedbed.events import Run
from seedbed.jobs.__main__ import main
from seedbed.runs import status
from seedbed.runs.kinds import KINDS
from seedbed.runs.session import Session
from seedbed.runs.store import RunDir

status.STALE_S = float(os.environ.get("STALE_S", "20"))


def run(run_dir: Path, session: Session) -> str:
    device = RunDir(run_dir).meta()["device_asked"]
    session.emit(
        Run(status="running", session=session.number, steps=1, device="cuda:0" if device == "cuda" else device)
    )
    time.sleep(float(os.environ.get("WORK_S", "0")))
    while not (run_dir / "finish").exists():
        if session.stop_requested:
            return "stopped"
        if session.pause_requested:
            session.wait_paused("asked to pause")
        time.sleep(0.01)
    if (run_dir / "fail").exists():
        raise SeedbedError("It went wrong.", "Try again.")
    return "completed"


if __name__ == "__main__":
    sys.exit(main(kinds={"train": KINDS["train"]._replace(job="__main__:run")}))
