"""The Muon optimizer: momentum whose update is orthogonalised for each matrix, also for one of several in a parameter.

Shapes: N matrices of R rows and C columns in one stack.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from seedbed.optim.newton_schulz import orthogonalize

# The maximum number of elements per stack. Small matrices are faster in one large call; large ones only need more memory
# (gradient, momentum and the iteration's copies of a stack are in memory at the same time).
_STACK_NUMBERS = 4 << 20


class Slice(NamedTuple):
    """A whole parameter (`rows` is None), or the rows of a fused parameter that belong to one matrix, such as q in qkv."""

    parameter: Tensor
    rows: slice | None

    def of(self, tensor: Tensor) -> Tensor:
        """The same rows of `tensor`, which has the shape of the parameter (such as its gradient)."""
        return tensor if self.rows is None else tensor[self.rows]

    @property
    def value(self) -> Tensor:
        """The selected rows of the parameter, detached from autograd."""
        return self.of(self.parameter.detach())

    @property
    def gradient(self) -> Tensor:
        """The selected rows of the parameter's gradient, which must exist."""
        grad = self.parameter.grad
        assert grad is not None, "a parameter reached the optimizer without a gradient"
        return self.of(grad)


class Stack:
    """N matrices of the same shape [R, C], updated together; their momentum is one tensor [N, R, C]."""

    def __init__(self, members: Sequence[Slice]) -> None:
        self.members = list(members)
        first = self.members[0].value
        rows, columns = first.shape
        # Keller Jordan's scale: an update changes every output by about `lr`, for any shape.
        self.scale = math.sqrt(max(1.0, rows / columns))
        self.momentum = torch.zeros(len(self.members), rows, columns, dtype=torch.float32, device=first.device)

    def update(self, lr: float, momentum: float, weight_decay: float, steps: int, dtype: torch.dtype) -> None:
        """Update every matrix once from its gradient. `steps`: Newton-Schulz iterations, computed in `dtype`."""
        grad_NRC = torch.empty_like(self.momentum)
        torch._foreach_copy_(list(grad_NRC.unbind()), [member.gradient for member in self.members])
        self.momentum.lerp_(grad_NRC, 1 - momentum)
        nesterov_NRC = grad_NRC.lerp_(self.momentum, momentum)
        move_NRC = orthogonalize(nesterov_NRC, steps, dtype)
        values = [member.value for member in self.members]
        if weight_decay:
            torch._foreach_mul_(values, 1 - lr * weight_decay)
        torch._foreach_add_(values, list(move_NRC.unbind()), alpha=-lr * self.scale)


class Muon:
    """The Muon optimizer for the given matrices, with the conventions of `torch.optim.Muon`'s defaults.

    m <- lerp(m, g, 1 - momentum); o = orthogonalise(lerp(g, m, momentum));
    w <- w (1 - lr decay) - lr sqrt(max(1, rows / columns)) o.
    So `lr` is about the spectral norm of one update (a usual peak is 0.02), and the gradient's scale does not matter.
    Each matrix is orthogonalised separately, even if it is a slice of a fused parameter (Jordan et al., 2024,
    https://kellerjordan.github.io/posts/muon/).
    """

    def __init__(
        self,
        slices: Sequence[Slice],
        *,
        lr: float,
        momentum: float,
        weight_decay: float,
        steps: int,
        dtype: torch.dtype,
    ) -> None:
        self.lr, self.momentum, self.weight_decay, self.steps, self.dtype = lr, momentum, weight_decay, steps, dtype
        self.stacks: list[Stack] = []
        shapes: dict[torch.Size, list[Slice]] = {}
        for each in slices:
            shapes.setdefault(each.value.shape, []).append(each)
        for shape, members in shapes.items():
            size = max(1, _STACK_NUMBERS // shape.numel())
            self.stacks += [Stack(members[start : start + size]) for start in range(0, len(members), size)]

    @torch.no_grad()
    def step(self, scale: float) -> None:
        """Update every matrix from its gradient with the learning rate `lr * scale`."""
        for stack in self.stacks:
            stack.update(self.lr * scale, self.momentum, self.weight_decay, self.steps, self.dtype)

    def moments(self) -> list[tuple[Slice, str, Tensor]]:
        """The optimizer state: for each slice, the slice, the text `momentum` and a view of its momentum."""
        return [
            (member, "momentum", view)
            for stack in self.stacks
            for member, view in zip(stack.members, stack.momentum.unbind(), strict=True)
        ]
