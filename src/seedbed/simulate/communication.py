"""The time of communication: tensor, context and expert parallelism, sharded weights, gradient sums, pipelines."""

from __future__ import annotations

import math

from seedbed.simulate.constants import CP_EXPOSED, TP_EXPOSED_FUSED, Constants
from seedbed.simulate.layer_cost import NF4_BYTES
from seedbed.simulate.rates import link_bandwidth, network_bandwidth, ring_bandwidth
from seedbed.simulate.setup import Setup

LINK_LATENCY_S = 10e-6
"""Time of one step of a collective inside a node with a small message (Calculon's A100 system file)."""
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
    once = all_reduce_s(2 * setup.tokens * setup.shape.hidden, t, ring_bandwidth(setup, t, 1, k), 0.0)
    return count * once * (TP_EXPOSED_FUSED if setup.recipe.stack == "fused" else 1.0)


def context_parallel_s(setup: Setup, k: Constants) -> float:
    """Seconds of context parallelism that attention does not hide, for one layer and micro-batch.

    Keys and values go around the ring, once forward and twice backward (ring attention, arXiv 2310.01889).
    """
    c, t = setup.layout.cp, setup.layout.tp
    if c == 1:
        return 0.0
    around = 2 * setup.tokens * 2 * setup.shape.kv_width / t * (c - 1)
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
    nodes = max(1.0, layout.ep * layout.tp / setup.node_gpus)
    token_bytes = 2 * setup.tokens * shape.hidden / split
    inside = token_bytes * shape.top_k * (1 - 1 / min(layout.ep, setup.node_gpus)) / link_bandwidth(setup.gpu)
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
    local = setup.local_layer_parameters
    stored = NF4_BYTES if recipe.method == "qlora" else 2.0
    trained = recipe.lora_parameters / setup.shape.layers / layout.tp if recipe.is_lora else local
    volume = (2 * stored * local + recipe.reduce_bytes * trained) * (layout.shard - 1) / layout.shard
    whole = volume / ring_bandwidth(setup, layout.shard, layout.tp * layout.cp, k)
    return exposed(whole, compute_s, setup, k)


def gradient_sum_s(setup: Setup, k: Constants, compute_s: float) -> float:
    """Seconds of summing gradients over data-parallel ranks that compute does not hide, once per step.

    Without sharding an all-reduce; with a sharded optimizer a reduce-scatter of gradients and an all-gather of weights.
    `compute_s`: the compute of one micro-batch, during which the sum can run.
    """
    layout, recipe = setup.layout, setup.recipe
    ranks = layout.dp * layout.cp
    if layout.zero >= 3 or ranks < 2:
        return 0.0
    each = recipe.reduce_bytes + (2.0 if layout.zero else recipe.reduce_bytes)
    volume = each * setup.trained_per_gpu * (ranks - 1) / ranks
    whole = volume / ring_bandwidth(setup, ranks, layout.tp, k)
    return exposed(whole, compute_s * min(1.0, setup.micro_batches), setup, k)


def pipeline_transfer_s(setup: Setup, k: Constants) -> float:
    """Seconds to send activations to the next pipeline stage and gradients back, for one micro-batch."""
    layout = setup.layout
    if layout.pp == 1:
        return 0.0
    volume = 2 * 2 * setup.tokens * setup.shape.hidden / layout.tp * layout.interleave
    # Interleaved schedules send while they compute.
    return volume * (0.5 if layout.interleave > 1 else 1.0) / ring_bandwidth(setup, 2, setup.node_gpus, k)


def exposed(whole_s: float, compute_s: float, setup: Setup, k: Constants) -> float:
    """The part of communication that compute does not hide: a fixed share, and what does not fit into the compute."""
    share = k.exposed_fused if setup.recipe.stack == "fused" else k.exposed_torch
    return share * whole_s + max(0.0, (1 - share) * whole_s - _HIDDEN_BY_COMPUTE * compute_s)
