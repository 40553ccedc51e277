"""The time of communication: tensor, context and expert parallelism, sharded weights, gradient sums, pipelines."""

from __future__ import annotations

import math

from seedbed.simulate.constants import CP_EXPOSED, TP_EXPOSED_FUSED, Constants
from seedbed.simulate.layer_cost import NF4_BYTES
from seedbed.simulate.rates import network_bandwidth, node_bandwidth, ring_bandwidth
from seedbed.simulate.setup import Setup, Weights

LINK_LATENCY_S = 10e-6
"""Time of one step of a collective inside a node with a small message (Calculon's A100 system file)."""
NETWORK_LATENCY_S = 20e-6
"""The same between nodes."""
_HIDDEN_BY_COMPUTE = 0.8
"""Share of the compute time in which communication that may overlap does overlap."""


def all_reduce_s(size_bytes: float, ranks: int, bandwidth: float, latency_s: float) -> float:
    """Seconds of an all-reduce: the faster of a ring and a double binary tree (alpha-beta model).

    Ring: 2 (n - 1) steps, and each rank sends 2 (n - 1) / n of the data. Tree: 2 log2 n steps, and each rank sends the data
    twice. (Thakur et al. 2005; NCCL 2.4 for the trees.)
    """
    if ranks < 2:
        return 0.0
    ring = 2 * (ranks - 1) * latency_s + 2 * (ranks - 1) / ranks * size_bytes / bandwidth
    tree = 2 * math.ceil(math.log2(ranks)) * latency_s + 2 * size_bytes / bandwidth
    return min(ring, tree)


def tensor_parallel_s(setup: Setup, k: Constants) -> float:
    """Seconds of tensor parallelism that compute does not hide, for one layer and micro-batch.

    Two all-reduces forward and two backward (Megatron-LM, arXiv 1909.08053), two more with full recomputation. With
    sequence parallelism, each is a reduce-scatter and an all-gather of the same volume.
    """
    t = setup.layout.tp
    if t == 1:
        return 0.0
    count = 4 + (2 if setup.recipe.recompute == "full" else 0)
    size = setup.recipe.value_bytes * setup.tokens * setup.shape.hidden
    once = all_reduce_s(size, t, ring_bandwidth(setup, t, 1, k), LINK_LATENCY_S)
    return count * once * (TP_EXPOSED_FUSED if setup.recipe.stack == "fused" else 1.0)


def context_parallel_s(setup: Setup, k: Constants) -> float:
    """Seconds of context parallelism that attention does not hide, for one layer and micro-batch.

    Keys and values go around the ring, once forward and twice backward (ring attention, arXiv 2310.01889).
    """
    c, t = setup.layout.cp, setup.layout.tp
    if c == 1:
        return 0.0
    around = setup.recipe.value_bytes * setup.tokens * 2 * setup.kv_width * (c - 1)
    return CP_EXPOSED * 3 * around / ring_bandwidth(setup, c, t, k)


def expert_parallel_s(setup: Setup, k: Constants) -> float:
    """Seconds of the four exchanges of tokens between experts, for one average layer and micro-batch.

    Inside a node each token goes to each of its experts. Between nodes it goes once to each node that has some of its
    experts (hierarchical exchange without duplicates).
    """
    layout, shape = setup.layout, setup.shape
    if layout.ep == 1 or not setup.expert_share:
        return 0.0
    split = layout.tp if layout.sequence_parallel else 1
    nodes = max(1.0, layout.ep / setup.node_gpus)
    token_bytes = setup.recipe.value_bytes * setup.tokens * shape.hidden / split
    near = min(layout.ep, setup.node_gpus)
    inside = token_bytes * shape.top_k * (1 - 1 / near) / node_bandwidth(setup, near)
    remote = (nodes - 1) * (1 - (1 - 1 / nodes) ** shape.top_k) if nodes > 1 else 0.0
    return 4 * (inside + token_bytes * remote / network_bandwidth(setup, k)) * setup.expert_share


def sharded_weights_s(setup: Setup, k: Constants, compute_s: float) -> float:
    """Seconds of gathering the sharded weights of a layer that compute does not hide, for one micro-batch.

    Gather for the forward and for the backward pass, then scatter the gradients (FSDP, arXiv 2304.11277). `compute_s`: the
    layer's compute.
    """
    layout, recipe = setup.layout, setup.recipe
    if layout.zero < 3 or layout.shard < 2:
        return 0.0
    layer = setup.layer_weights
    stored = NF4_BYTES if recipe.method == "qlora" else float(recipe.value_bytes)
    each = 2 * stored + (0.0 if recipe.is_lora else recipe.reduce_bytes)
    whole = _over_ranks(setup, Weights(each * layer.dense, each * layer.experts), layout.shard, k)
    return exposed(whole, compute_s, setup, k)


def _over_ranks(setup: Setup, sizes: Weights, ranks: int, k: Constants) -> float:
    """Seconds of one reduce-scatter or all-gather of these bytes over data-parallel ranks.

    Experts go over the fewer ranks that have the same ones, which are further apart.
    """
    layout = setup.layout
    dense = sizes.dense * (ranks - 1) / ranks / ring_bandwidth(setup, ranks, layout.tp, k)
    copies = setup.expert_ranks(ranks)
    if copies <= 1 or not sizes.experts:
        return dense
    return dense + sizes.experts * (copies - 1) / copies / ring_bandwidth(setup, round(copies), layout.ep, k)


def gradient_sum_s(setup: Setup, k: Constants, compute_s: float) -> float:
    """Seconds of summing gradients over data-parallel ranks that compute does not hide, once per step.

    Without sharding an all-reduce; with a sharded optimizer a reduce-scatter of gradients and an all-gather of weights.
    `compute_s`: the compute of one micro-batch, during which the sum can run.
    """
    layout, recipe = setup.layout, setup.recipe
    ranks, trained = layout.dp * layout.cp, setup.trained
    if layout.zero >= 3:
        # Fully sharded in groups smaller than all ranks: the groups sum their shares of the gradients.
        groups = ranks // max(1, layout.shard)
        if groups < 2:
            return 0.0
        share = 2 * recipe.reduce_bytes * setup.share(trained, layout.shard)
        whole = share * (groups - 1) / groups / ring_bandwidth(setup, groups, layout.tp * layout.shard, k)
        return exposed(whole, compute_s, setup, k)
    if ranks < 2:
        return 0.0
    each = recipe.reduce_bytes + (float(recipe.value_bytes) if layout.zero else recipe.reduce_bytes)
    whole = _over_ranks(setup, Weights(each * trained.dense, each * trained.experts), ranks, k)
    return exposed(whole, compute_s, setup, k)


def pipeline_transfer_s(setup: Setup, k: Constants) -> float:
    """Seconds to send activations to the next pipeline stage and gradients back, for one micro-batch."""
    layout = setup.layout
    if layout.pp == 1:
        return 0.0
    volume = 2 * setup.recipe.value_bytes * setup.tokens * setup.shape.hidden / layout.tp * layout.interleave
    # Interleaved schedules send while they compute.
    return (
        volume
        * (0.5 if layout.interleave > 1 else 1.0)
        / ring_bandwidth(setup, 2, layout.tp * layout.cp * layout.dp, k)
    )


def exposed(whole_s: float, compute_s: float, setup: Setup, k: Constants) -> float:
    """The part of communication that compute does not hide: a fixed share, and what does not fit into the compute."""
    share = k.exposed_fused if setup.recipe.stack == "fused" else k.exposed_torch
    return share * whole_s + max(0.0, (1 - share) * whole_s - _HIDDEN_BY_COMPUTE * compute_s)
