"""The training loop: trains one step per batch, emits `step` events and calls hooks. It does no input or output."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from seedbed.errors import SeedbedError
from seedbed.events import Emit, Step
from seedbed.train.learner import Batch, StepResult

_ZERO_GRADIENT_STEPS = 10
"""The number of steps in a row with a gradient of exactly 0 after which training fails: the weights have grown too large."""


class NumericsError(SeedbedError):
    """The loss or gradient is NaN, infinite or stuck at 0. Nothing may be saved after this step."""


class Batches(Protocol):
    """The batches of a run, by 0-based step (a Protocol). The batch of a step is always the same."""

    def batch(self, step: int) -> Batch: ...


class Trainer(Protocol):
    """Trains step by step (a Protocol; see train/trainer.py)."""

    @property
    def tolerates_overflow(self) -> bool:
        """Whether a step whose gradient is not finite is skipped instead of ending the training."""
        ...

    def step(self, batch: Batch, scale: float) -> StepResult:
        """Train on one batch; `scale` multiplies every learning rate."""
        ...

    def lr(self, scale: float) -> float:
        """The learning rate if the schedule's multiplier is `scale`."""
        ...


@dataclass
class Progress:
    """The progress of training. Hooks (functions called after each step) read it and may set `stop`; checkpoints save it."""

    step: int = 0
    tokens: int = 0
    loss: float | None = None
    val_loss: float | None = None
    best_loss: float | None = None
    best_step: int | None = None
    patience_loss: float | None = None
    """The lowest validation loss since early stopping began to count."""
    evals_since_best: int = 0
    """The number of validations since the one with the loss `patience_loss`."""
    last_compared_step: int | None = None
    """The last step with a validation that can be compared with others; the final one, over the whole text, may be missing."""
    last_eval_step: int | None = None
    last_sample_step: int | None = None
    total: int = 0
    stop: str | None = None

    @property
    def last(self) -> bool:
        """Whether no further step will follow."""
        return self.step >= self.total or self.stop is not None


Hook = Callable[[Progress], None]


def fit(
    trainer: Trainer,
    batches: Batches,
    schedule: Callable[[int], float],
    steps: int,
    emit: Emit,
    hooks: Sequence[Hook] = (),
    start: Progress | None = None,
) -> Progress:
    """Train until the run has done `steps` steps, or a hook sets `stop`. A hook may change the number: `progress.total`.

    `schedule(step)` is the learning-rate multiplier of the step with the 0-based number `step`. Hooks are called after
    every step, in order. When training continues from `start`, they are also called before the first step, since a stop
    may have interrupted a validation. So each hook must check what it has already done at a step. Raises NumericsError
    if the loss is not finite or exactly 0, or the gradient is not finite or has been 0 for several steps.
    """
    progress = start or Progress()
    progress.total = steps
    progress.stop = None
    skipped = zero_gradient_steps = 0
    if progress.step > 0:
        for hook in hooks:
            hook(progress)
    while progress.step < progress.total and progress.stop is None:
        begun = time.perf_counter()
        scale = schedule(progress.step)
        result = trainer.step(batches.batch(progress.step), scale)
        loss, norm = result.loss, result.grad_norm
        skipped = 0 if result.updated else skipped + 1
        zero_gradient_steps = zero_gradient_steps + 1 if norm == 0.0 else 0
        progress.step += 1
        progress.tokens += result.tokens
        progress.loss = loss
        emit(
            Step(
                step=progress.step,
                loss=loss,
                lr=trainer.lr(scale),
                grad_norm=norm,
                tokens=progress.tokens,
                step_s=time.perf_counter() - begun,
                processed=result.processed if result.processed != result.tokens else None,
            )
        )
        tolerated = math.isfinite(norm) or trainer.tolerates_overflow
        if not math.isfinite(loss) or loss == 0.0 or not tolerated or zero_gradient_steps >= _ZERO_GRADIENT_STEPS:
            raise NumericsError(
                _describe_failure(loss, norm, progress.step, skipped),
                "Lower optimizer.lr, or train with --precision fp32.",
            )
        for hook in hooks:
            hook(progress)
    return progress


def _describe_failure(loss: float, norm: float, step: int, skipped: int) -> str:
    """A sentence that says why the loss or gradient makes training impossible."""
    if loss == 0.0:
        return f"The loss is exactly 0 at step {step}, so nothing is learned."
    if math.isfinite(loss) and norm == 0.0:
        return (
            f"The gradient has been exactly 0 for {_ZERO_GRADIENT_STEPS} steps at step {step} (loss {loss:.4g}): the weights "
            "have grown too large, and nothing is learned."
        )
    if math.isfinite(loss) and skipped:
        return (
            f"The gradient overflows fp16 at step {step}, even with the lowest loss scale: the last {skipped} steps were "
            "skipped."
        )
    if math.isfinite(loss):
        return f"The gradient norm is NaN or infinite ({norm}) at step {step}."
    return f"The loss is NaN or infinite ({loss}) at step {step}."
