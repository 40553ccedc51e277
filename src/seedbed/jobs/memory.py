"""Memory that ran out: whose it was, and what helps. Knows torch's errors by their names and words, and imports no torch."""

from __future__ import annotations

import errno

from seedbed.config.arithmetic import divisors
from seedbed.errors import SeedbedError
from seedbed.runs.kinds import frozen_config
from seedbed.runs.store import RunDir

_OF_THE_GPU = ("CUDA out of memory", "CUDA error: out of memory", "MPS backend out of memory", "_ALLOC_FAILED")
_OF_THE_MACHINE = ("DefaultCPUAllocator:", "bad_alloc", "Cannot allocate memory")


def exhausted(error: BaseException) -> str | None:
    """Which memory ran out where that is what an error means: `GPU memory` or `memory`. None for any other error."""
    said = str(error)
    if any(words in said for words in _OF_THE_GPU):
        return "GPU memory"
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return "memory"
    if isinstance(error, RuntimeError) and any(words in said for words in _OF_THE_MACHINE):
        return "memory"
    return "GPU memory" if type(error).__name__ == "OutOfMemoryError" else None


def advice(run: RunDir) -> str:
    """What to change so that a run's work fits. Its own config stays as it is, so the way is another run like it."""
    fewer = "N"
    try:
        train = frozen_config(run).train
        now = train.micro_batch or train.batch_size
        fewer = str(max((rows for rows in divisors(train.batch_size) if rows <= now // 2), default="N"))
    except (SeedbedError, AttributeError):
        pass
    if fewer == "N":
        return f"Use a smaller model or context: seedbed train --like {run.id} --set model.context=N"
    return (
        f"Work in smaller pieces, with equal results: seedbed train --like {run.id} --set train.micro_batch={fewer}. "
        "Or end what else uses the memory and resume this run."
    )
