"""Recognises out-of-memory errors and says what to change. Matches torch's error texts, so it does not import torch."""

from __future__ import annotations

import errno
from contextlib import suppress

from seedbed.config.arithmetic import divisors
from seedbed.errors import SeedbedError
from seedbed.runs.kinds import command_like, frozen_config
from seedbed.runs.store import RunDir

_OF_THE_GPU = ("CUDA out of memory", "CUDA error: out of memory", "MPS backend out of memory", "_ALLOC_FAILED")
_OF_THE_MACHINE = ("DefaultCPUAllocator:", "bad_alloc", "Cannot allocate memory")


def exhausted(error: BaseException) -> str | None:
    """Which memory is full according to an error: `GPU memory` or `memory`. None for any other error."""
    message = str(error)
    if any(words in message for words in _OF_THE_GPU):
        return "GPU memory"
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return "memory"
    if isinstance(error, RuntimeError) and any(words in message for words in _OF_THE_MACHINE):
        return "memory"
    return "GPU memory" if type(error).__name__ == "OutOfMemoryError" else None


def advice(run: RunDir) -> str:
    """A hint on how to use less memory than this run. Its config cannot change, so the hint suggests a new run like it."""
    fewer, context = "N", "model.context"
    with suppress(SeedbedError):
        config = frozen_config(run)
        train = getattr(config, "train", None)
        if hasattr(config, "evaluate"):
            context = "evaluate.context"
        if train is not None:
            now = train.micro_batch or train.batch_size
            fewer = str(max((rows for rows in divisors(train.batch_size) if rows <= now // 2), default="N"))
    if fewer == "N":
        return f"Use a smaller model or context: {command_like(run)} --set {context}=N"
    return (
        f"Use smaller micro-batches; results stay the same: {command_like(run)} --set train.micro_batch={fewer}. "
        "Or close other programs that use the memory, and resume this run."
    )
