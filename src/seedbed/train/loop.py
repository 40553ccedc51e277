"""The loop: batches in, steps out, hooks in between. It never prints, opens a file, or asks who watches."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from seedbed.errors import SeedbedError
from seedbed.events import Emit, Step
from seedbed.train.learner import Batch, StepResult

_DEAD_STEPS = 10
"""Steps in a row whose gradient is exactly 0: a network that learns has none, one whose weights exploded has only such."""


class NumericsError(SeedbedError):
    """The numbers broke, or the network is dead: nothing after this step may be saved."""


class Batches(Protocol):
    """Random access to batches: a pure function of the step."""

    def batch(self, step: int) -> Batch: ...


class Trainer(Protocol):
    """What takes the steps (train/trainer.py)."""

    @property
    def tolerates_overflow(self) -> bool:
        """Whether a gradient that is not finite only costs its step."""
        ...

    def step(self, batch: Batch, scale: float) -> StepResult:
        """Train on one batch, every learning rate times `scale`."""
        ...

    def lr(self, scale: float) -> float:
        """The learning rate at a multiplier."""
        ...


@dataclass
class Progress:
    """Where training stands. Hooks read it and may set `stop`; a checkpoint keeps it."""

    step: int = 0
    tokens: int = 0
    loss: float | None = None
    val_loss: float | None = None
    best_loss: float | None = None
    best_step: int | None = None
    patience_loss: float | None = None
    """The lowest validation loss since early stopping began to count."""
    evals_since_best: int = 0
    """Validations since that one."""
    last_compared_step: int | None = None
    """The last step whose validation was compared with others; the one over all of the text may still be to do."""
    last_eval_step: int | None = None
    last_sample_step: int | None = None
    total: int = 0
    stop: str | None = None

    @property
    def last(self) -> bool:
        """Whether no step will follow."""
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
    """Train until `steps` steps are done since the run's beginning, or a hook sets `stop`. The only loop here.

    `schedule(step)` is the learning-rate multiplier of 0-based `step`. Hooks run after every step in the order given. Where
    training goes on from a step they run before the next one, too: a stop may have left its validation undone. So a hook
    must know what it has done at a step. Raises NumericsError when the loss is not finite or exactly 0, or the gradient
    is not finite or has been 0 for some steps.
    """
    progress = start or Progress()
    progress.total = steps
    progress.stop = None
    skipped = dead = 0
    if progress.step > 0:
        for hook in hooks:
            hook(progress)
    while progress.step < steps and progress.stop is None:
        begun = time.perf_counter()
        scale = schedule(progress.step)
        result = trainer.step(batches.batch(progress.step), scale)
        loss, norm = result.loss, result.grad_norm
        skipped = 0 if result.updated else skipped + 1
        dead = dead + 1 if norm == 0.0 else 0
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
        if not math.isfinite(loss) or loss == 0.0 or not tolerated or dead >= _DEAD_STEPS:
            raise NumericsError(
                _numerics(loss, norm, progress.step, skipped), "Lower optimizer.lr, or train with --precision fp32."
            )
        for hook in hooks:
            hook(progress)
    return progress


def _numerics(loss: float, norm: float, step: int, skipped: int) -> str:
    """What broke at a step, in a sentence."""
    if loss == 0.0:
        return f"The loss is exactly 0 at step {step}: nothing is being trained, or the numbers broke."
    if math.isfinite(loss) and norm == 0.0:
        return (
            f"The gradient has been exactly 0 for {_DEAD_STEPS} steps at step {step}, with a loss of {loss:.4g}: the weights "
            "have grown until nothing moves them any more, and nothing is learned."
        )
    if math.isfinite(loss) and skipped:
        return (
            f"The gradient overflows fp16 at step {step}, even with the lowest loss scale: the last {skipped} steps were "
            "skipped and trained nothing."
        )
    if math.isfinite(loss):
        return f"The gradient's norm is {norm} at step {step}: the numbers broke."
    return f"The loss is {loss} at step {step}: the numbers broke."
