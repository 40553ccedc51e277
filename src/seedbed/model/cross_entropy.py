"""The output head (hidden states to logits) and cross entropy, computed for a slice of the tokens at a time.

So the logits of all tokens are never in memory together."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from seedbed.config.tiling import slice_rows

IGNORED = -100


def summed_cross_entropy(
    x_NC: Tensor, weight_VC: Tensor, targets_N: Tensor, grad_scale: Tensor | None = None
) -> Tensor:
    """Sum over tokens n of -log softmax(x_n W^T)[target_n], without targets of -100: an fp32 scalar in nats.

    Matmuls run in the dtype of their inputs, everything between them in fp32. If gradients are needed, they are
    computed here, slice by slice, and only scaled in the backward pass (as Liger does, arXiv 2410.10989).

    `grad_scale`, an fp32 scalar, is the gradient that the backward pass will receive, known in advance. fp16 needs it: its
    largest number is 65,504, which a sum over thousands of tokens exceeds before it is divided by their count. With
    `grad_scale`, each token's gradient is scaled in fp32 before the matmul that sums over tokens. The result is the same
    for any value.
    """
    if torch.is_grad_enabled() and (x_NC.requires_grad or weight_VC.requires_grad):
        out: Tensor = _SummedCrossEntropy.apply(x_NC, weight_VC, targets_N, grad_scale)  # type: ignore[no-untyped-call]
        return out
    total = torch.zeros((), dtype=torch.float32, device=x_NC.device)
    rows = slice_rows(*weight_VC.shape[:1])
    for x, targets in zip(x_NC.split(rows), targets_N.split(rows), strict=True):
        total = total + F.cross_entropy(F.linear(x, weight_VC).float(), targets, ignore_index=IGNORED, reduction="sum")
    return total


@torch.no_grad()
def token_cross_entropy(x_NC: Tensor, weight_VC: Tensor, targets_N: Tensor) -> Tensor:
    """-log softmax(x_n W^T)[target_n] of each token n: fp32 [N], in nats, without gradients."""
    rows = slice_rows(weight_VC.shape[0])
    parts = [
        F.cross_entropy(F.linear(x, weight_VC).float(), targets, reduction="none")
        for x, targets in zip(x_NC.split(rows), targets_N.split(rows), strict=True)
    ]
    return torch.cat(parts) if parts else torch.zeros(0, device=x_NC.device)


class _SummedCrossEntropy(torch.autograd.Function):
    """Computes `summed_cross_entropy`; its forward pass also computes the gradients of hidden states and weight."""

    @staticmethod
    def forward(
        ctx: Any, x_NC: Tensor, weight_VC: Tensor, targets_N: Tensor, grad_scale: Tensor | None = None
    ) -> Tensor:
        rows = slice_rows(weight_VC.shape[0])
        total = torch.zeros((), dtype=torch.float32, device=x_NC.device)
        grad_x: list[Tensor] = []
        grad_weight: Tensor | None = None
        for x, targets in zip(x_NC.split(rows), targets_N.split(rows), strict=True):
            log_p = torch.log_softmax(F.linear(x, weight_VC), dim=-1, dtype=torch.float32)
            trained, index = (targets != IGNORED)[:, None], targets.clamp(min=0)[:, None]
            right = log_p.gather(1, index)
            total = total - torch.where(trained, right, 0.0).sum()
            # softmax - one-hot, in place: the largest tensor of the step is written as rarely as possible
            grad = log_p.exp_().scatter_(1, index, right.exp() - 1.0)
            if grad_scale is not None:
                grad = grad.mul_(grad_scale)
            grad = grad.to(x.dtype)
            mask = trained.to(x.dtype)
            grad_x.append((grad @ weight_VC).mul_(mask))
            part = grad.t() @ (x * mask)
            if rows < x_NC.shape[0]:
                part = part.float()  # accumulated over slices in fp32
            grad_weight = part if grad_weight is None else grad_weight.add_(part)
        assert grad_weight is not None
        whole_x = torch.cat(grad_x) if len(grad_x) > 1 else grad_x[0]
        ctx.save_for_backward(whole_x, grad_weight.to(weight_VC.dtype), grad_scale)
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor, None, None]:
        grad_x, grad_weight, grad_scale = ctx.saved_tensors
        scale = grad_outputs[0] if grad_scale is None else grad_outputs[0] / grad_scale
        return grad_x * scale, grad_weight * scale, None, None
