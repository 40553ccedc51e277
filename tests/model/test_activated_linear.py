"""Activation and projection as one operation: the same numbers as PyTorch's, with less kept for the backward pass."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from seedbed.model.activated_linear import GELU, GELU_TANH, SWIGLU, activated_linear


def plain(kind: str) -> Callable[[Tensor, Tensor, Tensor | None], Tensor]:
    """The same with PyTorch's own operations."""

    def compute(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if kind == SWIGLU:
            gate, up = x.chunk(2, dim=-1)
            return F.linear(F.silu(gate) * up, weight, bias)
        return F.linear(F.gelu(x, approximate="tanh" if kind == GELU_TANH else "none"), weight, bias)

    return compute


def inputs(kind: str, dtype: torch.dtype, *, bias: bool) -> list[Tensor | None]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 5, 48 if kind == SWIGLU else 24), (16, 24), (16,)]
    made = [torch.randn(shape, generator=generator).to(dtype).requires_grad_() for shape in shapes]
    return [*made[:2], made[2] if bias else None]


@pytest.mark.parametrize("kind", [SWIGLU, GELU, GELU_TANH])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [False, True])
def test_results_and_gradients_are_those_of_pytorch(kind: str, dtype: torch.dtype, bias: bool) -> None:
    given = inputs(kind, dtype, bias=bias)
    wanted = [each for each in given if each is not None]
    ours, theirs = activated_linear(*given, kind), plain(kind)(*given)  # type: ignore[arg-type]
    assert torch.equal(ours, theirs)
    grad = torch.randn(ours.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    for mine, expected in zip(
        torch.autograd.grad(ours, wanted, grad), torch.autograd.grad(theirs, wanted, grad), strict=True
    ):
        torch.testing.assert_close(mine, expected)


@pytest.mark.parametrize("kind", [SWIGLU, GELU])
def test_only_the_input_of_the_activation_is_kept(kind: str) -> None:
    x, weight, _ = inputs(kind, torch.float32, bias=False)
    assert x is not None
    assert weight is not None
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda each: kept.append(each) or each, lambda each: each):
        activated_linear(x, weight, None, kind)
    assert sum(each.numel() for each in kept if each is not weight) == x.numel()


def test_weights_that_are_not_trained_get_no_gradient() -> None:
    x, weight, bias = inputs(SWIGLU, torch.float32, bias=True)
    assert x is not None
    frozen = [each.detach() for each in (weight, bias) if each is not None]
    out = activated_linear(x, *frozen, SWIGLU)
    assert torch.autograd.grad(out.sum(), x)[0].shape == x.shape
