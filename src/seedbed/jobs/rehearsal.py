"""The job of a rehearsal: the job that trains from scratch, on a machine whose disk is full or slow when the rehearsal says so.

The training code does not know that it rehearses (see jobs/faults.py).
"""

from __future__ import annotations

from pathlib import Path

from seedbed.jobs import pretrain
from seedbed.jobs.faults import FaultInjector
from seedbed.runs.session import Session


def run(run_dir: Path, session: Session) -> str:
    """Train as `run_dir/config.toml` says, with the faults that the run's .faults asks for; returns the final status."""
    injector = FaultInjector(session.run)
    injector.start()
    try:
        return pretrain.run(run_dir, session)
    finally:
        injector.end()
