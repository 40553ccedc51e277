"""The sliced loss compared with F.cross_entropy, with more rows than fit in one slice."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from seedbed.model import cross_entropy
from seedbed.model.cross_entropy import summed_cross_entropy


@pytest.mark.parametrize("rows", [1024, 7])
def test_loss_and_gradients_over_slices_equal_pytorchs(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(cross_entropy, "slice_rows", lambda _: rows)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(50, 12, generator=generator, requires_grad=True)
    weight = torch.randn(33, 12, generator=generator, requires_grad=True)
    targets = torch.randint(0, 33, (50,), generator=generator)
    targets[::5] = -100
    expected = F.cross_entropy(x @ weight.t(), targets, reduction="sum")
    ours = summed_cross_entropy(x, weight, targets)
    torch.testing.assert_close(ours, expected)
    for a, b in zip(
        torch.autograd.grad(ours * 0.25, (x, weight)), torch.autograd.grad(expected * 0.25, (x, weight)), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_targets_that_are_all_ignored_give_zero_loss_and_gradients() -> None:
    x, weight = torch.randn(4, 3, requires_grad=True), torch.randn(5, 3, requires_grad=True)
    loss = summed_cross_entropy(x, weight, torch.full((4,), -100))
    assert loss.item() == 0.0
    assert not any(grad.any() for grad in torch.autograd.grad(loss, (x, weight)))


def test_large_logits_do_not_overflow() -> None:
    x = torch.tensor([[200.0]], requires_grad=True)
    weight = torch.tensor([[1.0], [-1.0]])
    assert summed_cross_entropy(x, weight, torch.tensor([1])).item() == pytest.approx(400.0)


def test_fp16_gradients_equal_fp32_gradients_where_their_plain_sum_overflows() -> None:
    """16,384 tokens with the same hidden states: their sum is far above fp16's 65,504, their mean is 2."""
    tokens, scale = 16_384, torch.tensor(8.0 / 16_384)
    x = torch.full((tokens, 4), 8.0)
    weight = torch.zeros(64, 4)
    targets = torch.full((tokens,), 7)
    grads = {}
    for dtype, grad_scale in ((torch.float32, None), (torch.float16, scale)):
        inputs = x.to(dtype).requires_grad_(), weight.to(dtype).requires_grad_()
        loss = summed_cross_entropy(*inputs, targets, grad_scale)
        grads[dtype] = torch.autograd.grad(loss * scale, inputs)
    for wide, half in zip(grads[torch.float32], grads[torch.float16], strict=True):
        torch.testing.assert_close(half.float(), wide, rtol=2e-3, atol=1e-5)


def test_the_gradient_does_not_depend_on_the_given_scale() -> None:
    x, weight = torch.randn(9, 3, requires_grad=True), torch.randn(5, 3, requires_grad=True)
    targets = torch.randint(0, 5, (9,))
    expected = torch.autograd.grad(summed_cross_entropy(x, weight, targets) * 0.3, (x, weight))
    scaled = torch.autograd.grad(summed_cross_entropy(x, weight, targets, torch.tensor(16.0)) * 0.3, (x, weight))
    for a, b in zip(scaled, expected, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_softmax_of_a_few_rows_at_a_time_is_the_same(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(size, 12, generator=generator).to(dtype).requires_grad_() for size in (50, 33))
    targets = torch.randint(0, 33, (50,), generator=generator)
    targets[::7] = -100
    found = []
    for rows in (50, 4):
        monkeypatch.setattr(cross_entropy, "softmax_rows", lambda _, rows=rows: rows)
        loss = summed_cross_entropy(x, weight, targets)
        without = summed_cross_entropy(x.detach(), weight.detach(), targets)
        torch.testing.assert_close(without, loss.detach())
        found.append((loss.detach(), *torch.autograd.grad(loss, (x, weight))))
    for whole, parts in zip(*found, strict=True):
        assert torch.equal(whole, parts)
