"""The output head (hidden states to logits) and cross entropy, computed for a slice of the tokens at a time.

So the logits of all tokens are never in memory together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from seedbed.config.tiling import slice_rows, softmax_rows

IGNORED = -100
_GRADIENT_ROWS = 8192
"""Rows of the weight's gradient that are computed at a time in 16 bits on a CPU, before they are added to an fp32 sum."""


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
        given = (x_NC, weight_VC, targets_N, grad_scale, _block_rows(x_NC, weight_VC))
        out: Tensor = _SummedCrossEntropy.apply(*given)  # type: ignore[no-untyped-call]
        return out
    total = torch.zeros((), dtype=torch.float32, device=x_NC.device)
    for logits, targets in _logits(x_NC, weight_VC, targets_N):
        total = total + F.cross_entropy(logits.float(), targets, ignore_index=IGNORED, reduction="sum")
    return total


@torch.no_grad()
def token_cross_entropy(x_NC: Tensor, weight_VC: Tensor, targets_N: Tensor) -> Tensor:
    """-log softmax(x_n W^T)[target_n] of each token n: fp32 [N], in nats, without gradients."""
    parts = [
        F.cross_entropy(logits.float(), targets, reduction="none")
        for logits, targets in _logits(x_NC, weight_VC, targets_N)
    ]
    return torch.cat(parts) if parts else torch.zeros(0, device=x_NC.device)


def _logits(x_NC: Tensor, weight_VC: Tensor, targets_N: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The logits of some tokens at a time, with their targets."""
    rows, block_rows = slice_rows(weight_VC.shape[0]), _block_rows(x_NC, weight_VC)
    for x, targets in zip(x_NC.split(rows), targets_N.split(rows), strict=True):
        logits = F.linear(x, weight_VC)
        size = block_rows or len(logits)
        yield from zip(logits.split(size), targets.split(size), strict=True)


def _block_rows(x_NC: Tensor, weight_VC: Tensor) -> int:
    """The number of tokens whose softmax is computed at a time; 0: all. Neither a GPU nor compiled code needs blocks."""
    is_eager_on_cpu = x_NC.device.type == "cpu" and not torch.compiler.is_compiling()
    return softmax_rows(weight_VC.shape[0]) if is_eager_on_cpu else 0


class _SummedCrossEntropy(torch.autograd.Function):
    """Computes `summed_cross_entropy`; its forward pass also computes the gradients of hidden states and weight."""

    @staticmethod
    def forward(
        ctx: Any, x_NC: Tensor, weight_VC: Tensor, targets_N: Tensor, grad_scale: Tensor | None, block_rows: int
    ) -> Tensor:
        rows = slice_rows(weight_VC.shape[0])
        total = torch.zeros((), dtype=torch.float32, device=x_NC.device)
        grad_x: list[Tensor] = []
        grad_weight: Tensor | None = None
        for x, targets in zip(x_NC.split(rows), targets_N.split(rows), strict=True):
            trained, index = (targets != IGNORED)[:, None], targets.clamp(min=0)[:, None]
            logits = F.linear(x, weight_VC)
            right, grad = _softmax_gradient(logits, index, grad_scale, block_rows)
            total = total - torch.where(trained, right, 0.0).sum()
            mask = trained.to(x.dtype)
            grad_x.append((grad @ weight_VC).mul_(mask))
            grad_weight = _accumulated(grad_weight, grad, x * mask, block_rows, is_only=rows >= x_NC.shape[0])
            del logits, grad  # before the next slice takes as much memory
        assert grad_weight is not None
        whole_x = torch.cat(grad_x) if len(grad_x) > 1 else grad_x[0]
        ctx.save_for_backward(whole_x, grad_weight.to(weight_VC.dtype), grad_scale)
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        grad_x, grad_weight, grad_scale = ctx.saved_tensors
        scale = grad_outputs[0] if grad_scale is None else grad_outputs[0] / grad_scale
        return grad_x * scale, grad_weight * scale, None, None, None


def _accumulated(total: Tensor | None, grad_NV: Tensor, x_NC: Tensor, block_rows: int, *, is_only: bool) -> Tensor:
    """`total` + grad^T x, [V, C]: accumulated over slices in fp32, so in the dtype of `x_NC` only if the slice `is_only`.

    With `block_rows` above 0, a slice's product is not in memory beside `total`, or only some rows of it.
    """
    if is_only or (total is None and x_NC.dtype == torch.float32):
        return grad_NV.t() @ x_NC
    if total is None:
        total = x_NC.new_zeros(grad_NV.shape[1], x_NC.shape[1], dtype=torch.float32)
    if not block_rows:
        return total.add_(grad_NV.t() @ x_NC)
    if x_NC.dtype == torch.float32:
        return total.addmm_(grad_NV.t(), x_NC)
    for rows, part in zip(total.split(_GRADIENT_ROWS), grad_NV.split(_GRADIENT_ROWS, 1), strict=True):
        rows.add_(part.t() @ x_NC)
    return total


def _softmax_gradient(
    logits_NV: Tensor, index_N1: Tensor, grad_scale: Tensor | None, block_rows: int
) -> tuple[Tensor, Tensor]:
    """The log-probability of each target, fp32 [N, 1], and softmax - one-hot, the gradient of the logits, in their dtype.

    Computed in fp32 for `block_rows` rows at a time (0: all), so that a block stays in the processor's cache; then the gradient
    takes the memory of the logits.
    """
    if not block_rows or block_rows >= logits_NV.shape[0]:
        right, grad = _wide_gradient(logits_NV, index_N1, grad_scale)
        return right, grad.to(logits_NV.dtype)
    found = []
    for logits, index in zip(logits_NV.split(block_rows), index_N1.split(block_rows), strict=True):
        right, grad = _wide_gradient(logits, index, grad_scale)
        found.append(right)
        logits.copy_(grad)
    return torch.cat(found), logits_NV


def _wide_gradient(logits: Tensor, index: Tensor, grad_scale: Tensor | None) -> tuple[Tensor, Tensor]:
    """The same in fp32 for all given rows."""
    log_p = torch.log_softmax(logits, dim=-1, dtype=torch.float32)
    right = log_p.gather(1, index)
    grad = log_p.exp_().scatter_(1, index, right.exp() - 1.0)
    return right, grad if grad_scale is None else grad.mul_(grad_scale)
