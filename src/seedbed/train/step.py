"""Trains one step: accumulates the gradients of a batch, clips them, and runs the optimizer."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from seedbed.errors import SeedbedError
from seedbed.train.learner import Batch, Learner, StepResult


class Optimizer(Protocol):
    """The optimizer of a training step (a Protocol): updates the fp32 masters. `scale` multiplies every learning rate."""

    def step(self, scale: float) -> None: ...
    def lr(self, scale: float) -> float: ...


@torch.no_grad()
def clip_gradients(gradients: list[Tensor], limit: float) -> Tensor:
    """Scale the gradients in place so that their joint 2-norm is at most `limit` (0: no limit); returns the norm before that.

    The factor stays a tensor, so that the host does not wait for the device (Pascanu et al., 2013).
    """
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    # On a CPU the norm is available immediately, so a factor of 1 can be skipped.
    if limit > 0 and (norm.device.type != "cpu" or not norm + 1e-6 <= limit):
        torch._foreach_mul_(gradients, torch.clamp(limit / (norm + 1e-6), max=1.0))
    return norm


def train_step(
    learner: Learner, batch: Batch, optimizer: Optimizer, scale: float, *, grad_clip: float, micro_batch: int
) -> StepResult:
    """Train on one batch, in micro-batches of `micro_batch` sequences (0: all at once).

    The loss sum is divided by the trained tokens of the whole batch, so that the result does not depend on
    `micro_batch`.
    """
    tokens = batch.trained
    if tokens == 0:
        raise SeedbedError(
            "A batch has no token to train on: every target is masked.",
            "Use a smaller model.context or another source.",
        )
    loss: Tensor | None = None
    for leaf in batch.leaves(micro_batch):
        part = learner.accumulate(leaf, tokens)
        loss = part if loss is None else loss + part
    assert loss is not None
    norm = clip_gradients(learner.gradients(), grad_clip)
    updated = learner.finish_step(norm, lambda: optimizer.step(scale))
    return StepResult(float(loss), float(norm), tokens, batch.processed, updated)
