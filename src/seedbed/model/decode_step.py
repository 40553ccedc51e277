"""Decode one token of one sequence with as few operations as possible: the inner loop of text generation.

A model that is used token by token spends as much time between its matrix products as in them: each of thirty layers has dozens
of small operations, and each costs some microseconds, however little it computes. So this computes what `Decoder.hidden_states`
does for one token after a cache, on the same weights, without modules, masks and copies of grouped heads.

Shapes: S cached tokens, C hidden, H query heads, K key/value heads, G = H / K, D head width, V vocabulary rows.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seedbed.model.cache import KVCache, LayerCache
from seedbed.model.decoder import Attention, Block, Decoder, GeluMLP, RMSNorm, SwiGLU

Function = Callable[[Tensor], Tensor]
_Layer = Callable[[Tensor, Tensor | None, Tensor | None], Tensor]


class DecodeStep:
    """Computes logits for the token after a cached sequence, one token at a time."""

    def __init__(self, model: Decoder, cache: KVCache) -> None:
        """`cache`: the tokens so far, of one sequence, filled by the model. Both are kept and used."""
        self._model, self._cache = model, cache
        self._layers = tuple(_layer(block, each) for block, each in zip(model.blocks, cache.layers, strict=True))
        self._norm = _norm(model.norm)

    def __call__(self, id_: int) -> Tensor:
        """Logits [V] for the token after `id_`, which is added to the cache. The cache must have room for it."""
        model, position = self._model, self._cache.length
        x_1C = model.embed.weight[id_ : id_ + 1]
        cos = sin = None
        if model.positions is None:
            cos, sin = (table[0] for table in model.rotary(position, 1))
        else:
            x_1C = x_1C + model.positions.weight[position : position + 1]
        for layer in self._layers:
            x_1C = layer(x_1C, cos, sin)
        return F.linear(self._norm(x_1C), model.output_weight)[0]


def _layer(block: Block, cache: LayerCache) -> _Layer:
    norm_1, norm_2 = _norm(block.norm_1), _norm(block.norm_2)
    attend, feed = _attention(block.attention, cache), _mlp(block.mlp)

    def layer(x_1C: Tensor, cos: Tensor | None, sin: Tensor | None) -> Tensor:
        x_1C = x_1C + attend(norm_1(x_1C), cos, sin)
        return x_1C + feed(norm_2(x_1C))

    return layer


def _attention(attention: Attention, cache: LayerCache) -> _Layer:
    H, K, D, window = attention.heads, attention.kv_heads, attention.head_dim, attention.window
    qkv_weight, qkv_bias = attention.qkv.weight, attention.qkv.bias
    out_weight, out_bias = attention.out.weight, attention.out.bias
    gain = None
    if attention.qk_gain is not None:
        gain_q, gain_k = attention.qk_gain.split(D)
        gain = torch.cat((gain_q.expand(H, D), gain_k.expand(K, D)))
    eps, half = attention.eps, D // 2

    def attend(x_1C: Tensor, cos: Tensor | None, sin: Tensor | None) -> Tensor:
        qkv = F.linear(x_1C, qkv_weight, qkv_bias).view(H + 2 * K, D)
        qk = qkv[: H + K]
        if gain is not None:
            qk = torch.rms_norm(qk, (D,), None, eps) * gain
        if cos is not None and sin is not None:
            qk = qk * cos + qk.roll(half, -1) * sin
        k_1KSD, v_1KSD = cache.append(qk[H:].view(1, K, 1, D), qkv[H + K :].view(1, K, 1, D))
        if 0 < window < k_1KSD.shape[2]:
            k_1KSD, v_1KSD = k_1KSD[:, :, -window:], v_1KSD[:, :, -window:]
        # The G queries that share a key head take the place of so many positions, so no key is copied.
        y_1KGD = F.scaled_dot_product_attention(qk[:H].view(1, K, H // K, D), k_1KSD, v_1KSD)
        return F.linear(y_1KGD.reshape(1, H * D), out_weight, out_bias)

    return attend


def _norm(norm: nn.Module) -> Function:
    if isinstance(norm, RMSNorm):
        weight, eps, shape = norm.weight, norm.eps, norm.weight.shape
        if weight.dtype == torch.float32:
            return lambda x: torch.rms_norm(x, shape, weight, eps)
        return lambda x: torch.rms_norm(x, shape, None, eps) * weight  # the order of `kernels.rms_norm`
    assert isinstance(norm, nn.LayerNorm)
    layer_norm = norm
    return lambda x: torch.layer_norm(
        x, list(layer_norm.normalized_shape), layer_norm.weight, layer_norm.bias, layer_norm.eps
    )


def _mlp(mlp: nn.Module) -> Function:
    if isinstance(mlp, SwiGLU):
        first, second = mlp.gate_up, mlp.down
        width = second.in_features

        def swiglu(x: Tensor) -> Tensor:
            both = F.linear(x, first.weight, first.bias)
            return F.linear(F.silu(both[:, :width]) * both[:, width:], second.weight, second.bias)

        return swiglu
    assert isinstance(mlp, GeluMLP)
    up, down, approximate = mlp.up, mlp.down, mlp.approximate
    return lambda x: F.linear(F.gelu(F.linear(x, up.weight, up.bias), approximate=approximate), down.weight, down.bias)
