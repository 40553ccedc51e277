"""The file .faults, in which a rehearsal asks its job for faults: a full disk, or slow writes.

The rehearsal writes it, and the job of the rehearsal (jobs/faults.py) reads it. The jobs of all other runs ignore it.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import msgspec

from seedbed.files import write_atomic
from seedbed.runs.store import RunDir


class Faults(msgspec.Struct, frozen=True):
    """The faults of a job. `pid`: the process of the rehearsal; if it is not the job's parent, there are none."""

    pid: int = 0
    disk_full: bool = False
    """No file can grow."""
    write_delay_s: float = 0.0
    """By how many seconds the write of a checkpoint takes longer."""


def path_of(run: RunDir) -> Path:
    """The path of the file."""
    return run.path / ".faults"


def write_faults(run: RunDir, faults: Faults) -> None:
    """Ask the run's job for these faults from now on."""
    write_atomic(path_of(run), msgspec.json.encode(faults), durable=False)


def read_faults(run: RunDir) -> Faults:
    """The faults of the run's job; none if the file is missing or broken."""
    with suppress(OSError, msgspec.DecodeError):
        return msgspec.json.decode(path_of(run).read_bytes(), type=Faults)
    return Faults()


def lift_faults(run: RunDir) -> None:
    """Lift all faults of the run's job."""
    with suppress(OSError):
        path_of(run).unlink(missing_ok=True)
