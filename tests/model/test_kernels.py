"""Seedbed's operations compared with PyTorch's: values and gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from seedbed.config.tiling import probabilities
from seedbed.model.kernels import causal_attention, embedding, rms_norm


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("gain_shape", [(16,), (5, 16)])
def test_rms_norm_equals_pytorchs(gain_shape: tuple[int, ...]) -> None:
    x, gain = noise(3, 7, 5, 16).double().requires_grad_(), noise(*gain_shape, seed=1).double().requires_grad_()
    ours = rms_norm(x, gain, 1e-3)
    theirs = F.rms_norm(x, (16,), None, 1e-3) * gain
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)
    weight = noise(3, 7, 5, 16, seed=2).double()
    for mine, expected in zip(
        torch.autograd.grad((ours * weight).sum(), (x, gain)),
        torch.autograd.grad((theirs * weight).sum(), (x, gain)),
        strict=True,
    ):
        torch.testing.assert_close(mine, expected, rtol=1e-5, atol=1e-6)


def test_rms_norm_of_a_non_contiguous_slice_equals_pytorchs() -> None:
    whole = noise(2, 3, 6, 8).requires_grad_()
    gain = noise(4, 8, seed=1).requires_grad_()
    ours, theirs = rms_norm(whole[:, :, :4], gain, 1e-6), F.rms_norm(whole[:, :, :4], (8,), None, 1e-6) * gain
    torch.testing.assert_close(ours, theirs)
    (mine,), (expected,) = (torch.autograd.grad(y.square().sum(), (whole,)) for y in (ours, theirs))
    torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_rms_norm_without_gradients_is_that_of_transformers_to_the_bit(dtype: torch.dtype) -> None:
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    theirs = LlamaRMSNorm(64, eps=1e-5).to(dtype)
    theirs.weight.copy_(noise(64, seed=1).exp())
    x = (noise(3, 50, 64) * 3).to(dtype)
    ours = rms_norm(x, theirs.weight, 1e-5)
    if dtype == torch.float32:
        torch.testing.assert_close(ours, theirs(x), rtol=1e-6, atol=1e-7)
    else:
        assert torch.equal(ours, theirs(x))


@pytest.mark.parametrize("window", [1, 7, 500, 511, 600])
@pytest.mark.parametrize(("queries", "keys"), [(1, 40), (3, 40), (40, 40), (1300, 1300), (700, 1300)])
@pytest.mark.parametrize("kv_heads", [4, 2])
def test_a_window_limits_attention_to_the_newest_keys(window: int, queries: int, keys: int, kv_heads: int) -> None:
    q = noise(1, 4, queries, 8).double().requires_grad_()
    k, v = (noise(1, kv_heads, keys, 8, seed=seed).double().requires_grad_() for seed in (1, 2))
    at, key = torch.arange(keys - queries, keys)[:, None], torch.arange(keys)
    mask = (key <= at) & (key > at - window)
    ours = causal_attention(q, k, v, window=window) if window < keys else causal_attention(q, k, v, mask, window)
    theirs = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=kv_heads != 4)
    torch.testing.assert_close(ours, theirs)
    weight = noise(1, 4, queries, 8, seed=3).double()
    for mine, expected in zip(
        torch.autograd.grad((ours * weight).sum(), (q, k, v)),
        torch.autograd.grad((theirs * weight).sum(), (q, k, v)),
        strict=True,
    ):
        torch.testing.assert_close(mine, expected)


@pytest.mark.parametrize("length", [2, 64, 128, 129, 300, 512, 520])
@pytest.mark.parametrize("kv_heads", [4, 2])
@pytest.mark.parametrize("masked", [False, True])
def test_bf16_attention_equals_pytorchs_within_bf16_precision(length: int, kv_heads: int, masked: bool) -> None:
    def heads(count: int, seed: int) -> Tensor:
        # as the decoder has them: [B, T, heads, D] in memory
        return noise(2, length, count, 16, seed=seed, dtype=torch.bfloat16).transpose(1, 2).requires_grad_()

    q, k, v = heads(4, 0), heads(kv_heads, 1), heads(kv_heads, 2)
    exact = [x.detach().double().requires_grad_() for x in (q, k, v)]
    documents = torch.arange(length) // 90
    mask = (documents[:, None] == documents).tril().expand(2, 1, -1, -1) if masked else None
    ours = causal_attention(q, k, v, mask)
    theirs = F.scaled_dot_product_attention(*exact, attn_mask=mask, is_causal=not masked, enable_gqa=kv_heads != 4)
    weight = noise(2, 4, length, 16, seed=3, dtype=torch.bfloat16)
    assert ((ours.double() - theirs).abs().max() / theirs.abs().max()).item() < 0.02
    mine = torch.autograd.grad(ours, (q, k, v), weight)
    expected = torch.autograd.grad(theirs, exact, weight.double())
    for a, b in zip(mine, expected, strict=True):
        assert a.dtype == torch.bfloat16
        assert ((a.double() - b).abs().max() / b.abs().max()).item() < 0.02


@pytest.mark.parametrize("mask", ["none", "of documents", "for all sequences"])
@pytest.mark.parametrize("kv_heads", [4, 2])
def test_probabilities_that_are_computed_again_give_the_same_gradients(mask: str, kv_heads: int) -> None:
    q, k, v = (
        noise(2, heads, 384, 16, seed=heads, dtype=torch.bfloat16).requires_grad_() for heads in (4, kv_heads, kv_heads)
    )
    seen = (torch.arange(384) // 90)[:, None] == torch.arange(384) // 90
    masks = {"none": None, "of documents": seen.tril().expand(2, 1, -1, -1), "for all sequences": seen.tril()}
    found, kept = [], []
    for keep in (True, False):
        saved: list[Tensor] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda each: saved.append(each) or each, lambda each: each):  # noqa: B023
            out = causal_attention(q, k, v, masks[mask], keep=keep)
        found.append((out, *torch.autograd.grad(out, (q, k, v), out)))
        kept.append(sum(each.nbytes for each in saved if each.dtype == torch.bfloat16))
    assert all(map(torch.equal, *found))
    assert kept[0] - kept[1] == probabilities(heads=4, sequences=2, context=384)


def test_gradients_of_frequent_tokens_are_summed_in_fp32() -> None:
    ids = torch.multinomial(
        1 / torch.arange(1.0, 66.0), 4096, replacement=True, generator=torch.Generator().manual_seed(0)
    )
    weight, grad = noise(65, 32, dtype=torch.bfloat16).requires_grad_(), noise(4096, 32, seed=1, dtype=torch.bfloat16)
    exact = torch.zeros(65, 32, dtype=torch.float64).index_add_(0, ids, grad.double())
    found = embedding(ids, weight)
    assert torch.equal(found, weight[ids])
    (ours,) = torch.autograd.grad(found, weight, grad)
    assert ours.dtype == torch.bfloat16
    assert ((ours.double() - exact).norm() / exact.norm()).item() < 0.003
