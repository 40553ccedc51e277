"""Orthogonalisation compared with the polynomial applied to exact singular values."""

from __future__ import annotations

import pytest
import torch

from seedbed.optim.newton_schulz import orthogonalize


def exact(matrix: torch.Tensor, steps: int) -> torch.Tensor:
    """The quintic applied to the singular values of the normalised matrix, in fp64."""
    u, s, vh = torch.linalg.svd(matrix.double() / matrix.double().norm(), full_matrices=False)
    for _ in range(steps):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return u @ torch.diag(s) @ vh


@pytest.mark.parametrize("shape", [(24, 24), (24, 40), (40, 24), (24, 96), (96, 24), (1, 8)])
@pytest.mark.parametrize("steps", [1, 4, 5])
def test_the_polynomial_is_applied_to_the_singular_values_only(shape: tuple[int, int], steps: int) -> None:
    torch.manual_seed(0)
    stack = torch.randn(3, *shape)
    done = orthogonalize(stack, steps, torch.float32)
    for before, after in zip(stack, done, strict=True):
        torch.testing.assert_close(after.double(), exact(before, steps), atol=2e-5, rtol=0)


@pytest.mark.parametrize("shape", [(32, 32), (32, 128), (128, 32)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_ill_conditioned_matrices_stay_bounded(shape: tuple[int, int], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    low_rank = torch.randn(2, shape[0], 3) @ torch.diag(torch.tensor([1.0, 1e-2, 1e-4])) @ torch.randn(2, 3, shape[1])
    values = torch.linalg.svdvals(orthogonalize(low_rank, 5, dtype).float())
    assert values.max() < 1.3
    assert values[:, 0].min() > 0.6


def test_a_zero_gradient_stays_zero() -> None:
    assert not orthogonalize(torch.zeros(2, 8, 32), 5, torch.float32).any()
    assert not orthogonalize(torch.zeros(2, 8, 8), 5, torch.bfloat16).any()
