"""One optimizer step: leaves, accumulation, clipping, update. Knows no horizon and emits nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from seedbed.errors import SeedbedError
from seedbed.train.learner import Batch, Learner


class Optimizer(Protocol):
    """What moves the masters; `scale` multiplies every learning rate."""

    def step(self, scale: float) -> None: ...
    def lr(self, scale: float) -> float: ...


class Leaf(NamedTuple):
    """A slice of a batch's rows, the unit of forward and backward."""

    inputs: Tensor
    targets: Tensor
    documents: Tensor | None


class StepResult(NamedTuple):
    """Mean loss per trained token and the gradient's norm before clipping (both on the device), and the trained tokens.

    `updated` is false where the gradient overflowed fp16 and the step was skipped.
    """

    loss: Tensor
    grad_norm: Tensor
    tokens: int
    updated: bool = True


def leaves(batch: Batch, rows: int) -> Iterator[Leaf]:
    """The batch in slices of `rows` sequences, in order; 0 takes it whole."""
    total = batch.inputs.shape[0]
    size = rows or total
    for start in range(0, total, size):
        end = min(start + size, total)
        documents = None if batch.documents is None else batch.documents[start:end]
        yield Leaf(batch.inputs[start:end], batch.targets[start:end], documents)


@torch.no_grad()
def clip_gradients(gradients: list[Tensor], limit: float) -> Tensor:
    """Scale the gradients in place so that their joint 2-norm is at most `limit` (0: no limit); returns the norm before.

    No wait for the device: the factor stays a tensor (Pascanu et al., 2013).
    """
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    # On a CPU the norm is known here and now, and a factor of 1 can be left out.
    if limit > 0 and (norm.device.type != "cpu" or not norm + 1e-6 <= limit):
        torch._foreach_mul_(gradients, torch.clamp(limit / (norm + 1e-6), max=1.0))
    return norm


def train_step(
    learner: Learner, batch: Batch, optimizer: Optimizer, scale: float, *, grad_clip: float, micro_batch: int
) -> StepResult:
    """Train on one global batch. The loss is the sum over trained tokens divided by their count in the whole batch, so that
    accumulation windows change nothing."""
    tokens = int((batch.targets >= 0).sum())
    if tokens == 0:
        raise SeedbedError(
            "A batch holds no token to train on: every target is masked.",
            "Look at the data with a smaller context or another source.",
        )
    loss: Tensor | None = None
    for leaf in leaves(batch, micro_batch):
        part = learner.accumulate(leaf, tokens)
        loss = part if loss is None else loss + part
    assert loss is not None
    norm = clip_gradients(learner.gradients(), grad_clip)
    updated = learner.finish_step(norm, lambda: optimizer.step(scale))
    return StepResult(loss, norm, tokens, updated)
