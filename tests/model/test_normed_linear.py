"""RMSNorm and projection as one operation: the same numbers as one after the other, with less kept for the backward pass."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from seedbed.model.kernels import rms_norm
from seedbed.model.normed_linear import normed_linear

EPS = 1e-5


def inputs(dtype: torch.dtype, *, bias: bool = True) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    generator = torch.Generator().manual_seed(0)
    x, gain, weight, shift = (
        torch.randn(each, generator=generator).to(dtype).requires_grad_()
        for each in ((3, 5, 16), (16,), (24, 16), (24,))
    )
    return x, gain, weight, shift if bias else None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [False, True])
def test_results_and_gradients_are_those_of_the_two_operations(dtype: torch.dtype, bias: bool) -> None:
    x, gain, weight, shift = inputs(dtype, bias=bias)
    wanted = [each for each in (x, gain, weight, shift) if each is not None]
    ours, theirs = normed_linear(x, gain, EPS, weight, shift), F.linear(rms_norm(x, gain, EPS), weight, shift)
    assert torch.equal(ours, theirs)
    grad = torch.randn(ours.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    for mine, expected in zip(
        torch.autograd.grad(ours, wanted, grad), torch.autograd.grad(theirs, wanted, grad), strict=True
    ):
        assert torch.equal(mine, expected)


def test_the_gradients_are_those_of_pytorch() -> None:
    x, gain, weight, shift = (
        each.detach().double().requires_grad_() for each in inputs(torch.float32) if each is not None
    )
    ours = normed_linear(x, gain, EPS, weight, shift).square().sum()
    theirs = F.linear(F.rms_norm(x, (16,), gain, EPS), weight, shift).square().sum()
    for mine, expected in zip(
        torch.autograd.grad(ours, (x, gain, weight, shift)),
        torch.autograd.grad(theirs, (x, gain, weight, shift)),
        strict=True,
    ):
        torch.testing.assert_close(mine, expected, rtol=1e-6, atol=1e-8)


def test_the_input_of_the_projection_is_not_kept() -> None:
    x, gain, weight, _ = inputs(torch.float32)
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda each: kept.append(each) or each, lambda each: each):
        normed_linear(x, gain, EPS, weight, None)
    rows = x.numel() // x.shape[-1]
    assert sum(each.numel() for each in kept if each is not weight and each is not gain) == x.numel() + rows


def test_weights_that_are_not_trained_get_no_gradient() -> None:
    x, *others = inputs(torch.float32)
    frozen = [None if each is None else each.detach() for each in others]
    out = normed_linear(x, frozen[0], EPS, *frozen[1:])  # type: ignore[arg-type]
    assert torch.autograd.grad(out.sum(), x)[0].shape == x.shape
