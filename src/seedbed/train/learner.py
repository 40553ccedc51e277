"""What the loop trains: a network with fp32 masters and, below fp32, a working copy that computes. Knows no data, no schedule."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from seedbed.model.decoder import Decoder

_LOWEST_SCALE = 1.0
_MOST_OVERFLOWS = 10
"""Steps in a row that may overflow at the lowest loss scale: a rare batch may, and only a broken run does so often."""


class Batch(Protocol):
    """A batch of token windows; `inputs` and `targets` are int64 [B, T], targets of -100 are not trained."""

    @property
    def inputs(self) -> Tensor: ...
    @property
    def targets(self) -> Tensor: ...
    @property
    def documents(self) -> Tensor | None: ...


class Learner(Protocol):
    """The seam between the loop and whatever learns."""

    device: torch.device

    @property
    def tolerates_overflow(self) -> bool:
        """Whether a gradient that is not finite only costs its step (fp16 while lowering the loss scale may help)."""
        ...

    def accumulate(self, batch: Batch, divisor: int) -> Tensor:
        """Forward and backward of one micro-batch; returns its loss sum / divisor, gradients added to the masters'."""
        ...

    def gradients(self) -> list[Tensor]:
        """The fp32 gradients of the masters."""
        ...

    def finish_step(self, norm: Tensor, update: Callable[[], None]) -> bool:
        """Run `update` (unless the gradients overflowed), renew the working copy, clear gradients; whether it updated."""
        ...

    def loss_sum(self, batch: Batch) -> Tensor:
        """The loss sum without gradients, for evaluation."""
        ...


class DecoderLearner:
    """Our decoder as a learner.

    fp32 computes on the masters. bf16 computes on a bf16 copy of every weight, whose gradients are added up in fp32 on the
    masters (autocast would cast every weight again in every step: a measured third of the time on CPU). fp16, for GPUs
    without bf16, computes on an fp16 copy with a dynamic loss scale (Micikevicius et al., 2018).
    """

    def __init__(self, model: Decoder, *, precision: str, device: torch.device) -> None:
        self.device = device
        self.precision = precision
        self.model: Decoder = model.to(device)
        dtype = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
        self.working: Decoder = self.model if dtype is None else _lowered(self.model, dtype)
        self.masters: list[Tensor] = [p for p in self.model.parameters() if p.requires_grad]
        self.copies: list[Tensor] = [p for p in self.working.parameters() if p.requires_grad]
        self._loss: Callable[..., Tensor] = self.working.loss
        self.compiled = False
        self.loss_scale = 2.0**14 if precision == "fp16" else 1.0
        self.clean_steps = 0
        self._futile_overflows = 0

    @property
    def split(self) -> bool:
        """Whether a working copy computes in place of the masters."""
        return self.working is not self.model

    @property
    def tolerates_overflow(self) -> bool:
        return self.precision == "fp16" and self._futile_overflows < _MOST_OVERFLOWS

    def compile(self) -> None:
        """Compile forward and backward; undone by `eager`."""
        self._loss = torch.compile(self.working.loss, dynamic=False)
        self.compiled = True

    def eager(self) -> None:
        """Go back to eager computation."""
        self._loss = self.working.loss
        self.compiled = False

    def accumulate(self, batch: Batch, divisor: int) -> Tensor:
        documents = None if batch.documents is None else batch.documents.to(self.device, non_blocking=True)
        arguments = (
            batch.inputs.to(self.device, non_blocking=True),
            batch.targets.to(self.device, non_blocking=True),
            documents,
        )
        if self.precision == "fp16":
            # A tensor, since a compiled loss would be compiled again for every other number.
            grad_scale = torch.full((), self.loss_scale / divisor, dtype=torch.float32, device=self.device)
            loss: Tensor = self._loss(*arguments, grad_scale) / divisor
        else:
            loss = self._loss(*arguments) / divisor
        (loss * self.loss_scale if self.loss_scale != 1.0 else loss).backward()
        if self.split:
            self._collect()
        return loss.detach()

    @torch.no_grad()
    def _collect(self) -> None:
        """Add the working copy's gradients to the masters' in fp32 and let them go."""
        fresh = [
            (m, c) for m, c in zip(self.masters, self.copies, strict=True) if m.grad is None and c.grad is not None
        ]
        for master, _ in fresh:
            master.grad = torch.empty_like(master)
        if fresh:
            torch._foreach_copy_([m.grad for m, _ in fresh], [c.grad for _, c in fresh])  # type: ignore[misc]
            started = {id(m) for m, _ in fresh}
        else:
            started = set()
        rest = [
            (m, c)
            for m, c in zip(self.masters, self.copies, strict=True)
            if c.grad is not None and id(m) not in started
        ]
        for master, held in rest:
            assert master.grad is not None
            assert held.grad is not None
            master.grad.add_(held.grad)
        for held in self.copies:
            held.grad = None

    def gradients(self) -> list[Tensor]:
        grads = [p.grad for p in self.masters if p.grad is not None]
        if self.loss_scale != 1.0:
            torch._foreach_div_(grads, self.loss_scale)
        return grads

    @torch.no_grad()
    def finish_step(self, norm: Tensor, update: Callable[[], None]) -> bool:
        updated = True
        if self.precision == "fp16":
            updated = bool(torch.isfinite(norm))
            self.clean_steps = self.clean_steps + 1 if updated else 0
            futile = not updated and self.loss_scale <= _LOWEST_SCALE
            self._futile_overflows = self._futile_overflows + 1 if futile else 0
            if not updated:
                self.loss_scale = max(self.loss_scale / 2, _LOWEST_SCALE)
            elif self.clean_steps % 1000 == 0:
                self.loss_scale = min(self.loss_scale * 2, 2.0**24)
        if updated:
            update()
        self.renew()
        for master in self.masters:
            master.grad = None
        return updated

    @torch.no_grad()
    def renew(self) -> None:
        """Make the working copy equal to the masters again."""
        if self.split:
            torch._foreach_copy_(self.copies, self.masters)

    def discard(self) -> None:
        """Drop gradients of a trial batch."""
        for parameter in (*self.masters, *self.copies):
            parameter.grad = None

    def state(self) -> dict[str, float | int]:
        """The loss scale, which a resume goes on with."""
        return {"loss_scale": self.loss_scale, "clean_steps": self.clean_steps}

    def load_state(self, state: dict[str, float | int]) -> None:
        """Put back what `state` gave, and renew the working copy from masters that a load has changed."""
        self.loss_scale = float(state.get("loss_scale", self.loss_scale))
        self.clean_steps = int(state.get("clean_steps", 0))
        self.renew()

    @torch.no_grad()
    def loss_sum(self, batch: Batch) -> Tensor:
        documents = None if batch.documents is None else batch.documents.to(self.device)
        return self.working.loss(batch.inputs.to(self.device), batch.targets.to(self.device), documents)


def _lowered(model: Decoder, dtype: torch.dtype) -> Decoder:
    """A copy of `model` whose floating-point parameters have `dtype`."""
    return copy.deepcopy(model).to(dtype)
