"""fp32 master parameters and, below fp32, the lower-precision working parameters that compute forward and backward.

Autocast would cast every weight in every step, which took a third of the time on a CPU. Working parameters avoid this.
Their gradients are accumulated in fp32 on the masters. Only trained parameters have masters; frozen parameters are in
memory once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_LOWEST_SCALE = 1.0
_MOST_OVERFLOWS = 10
"""The maximum number of overflows (gradients that are not finite) in a row at the lowest loss scale. A single batch may
overflow; more overflows mean that the run has diverged."""


class Masters:
    """Trained parameters in fp32, paired by position with working parameters (the same tensors if training is in fp32).

    fp16, for GPUs without bf16, has a dynamic loss scale (Micikevicius et al., 2018).
    """

    def __init__(self, masters: Sequence[Tensor], working: Sequence[Tensor], *, precision: str) -> None:
        self.masters, self.working = list(masters), list(working)
        self.precision = precision
        self.loss_scale = 2.0**14 if precision == "fp16" else 1.0
        self._clean_steps = 0
        self._overflows_at_lowest_scale = 0
        self.has_working_copy = any(m is not c for m, c in zip(self.masters, self.working, strict=True))
        """Whether the working parameters are separate tensors from the masters."""

    @classmethod
    def of(cls, working: Sequence[Tensor], *, precision: str) -> Masters:
        """Create the masters of working parameters: fp32 copies of them. fp32 parameters are their own masters."""
        masters = [
            p if p.dtype == torch.float32 else p.detach().float().clone().requires_grad_(p.requires_grad)
            for p in working
        ]
        return cls(masters, working, precision=precision)

    @property
    def tolerates_overflow(self) -> bool:
        """Whether a step whose gradient is not finite is only skipped, because a lower loss scale may help."""
        return self.precision == "fp16" and self._overflows_at_lowest_scale < _MOST_OVERFLOWS

    def collect_during_backward(self) -> None:
        """From now on, `collect` each gradient as soon as the backward pass has computed it.

        So the gradients of all working parameters are never in memory together, beside those of the masters.
        """
        for master, working in zip(self.masters, self.working, strict=True):
            if working is not master:
                working.register_post_accumulate_grad_hook(partial(_move_gradient, master))

    @torch.no_grad()
    def collect(self) -> None:
        """Add the working parameters' gradients to those of the masters in fp32, and clear the former."""
        pairs = [(m, c) for m, c in zip(self.masters, self.working, strict=True) if c.grad is not None]
        fresh = [(m, c) for m, c in pairs if m.grad is None]
        for master, _ in fresh:
            master.grad = torch.empty_like(master)
        if fresh:
            torch._foreach_copy_([m.grad for m, _ in fresh], [c.grad for _, c in fresh])  # type: ignore[misc]
        started = {id(m) for m, _ in fresh}
        for master, working in pairs:
            if id(master) not in started:
                assert master.grad is not None
                assert working.grad is not None
                master.grad.add_(working.grad)
        for working in self.working:
            working.grad = None

    def gradients(self) -> list[Tensor]:
        """The fp32 gradients of the masters; the loss scale is divided out of them in place."""
        gradients = [p.grad for p in self.masters if p.grad is not None]
        if self.loss_scale != 1.0:
            torch._foreach_div_(gradients, self.loss_scale)
        return gradients

    @torch.no_grad()
    def finish_step(self, norm: Tensor, update: Callable[[], None]) -> bool:
        """Run `update` (the optimizer's step) unless fp16 overflowed (`norm` is not finite); returns whether it ran.

        Then refreshes the working parameters from the masters, and clears the gradients.
        """
        updated = True
        if self.precision == "fp16":
            updated = bool(torch.isfinite(norm))
            self._clean_steps = self._clean_steps + 1 if updated else 0
            at_lowest_scale = not updated and self.loss_scale <= _LOWEST_SCALE
            self._overflows_at_lowest_scale = self._overflows_at_lowest_scale + 1 if at_lowest_scale else 0
            if not updated:
                self.loss_scale = max(self.loss_scale / 2, _LOWEST_SCALE)
            elif self._clean_steps % 1000 == 0:
                self.loss_scale = min(self.loss_scale * 2, 2.0**24)
        if updated:
            update()
        self.update_working()
        for master in self.masters:
            master.grad = None
        return updated

    @torch.no_grad()
    def update_working(self) -> None:
        """Copy the masters to the working parameters."""
        if self.has_working_copy:
            torch._foreach_copy_(self.working, self.masters)

    def discard(self) -> None:
        """Clear the gradients, as after a trial batch."""
        for parameter in (*self.masters, *self.working):
            parameter.grad = None

    def state(self) -> dict[str, Any]:
        """The state of the loss scale, for a resume."""
        return {"loss_scale": self.loss_scale, "clean_steps": self._clean_steps}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore the loss scale that `state` returned, and update the working parameters from the loaded masters."""
        self.loss_scale = float(state.get("loss_scale", self.loss_scale))
        self._clean_steps = int(state.get("clean_steps", 0))
        self.update_working()


@torch.no_grad()
def _move_gradient(master: Tensor, working: Tensor) -> None:
    """Add the gradient of a working parameter to that of its master in fp32, and clear the former."""
    gradient = working.grad
    assert gradient is not None
    if master.grad is None:
        master.grad = gradient.to(master.dtype)
    else:
        master.grad.add_(gradient)
    working.grad = None
