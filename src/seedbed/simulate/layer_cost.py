"""The time of one layer and of the output layer for one micro-batch on one GPU, without communication."""

from __future__ import annotations

import math
from typing import NamedTuple

from seedbed.simulate.constants import EAGER_PASSES, FP8_CAST_BYTES, LIGHT_ELEMENTWISE, LIGHT_LAUNCH, TILE, Constants
from seedbed.simulate.rates import Rates
from seedbed.simulate.setup import Setup

NF4_BYTES = 0.53
"""Bytes of a weight that is stored in 4 bits, with its scales (QLoRA, arXiv 2305.14314)."""
_BACKWARD_ATTENTION = 2.5
"""Operations of flash attention backward for each forward one: it computes the scores again (arXiv 2205.14135)."""


class LayerCost(NamedTuple):
    """Seconds of one layer for one micro-batch, forward and backward, with recomputation."""

    matmuls: float
    attention: float
    elementwise: float
    dequantise: float
    launches: float
    """Time in which the GPU waits for the CPU to launch kernels."""

    @property
    def total(self) -> float:
        """All parts together."""
        return sum(self)


def matmul_s(m: float, n: float, inner: float, rate: float, values: float) -> float:
    """Seconds of one matmul of an [m, inner] with an [inner, n] matrix.

    The traffic is added to the operations, since large matmuls rarely overlap both fully. A short side fills the units of
    the GPU badly. `rate`: operations per second; `values`: values that memory moves per second.
    """
    operations = 2 * m * n * inner
    traffic = m * n + m * inner + n * inner
    return operations / rate * (1 + TILE / min(m, n, inner)) + traffic / values


def layer_cost(setup: Setup, rates: Rates, k: Constants) -> LayerCost:
    """The time of an average layer (dense layers and layers with experts by their number)."""
    recipe = setup.recipe
    forward = _projections(setup, rates) + _feed_forward(setup, rates, k)
    attention, attention_backward = _attention(setup, rates)
    elementwise, elementwise_backward = _elementwise(setup, rates, k)
    again = _recomputed(setup)
    # Megatron's selective checkpointing computes attention again, or norms and activation functions if flash attention keeps
    # no scores anyway; PyTorch's half of the matmuls and the element-wise work.
    full, selective = recipe.recompute == "full", recipe.recompute == "selective"
    attention_again = full or (selective and recipe.stack != "torch" and not recipe.flash)
    elementwise_again = full or (selective and (recipe.stack == "torch" or recipe.flash))
    slow = k.legacy if recipe.stack == "legacy" else 1.0
    # With LoRA, weights get no gradients: one matmul in the backward pass instead of two.
    matmuls = forward * ((2.0 if recipe.is_lora else 3.0) + again)
    work = (
        slow * matmuls,
        slow * (attention * (1 + attention_again) + attention_backward),
        slow * (elementwise * (1 + elementwise_again) + elementwise_backward),
        slow * _dequantise(setup, rates),
    )
    busy = sum(work)
    launch = k.launch_s * (LIGHT_LAUNCH if recipe.light else 1.0) * (1 + again / 3)
    return LayerCost(*work, math.hypot(busy, launch) - busy)


def _recomputed(setup: Setup) -> float:
    """Share of the forward matmuls that the backward pass computes again.

    Selective checkpointing in PyTorch keeps every second matmul (torchtitan), in Megatron all of them (arXiv 2205.05198).
    """
    recipe = setup.recipe
    return {"none": 0.0, "selective": 0.5 if recipe.stack == "torch" else 0.0, "full": 1.0}[recipe.recompute]


def output_layer_s(setup: Setup, rates: Rates, k: Constants) -> float:
    """Seconds of output layer and loss for one micro-batch, forward and backward."""
    recipe, shape = setup.recipe, setup.shape
    vocab = shape.vocab / setup.layout.tp
    matmuls = matmul_s(setup.tokens, vocab, shape.hidden, rates.matmul_half, rates.memory / recipe.value_bytes)
    loss = k.elementwise * 16 * setup.tokens * vocab * (0.5 if recipe.light else 1.0) / rates.memory
    slow = k.legacy if recipe.stack == "legacy" else 1.0
    return slow * (matmuls * (2 if recipe.is_lora else 3) + loss)


def _projections(setup: Setup, rates: Rates) -> float:
    """Seconds of the matmuls of attention forward: queries, keys and values together, then the output."""
    shape, t = setup.shape, setup.layout.tp
    h, q, tokens = shape.hidden, shape.query_width, setup.tokens
    values = rates.memory / setup.recipe.value_bytes
    if not shape.latent_kv:
        first = matmul_s(tokens, q / t + 2 * setup.kv_width, h, rates.matmul, values)
        return first + matmul_s(tokens, h, q / t, rates.matmul, values)
    # Latent attention: five matmuls, priced by their weights at full rate.
    weights = shape.attention_parameters
    return (2 * tokens * weights / t) / rates.matmul * (1 + TILE / min(tokens, shape.latent_kv))


def _feed_forward(setup: Setup, rates: Rates, k: Constants) -> float:
    """Seconds of the matmuls of an average feed-forward layer forward."""
    shape, layout = setup.shape, setup.layout
    h, t, tokens, ups = shape.hidden, layout.tp, setup.tokens, shape.ffn_matrices - 1
    values = rates.memory / setup.recipe.value_bytes

    def pair(rows: float, width: float) -> float:
        up = matmul_s(rows, ups * width, h, rates.matmul, values)
        return up + matmul_s(rows, h, width, rates.matmul, values)

    share = setup.expert_share
    dense = pair(tokens, shape.ffn / t) if share < 1 else 0.0
    if not share:
        return dense
    # A GPU has whole experts; the tensor-parallel ranks of a group bring different tokens to them.
    local = max(shape.experts / layout.ep, 1.0)
    routed = local * pair(tokens / t * shape.top_k / local, shape.moe_ffn) * k.experts
    shared = shape.shared_experts * pair(tokens, shape.moe_ffn / t)
    return share * (routed + shared) + (1 - share) * dense


def _attention(setup: Setup, rates: Rates) -> tuple[float, float]:
    """Seconds of attention scores and values, forward and backward."""
    shape, recipe, t = setup.shape, setup.recipe, setup.layout.tp
    span = shape.attention_span(recipe.seq_len)
    causal = 2 * setup.tokens * span * shape.score_width / t
    if recipe.flash:
        forward = causal / rates.attention
        return forward, _BACKWARD_ATTENTION * forward
    # Without flash attention the whole score matrix is computed, written and read: about 3 times with a fused softmax, 5
    # with compiled code, 10 with single kernels (scale, mask, cast, softmax, dropout).
    passes = 3 if recipe.stack == "legacy" else 5 if recipe.compiled else 10
    scores = recipe.value_bytes * setup.tokens * span * shape.heads / t
    forward = 2 * causal / (0.5 * rates.peak) + passes * scores / rates.memory
    return forward, 2 * forward


def _elementwise(setup: Setup, rates: Rates, k: Constants) -> tuple[float, float]:
    """Seconds of norms, activations, residuals and casts, forward and backward: bytes against the memory's bandwidth."""
    shape, recipe, layout = setup.shape, setup.recipe, setup.layout
    h, q, kv, t = shape.hidden, shape.query_width, shape.kv_width, layout.tp
    split = t if layout.sequence_parallel else 1
    ups, wide, size = shape.ffn_matrices - 1, setup.ffn_width, recipe.value_bytes
    moved = size * setup.tokens * (8 * h / split + (2 * (q + 2 * kv) + 2 * ups * wide) / t)
    if shape.gated and recipe.stack == "torch" and not recipe.light:
        # Models of the Llama kind: without compilation, RMSNorm and rotary positions are several kernels each.
        moved += size * setup.tokens * EAGER_PASSES * (2 * h + (q + kv) / t)
    forward = k.elementwise * moved * (LIGHT_ELEMENTWISE if recipe.light else 1.0)
    # Each token is copied to its experts and back: read and write, before and after the exchange.
    forward += setup.expert_share * 8 * size * setup.tokens * shape.top_k * h / split
    backward = 2 * forward
    if recipe.precision == "fp8":
        forward += FP8_CAST_BYTES * setup.tokens * (2 * h + (q + wide) / t)
        backward += FP8_CAST_BYTES * setup.tokens * (2 * h + (q + 2 * kv + ups * wide) / t)
    return forward / rates.memory, backward / rates.memory


def _dequantise(setup: Setup, rates: Rates) -> float:
    """Seconds to turn the layer's 4-bit weights into 16-bit ones for every pass: read, write, and read for the matmul."""
    if setup.recipe.method != "qlora":
        return 0.0
    weights = sum(setup.layer_weights)
    passes = 3 if setup.recipe.recompute == "full" else 2
    return passes * weights * (NF4_BYTES + 2 + 2) / rates.memory
