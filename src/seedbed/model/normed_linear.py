"""An RMSNorm and the projection after it, as one operation that keeps less for its backward pass.

PyTorch keeps the projection's input, which is the normalised input times the gain. That product is computed again in the
backward pass (the idea of selective recomputation, arXiv 2205.05198). The numbers are the same, bit for bit.

Shapes: any leading dimensions, C hidden, O outputs.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from seedbed.model.kernels import normalised, rms_norm, rms_norm_gradients


def normed_linear(x: Tensor, gain_C: Tensor, eps: float, weight_OC: Tensor, bias_O: Tensor | None) -> Tensor:
    """A linear projection of `rms_norm(x, gain_C, eps)`: [..., O].

    Compiled code is left to the compiler, which decides itself what to keep; a GPU to PyTorch's fused RMSNorm.
    """
    if x.device.type == "cpu" and torch.is_grad_enabled() and not torch.compiler.is_compiling():
        out: Tensor = _NormedLinear.apply(x, gain_C, eps, weight_OC, bias_O)  # type: ignore[no-untyped-call]
        return out
    return F.linear(rms_norm(x, gain_C, eps), weight_OC, bias_O)


class _NormedLinear(torch.autograd.Function):
    """Computes `normed_linear`; keeps the normalised input and the scale of each row."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain_C: Tensor, eps: float, weight_OC: Tensor, bias_O: Tensor | None) -> Tensor:
        normed, scale = normalised(x, eps)
        ctx.save_for_backward(normed, scale, gain_C, weight_OC)
        return F.linear(normed * gain_C, weight_OC, bias_O)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        normed, scale, gain_C, weight_OC = ctx.saved_tensors
        needs_x, needs_gain, _, needs_weight, needs_bias = ctx.needs_input_grad
        grad_NO = grads[0].reshape(-1, weight_OC.shape[0])
        grad_weight = grad_x = grad_gain = None
        if needs_weight:
            grad_weight = grad_NO.t() @ (normed * gain_C).reshape(-1, weight_OC.shape[1])
        if needs_x or needs_gain:
            grad_x, grad_gain = rms_norm_gradients((grad_NO @ weight_OC).view(normed.shape), normed, scale, gain_C)
        grad_bias = grad_NO.sum(0) if needs_bias else None
        return grad_x if needs_x else None, grad_gain if needs_gain else None, None, grad_weight, grad_bias
