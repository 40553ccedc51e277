"""fp32 masters of what is trained and, below fp32, the parameters that compute in their place. Knows no network.

Autocast would cast every weight again in every step: a measured third of the time on a CPU. So what computes has its own
lower-precision parameters, whose gradients are added up in fp32 on the masters. Only what is trained has a master: a
frozen base, in any precision, lies in memory once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_LOWEST_SCALE = 1.0
_MOST_OVERFLOWS = 10
"""Steps in a row that may overflow at the lowest loss scale: a rare batch may, and only a broken run does so often."""


class Masters:
    """Trained parameters in fp32, paired by position with those that compute; the same tensors where fp32 computes.

    fp16, for GPUs without bf16, has a dynamic loss scale (Micikevicius et al., 2018).
    """

    def __init__(self, masters: Sequence[Tensor], computing: Sequence[Tensor], *, precision: str) -> None:
        self.masters, self.computing = list(masters), list(computing)
        self.precision = precision
        self.loss_scale = 2.0**14 if precision == "fp16" else 1.0
        self._clean_steps = 0
        self._futile_overflows = 0
        self.split = any(m is not c for m, c in zip(self.masters, self.computing, strict=True))
        """Whether other parameters compute in place of the masters."""

    @classmethod
    def of(cls, computing: Sequence[Tensor], *, precision: str) -> Masters:
        """Masters for parameters that compute: fp32 copies of them, or they themselves where they are fp32."""
        masters = [
            p if p.dtype == torch.float32 else p.detach().float().clone().requires_grad_(p.requires_grad)
            for p in computing
        ]
        return cls(masters, computing, precision=precision)

    @property
    def tolerates_overflow(self) -> bool:
        """Whether a gradient that is not finite only costs its step: lowering the loss scale may help."""
        return self.precision == "fp16" and self._futile_overflows < _MOST_OVERFLOWS

    @torch.no_grad()
    def collect(self) -> None:
        """Add the computing parameters' gradients to the masters' in fp32 and let them go."""
        pairs = [(m, c) for m, c in zip(self.masters, self.computing, strict=True) if c.grad is not None]
        fresh = [(m, c) for m, c in pairs if m.grad is None]
        for master, _ in fresh:
            master.grad = torch.empty_like(master)
        if fresh:
            torch._foreach_copy_([m.grad for m, _ in fresh], [c.grad for _, c in fresh])  # type: ignore[misc]
        started = {id(m) for m, _ in fresh}
        for master, computing in pairs:
            if id(master) not in started:
                assert master.grad is not None
                assert computing.grad is not None
                master.grad.add_(computing.grad)
        for computing in self.computing:
            computing.grad = None

    def gradients(self) -> list[Tensor]:
        """The fp32 gradients of the masters, the loss scale taken out."""
        gradients = [p.grad for p in self.masters if p.grad is not None]
        if self.loss_scale != 1.0:
            torch._foreach_div_(gradients, self.loss_scale)
        return gradients

    @torch.no_grad()
    def finish_step(self, norm: Tensor, update: Callable[[], None]) -> bool:
        """Run `update`, unless the gradient's norm says that fp16 overflowed; then renew, and drop gradients."""
        updated = True
        if self.precision == "fp16":
            updated = bool(torch.isfinite(norm))
            self._clean_steps = self._clean_steps + 1 if updated else 0
            futile = not updated and self.loss_scale <= _LOWEST_SCALE
            self._futile_overflows = self._futile_overflows + 1 if futile else 0
            if not updated:
                self.loss_scale = max(self.loss_scale / 2, _LOWEST_SCALE)
            elif self._clean_steps % 1000 == 0:
                self.loss_scale = min(self.loss_scale * 2, 2.0**24)
        if updated:
            update()
        self.renew()
        for master in self.masters:
            master.grad = None
        return updated

    @torch.no_grad()
    def renew(self) -> None:
        """Make what computes equal to the masters again."""
        if self.split:
            torch._foreach_copy_(self.computing, self.masters)

    def discard(self) -> None:
        """Drop gradients, as after a trial batch."""
        for parameter in (*self.masters, *self.computing):
            parameter.grad = None

    def state(self) -> dict[str, Any]:
        """The loss scale, which a resume goes on with."""
        return {"loss_scale": self.loss_scale, "clean_steps": self._clean_steps}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Put back what `state` gave, and renew what computes from masters that a load has changed."""
        self.loss_scale = float(state.get("loss_scale", self.loss_scale))
        self._clean_steps = int(state.get("clean_steps", 0))
        self.renew()
