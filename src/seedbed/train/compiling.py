"""Decides, before the first step, whether to use torch.compile: times a trial batch, and compares losses."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable
from typing import NamedTuple

import torch

from seedbed.config.time_budget import COMPILE_PAYS_FROM_S
from seedbed.errors import SeedbedError
from seedbed.events import Emit, Message
from seedbed.train.hooks import phase
from seedbed.train.learner import Batch, Learner

LONG_S = 5.0
"""A trial of this many seconds is not repeated: what only the first pass of a process does takes less than a second of it."""
TOLERANCE = {"fp32": 1e-3, "bf16": 1e-2, "fp16": 1e-2}


class Trial(NamedTuple):
    """The result of a trial: the mean loss of the largest micro-batch, and the estimated seconds of a whole step.

    A step runs all micro-batches of a batch. `took_s`: the seconds of the pass.
    """

    loss: float
    step_s: float
    took_s: float


def _nothing() -> None:
    """The default for `check_requests`: does nothing."""


def trial(
    learner: Learner,
    batch: Batch,
    micro_batch: int,
    *,
    repeats: int = 1,
    check_requests: Callable[[], None] = _nothing,
) -> Trial:
    """Time the largest micro-batch of `batch`: run it forward and backward `repeats` times, and keep the shortest time.

    The gradients are cleared. `check_requests` is called before each pass. If it raises an exception, the trial stops.
    """
    leaves = list(batch.leaves(micro_batch))
    leaf = max(leaves, key=lambda each: each.processed)
    tokens = max(leaf.trained, 1)
    loss, elapsed = 0.0, math.inf
    for _ in range(repeats):
        check_requests()
        begun = time.perf_counter()
        loss = float(learner.accumulate(leaf, tokens))
        learner.discard()
        elapsed = min(elapsed, time.perf_counter() - begun)
    return Trial(loss, elapsed * len(leaves), elapsed)


def has_compiler(device: torch.device) -> bool:
    """Whether torch.compile can work: it needs a C++ compiler for the CPU, Triton for CUDA."""
    if device.type == "cuda":
        from torch.utils._triton import has_triton

        return bool(has_triton())
    return any(shutil.which(name) for name in ("g++", "clang++", "c++"))


def decide_compile(
    learner: Learner,
    batch: Batch,
    *,
    asked: str,
    steps: int,
    micro_batch: int,
    emit: Emit,
    check_requests: Callable[[], None] = _nothing,
) -> tuple[bool, Trial]:
    """Compile the learner if `asked` is on, or if it is auto and the run is long enough.

    Returns whether the learner is compiled, and the result of the trial (a timed forward and backward pass) without
    compilation. The first compiled loss is compared with the loss of that trial. `check_requests` is called between
    trials; if it raises an exception, this function stops. Requests are not checked while torch compiles, so that time
    is a `phase` of its own. Raises SeedbedError if compiling fails and `asked` is on.
    """
    eager = trial(learner, batch, micro_batch, check_requests=check_requests)
    if asked == "off" or learner.device.type == "mps":
        return False, eager
    if asked == "auto":
        if eager.step_s * steps > COMPILE_PAYS_FROM_S and eager.took_s <= LONG_S:
            eager = trial(learner, batch, micro_batch, repeats=3, check_requests=check_requests)
        if eager.step_s * steps <= COMPILE_PAYS_FROM_S:
            return False, eager
        if not has_compiler(learner.device):
            needed, install = (
                ("Triton", "triton") if learner.device.type == "cuda" else ("a C++ compiler", "g++ or clang")
            )
            emit(
                Message(
                    level="info",
                    code="no-compiler",
                    text=f"Training runs without torch.compile, which needs {needed}.",
                    why="torch.compile would make this run faster.",
                    hint=f"Install {install}, or set train.compile = 'off' to silence this.",
                )
            )
            return False, eager
    if learner.device.type == "cpu":
        # By default, compiled CPU kernels accumulate embedding gradients with parallel atomics, in no fixed order.
        torch.use_deterministic_algorithms(True)
        # Do not fill uninitialized tensors, as deterministic algorithms do by default: it costs a pass over each tensor.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    check_requests()
    try:
        with phase(emit, "compile"):
            learner.compile()
            compiled = trial(learner, batch, micro_batch)
    except (RuntimeError, ImportError, OSError) as error:
        return _fall_back_to_eager(
            learner, asked, f"torch.compile failed: {str(error).strip().splitlines()[0][:200]}", emit
        ), eager
    check_requests()
    if abs(compiled.loss - eager.loss) > TOLERANCE[learner.precision] * max(abs(eager.loss), 1.0):
        wrong = (
            f"The loss with torch.compile ({compiled.loss:.5f}) differs from the loss without it ({eager.loss:.5f})."
        )
        return _fall_back_to_eager(learner, asked, wrong, emit), eager
    return True, eager


def _fall_back_to_eager(learner: Learner, asked: str, reason: str, emit: Emit) -> bool:
    learner.eager()
    learner.discard()
    torch.use_deterministic_algorithms(False)
    if asked == "on":
        raise SeedbedError(reason, "Set train.compile = 'off' to train without it.")
    emit(
        Message(
            level="warning",
            code="compile",
            text=reason,
            why="Training continues without torch.compile.",
            hint="Set train.compile = 'off'.",
        )
    )
    return False
