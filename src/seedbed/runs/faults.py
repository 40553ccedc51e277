"""The file .faults, in which a rehearsal says what its job must suffer now: a disk that is full, or slow writes.

The rehearsal writes it, and the job of the rehearsal (jobs/faults.py) reads it. The jobs of all other runs ignore it.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import msgspec

from seedbed.files import write_atomic
from seedbed.runs.store import RunDir


class Faults(msgspec.Struct, frozen=True):
    """What a job suffers. `pid`: the process of the rehearsal; if it is not the job's parent, the job suffers nothing."""

    pid: int = 0
    disk_full: bool = False
    """No file can grow."""
    write_delay_s: float = 0.0
    """By how many seconds the write of a checkpoint takes longer."""


def path_of(run: RunDir) -> Path:
    """The path of the file."""
    return run.path / ".faults"


def write_faults(run: RunDir, faults: Faults) -> None:
    """Say what the run's job must suffer from now on."""
    write_atomic(path_of(run), msgspec.json.encode(faults), durable=False)


def read_faults(run: RunDir) -> Faults:
    """What the run's job must suffer now; nothing if the file is missing or broken."""
    with suppress(OSError, msgspec.DecodeError):
        return msgspec.json.decode(path_of(run).read_bytes(), type=Faults)
    return Faults()


def lift_faults(run: RunDir) -> None:
    """Let the run's job suffer nothing from now on."""
    with suppress(OSError):
        path_of(run).unlink(missing_ok=True)
