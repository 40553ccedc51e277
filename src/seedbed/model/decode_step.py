"""Decode one token of one sequence with as few operations as possible: the inner loop of text generation.

A model that is used token by token spends as much time between its matrix products as in them: each of thirty layers has dozens
of small operations, and each costs some microseconds, however little it computes. So this computes what `Decoder.hidden_states`
does for one token after a cache, on the same weights, without modules and masks. The last bits may differ, except in bf16
and not on a CPU with AVX512-BF16 alone.

Shapes: S cached tokens, C hidden, H query heads, K key/value heads, D head width, V vocabulary rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from threadpoolctl import ThreadpoolController
from torch import Tensor, nn

from seedbed.hardware import cpu
from seedbed.model.activated_linear import activation
from seedbed.model.cache import KVCache, LayerCache
from seedbed.model.decoder import Attention, Block, Decoder, GeluMLP, RMSNorm, SwiGLU

Function = Callable[[Tensor], Tensor]
_LARGE_BYTES = 1 << 20
"""Products of smaller matrices take about as long as waking a thread."""
_MOST_THREADS = 16
"""The most threads for a product in NumPy: with more, they would wait for each other. Assumed."""
_Layer = Callable[[Tensor, Tensor | None, Tensor | None], Tensor]


class DecodeStep:
    """Computes logits for the token after a cached sequence, one token at a time."""

    def __init__(self, model: Decoder, cache: KVCache) -> None:
        """`cache`: the tokens so far, of one sequence, filled by the model. Both are kept and used."""
        self._model, self._cache = model, cache
        blocks = cast("list[Block]", list(model.blocks))
        self._layers = tuple(_layer(block, each) for block, each in zip(blocks, cache.layers, strict=True))
        self._norm, self._head = _norm(model.norm), _product(model.output_weight, None)
        matrices = [each.weight for each in model.modules() if isinstance(each, nn.Linear)] + [model.output_weight]
        self._with_numpy = any(_with_numpy(each) for each in matrices)
        self._without_onednn = any(_without_onednn(each) for each in matrices)

    def __call__(self, id_: int) -> Tensor:
        """Logits [V] for the token after `id_`, which is added to the cache. The cache must have room for it."""
        model, position = self._model, self._cache.length
        x_C = model.embed.weight[id_]
        cos = sin = None
        if model.positions is None:
            cos, sin = (table[0] for table in model.rotary(position, 1))
        else:
            x_C = x_C + model.positions.weight[position]
        for layer in self._layers:
            x_C = layer(x_C, cos, sin)
        return self._head(self._norm(x_C))

    @contextmanager
    def settings(self) -> Iterator[None]:
        """Set what PyTorch and NumPy need to be fast, while one or more tokens are decoded. It holds for the whole process."""
        with ExitStack() as stack:
            if self._with_numpy:
                stack.enter_context(_numpy_threads())
            if self._without_onednn:
                stack.enter_context(_onednn_off())
            yield


@contextmanager
def _numpy_threads() -> Iterator[None]:
    """Give the threads of PyTorch to NumPy: threads of both would wait for each other.

    Without it a token of SmolLM2 took 260 ms instead of 36 on two cores.
    """
    threads, libraries = torch.get_num_threads(), _numpy_libraries()
    before = [each.num_threads for each in libraries]
    try:
        torch.set_num_threads(1)
        for each in libraries:
            each.set_num_threads(min(threads, _MOST_THREADS))
        yield
    finally:
        torch.set_num_threads(threads)
        for each, number in zip(libraries, before, strict=True):
            each.set_num_threads(number)


@cache
def _numpy_libraries() -> list[Any]:
    """The OpenBLAS libraries in this process: NumPy's, and perhaps that of SciPy. None if NumPy uses another library."""
    built: Any = np.show_config(mode="dicts")
    if "openblas" not in str(built.get("Build Dependencies", {}).get("blas", {}).get("name", "")):
        return []
    return list(ThreadpoolController().select(internal_api="openblas").lib_controllers)


@contextmanager
def _onednn_off() -> Iterator[None]:
    """Let PyTorch multiply with its own kernels instead of those of oneDNN: see `_without_onednn`."""
    enabled = torch.backends.mkldnn.enabled
    torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.backends.mkldnn.enabled = enabled


def _layer(block: Block, cache: LayerCache) -> _Layer:
    norm_1, norm_2 = _norm(block.norm_1), _norm(block.norm_2)
    attend, feed = _attention(block.attention, cache), _mlp(block.mlp)

    def layer(x_C: Tensor, cos: Tensor | None, sin: Tensor | None) -> Tensor:
        x_C = x_C + attend(norm_1(x_C), cos, sin)
        return x_C + feed(norm_2(x_C))

    return layer


def _attention(attention: Attention, cache: LayerCache) -> _Layer:
    H, K, D, window = attention.heads, attention.kv_heads, attention.head_dim, attention.window
    project, out = _linear(attention.qkv), _linear(attention.out)
    gain = None
    if attention.qk_gain is not None:
        gain_q, gain_k = attention.qk_gain.split(D)
        gain = torch.cat((gain_q.expand(H, D), gain_k.expand(K, D)))
    eps, half = attention.eps, D // 2

    def attend(x_C: Tensor, cos: Tensor | None, sin: Tensor | None) -> Tensor:
        qkv = project(x_C).view(H + 2 * K, D)
        qk = qkv[: H + K]
        if gain is not None:
            qk = torch.rms_norm(qk, (D,), None, eps) * gain
        if cos is not None and sin is not None:
            qk = qk * cos + qk.roll(half, -1) * sin
        k_1KSD, v_1KSD = cache.append(qk[H:].view(1, K, 1, D), qkv[H + K :].view(1, K, 1, D))
        if 0 < window < k_1KSD.shape[2]:
            k_1KSD, v_1KSD = k_1KSD[:, :, -window:], v_1KSD[:, :, -window:]
        y_1H1D = F.scaled_dot_product_attention(qk[:H].view(1, H, 1, D), k_1KSD, v_1KSD, enable_gqa=H != K)
        return out(y_1H1D.reshape(H * D))

    return attend


def _norm(norm: nn.Module) -> Function:
    if isinstance(norm, RMSNorm):
        weight, eps, shape = norm.weight, norm.eps, norm.weight.shape
        if weight.dtype == torch.float32 and weight.device.type == "cpu":
            return _fast_rms_norm(weight, eps)
        return lambda x: torch.rms_norm(x, shape, None, eps) * weight  # the order of `kernels.rms_norm`
    assert isinstance(norm, nn.LayerNorm)
    gain, bias, width, epsilon = norm.weight, norm.bias, list(norm.normalized_shape), norm.eps
    return lambda x: torch.layer_norm(x, width, gain, bias, epsilon)


def _fast_rms_norm(weight: Tensor, eps: float) -> Function:
    """RMSNorm of a vector on a CPU with three operations; PyTorch's has a dozen. Differs from it in the last bits."""
    width = weight.shape[0]

    def norm(x_C: Tensor) -> Tensor:
        scale = (float(torch.dot(x_C, x_C)) / width + eps) ** -0.5
        return torch.mul(x_C, weight).mul_(scale)

    return norm


def _mlp(mlp: nn.Module) -> Function:
    assert isinstance(mlp, (SwiGLU, GeluMLP))
    first, second = _linear(mlp.gate_up if isinstance(mlp, SwiGLU) else mlp.up), _linear(mlp.down)
    kind = mlp.activation
    return lambda x_C: second(activation(first(x_C), kind))


def _linear(linear: nn.Linear) -> Function:
    return _product(linear.weight, linear.bias)


def _as_vector(weight: Tensor) -> bool:
    """Whether `torch.mv` computes the product, instead of `F.linear` with a matrix of one row, as transformers does.

    In bf16 on a CPU with AMX, `F.linear` copies each matrix into another layout: a token of SmolLM2 takes 1.7 times as long, with
    the same bits.
    """
    if weight.device.type != "cpu":
        return False
    return weight.dtype != torch.bfloat16 or "amx_bf16" in cpu.probe().features or _without_onednn(weight)


def _without_onednn(weight: Tensor) -> bool:
    """Whether PyTorch's own `mv` computes the product, not that of oneDNN: for bf16 on a CPU with AVX512-BF16 alone.

    Measured there with one thread and two: 24 and 42 GB/s, `F.linear` with oneDNN 15 and 24, `mv` with oneDNN 7 and 13.
    """
    features = cpu.probe().features
    is_bf16 = weight.device.type == "cpu" and weight.dtype == torch.bfloat16
    return is_bf16 and "avx512_bf16" in features and "amx_bf16" not in features


def _product(weight: Tensor, bias: Tensor | None) -> Function:
    """The product of a matrix and a vector, plus `bias`.

    The ways of computing it differ in speed and in the last bits, see `_as_vector` and `_with_numpy`.
    """
    if not _as_vector(weight):
        return lambda x: F.linear(x[None], weight, bias)[0]
    if _with_numpy(weight):
        return _numpy_product(weight, bias)
    if bias is None:
        return lambda x: torch.mv(weight, x)
    return lambda x: torch.addmv(bias, weight, x)


def _with_numpy(weight: Tensor) -> bool:
    """Whether NumPy computes the product: for large fp32 matrices on an AMD processor, where it has OpenBLAS and PyTorch MKL.

    MKL uses slower instructions there, and one thread for a product with a vector. Measured with one thread and two: 34 and 45
    GB/s on a processor that has AVX512, MKL 17; 18 with two threads on one with AVX2 alone, MKL 13. There one thread was not
    measured. The choice does not depend on a measurement, so that the same seed gives the same text.
    """
    if weight.device.type != "cpu" or weight.dtype != torch.float32 or weight.nbytes < _LARGE_BYTES:
        return False
    here = cpu.probe()
    is_faster = torch.get_num_threads() > 1 or "avx512f" in here.features
    return is_faster and here.name.startswith("AMD") and torch.backends.mkl.is_available() and bool(_numpy_libraries())


def _numpy_product(weight: Tensor, bias: Tensor | None) -> Function:
    matrix = weight.detach().numpy()

    def product(x: Tensor) -> Tensor:
        out = torch.from_numpy(np.dot(matrix, x.numpy()))
        return out if bias is None else out.add_(bias)

    return product
