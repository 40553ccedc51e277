"""The activation of a feed-forward layer and the projection after it, as one operation that keeps less for its backward pass.

PyTorch keeps the projection's input and the activation's own intermediate results. Both follow from the activation's input by a
few cheap operations, so they are computed again in the backward pass (the idea of selective recomputation, arXiv 2205.05198).
The numbers are the same, bit for bit. For SwiGLU this saves half of what the layer keeps.

Shapes: N tokens in any leading dimensions, F inner width, C hidden; the input of SwiGLU has gate and up side by side, 2F.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

SWIGLU, GELU, GELU_TANH = "swiglu", "gelu", "gelu-tanh"


def activation(x: Tensor, kind: str) -> Tensor:
    """silu(gate) * up for SwiGLU (arXiv 2002.05202), else GELU, exact or with the tanh approximation: [..., F]."""
    if kind == SWIGLU:
        gate, up = x.chunk(2, dim=-1)
        return F.silu(gate) * up
    return F.gelu(x, approximate=_approximate(kind))


def activation_gradient(x: Tensor, grad: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    """The gradient of the activation's input, and the activation itself, from its input and the gradient of its output."""
    if kind != SWIGLU:
        return torch.ops.aten.gelu_backward(grad, x, approximate=_approximate(kind)), activation(x, kind)
    gate, up = x.chunk(2, dim=-1)
    grad_x = torch.empty_like(x)
    grad_gate, grad_up = grad_x.chunk(2, dim=-1)
    silu = F.silu(gate)
    torch.mul(grad, silu, out=grad_up)
    torch.ops.aten.silu_backward.grad_input(grad * up, gate, grad_input=grad_gate)
    return grad_x, silu.mul_(up)


def activated_linear(x: Tensor, weight_CF: Tensor, bias_C: Tensor | None, kind: str) -> Tensor:
    """The activation of `x`, then a linear projection: [..., C].

    Compiled code is left to the compiler, which decides itself what to keep.
    """
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():
        out: Tensor = _ActivatedLinear.apply(x, weight_CF, bias_C, kind)  # type: ignore[no-untyped-call]
        return out
    return F.linear(activation(x, kind), weight_CF, bias_C)


class _ActivatedLinear(torch.autograd.Function):
    """Computes `activated_linear`; keeps only the input of the activation."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_CF: Tensor, bias_C: Tensor | None, kind: str) -> Tensor:
        ctx.save_for_backward(x, weight_CF)
        ctx.kind = kind
        return F.linear(activation(x, kind), weight_CF, bias_C)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        x, weight_CF = ctx.saved_tensors
        needs_x, needs_weight, needs_bias, _ = ctx.needs_input_grad
        grad_NC = grads[0].reshape(-1, weight_CF.shape[0])
        grad_h = (grad_NC @ weight_CF).view(*x.shape[:-1], weight_CF.shape[1])
        grad_x, h = activation_gradient(x, grad_h, ctx.kind)
        grad_weight = grad_NC.t() @ h.reshape(-1, weight_CF.shape[1]) if needs_weight else None
        return grad_x if needs_x else None, grad_weight, grad_NC.sum(0) if needs_bias else None, None


def _approximate(kind: str) -> str:
    return "tanh" if kind == GELU_TANH else "none"
