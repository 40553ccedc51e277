"""The job of a rehearsal: the job that trains from scratch, on a machine whose disk is full or slow when the rehearsal says so.

The training code does not know that it rehearses (see jobs/faults.py).
"""

from __future__ import annotations

from pathlib import Path

from seedbed.jobs import pretrain
from seedbed.jobs.faults import Suffering
from seedbed.runs.session import Session


def run(run_dir: Path, session: Session) -> str:
    """Train as `run_dir/config.toml` says, and suffer what the run's .faults says; returns the final status."""
    suffering = Suffering(session.run)
    suffering.start()
    try:
        return pretrain.run(run_dir, session)
    finally:
        suffering.end()
