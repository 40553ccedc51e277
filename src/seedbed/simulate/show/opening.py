"""The beginning of a run of the show: model, data, nodes, communication, GPUs, layout, schedule."""

from __future__ import annotations

import math
from collections.abc import Iterator

from seedbed.events import Comm, Hardware
from seedbed.simulate.counter_random import Stream
from seedbed.simulate.show.items import (
    Batch,
    Beat,
    Connected,
    DataLoaded,
    GpusChecked,
    LearningRate,
    ModelBuilt,
    Precision,
    Rendezvous,
    Ring,
    RunBegins,
    Strategy,
    TokenizerLoaded,
    Tree,
)
from seedbed.simulate.show.pace import Pace
from seedbed.simulate.show.playlist import Take

RANKS_SHOWN = 24
LEARNING_RATE_SAMPLES = 48
_PAUSE_S, _JOIN_S = 0.28, 1.2
_PORTS = (29400, 29600)
_FIRST_WEIGHTS_SHARE = 0.3
"""Share of a GPU's final memory that its weights take. Assumed."""


def opening(take: Take, pace: Pace) -> Iterator[Beat]:
    """The items before the first step: about 8 seconds."""
    given, draw = take.scenario, Stream(take.scenario.seed, "opening")
    yield pace.show(_begins(take), 2 * _PAUSE_S)
    yield pace.show(_model(take), _PAUSE_S)
    yield pace.show(TokenizerLoaded(name=f"{take.shape.name.lower()}-tokenizer", vocab=take.shape.vocab), _PAUSE_S)
    yield pace.show(_data(take), 2 * _PAUSE_S)
    low, high = _PORTS
    port = low + draw.below(0, high - low)
    yield pace.show(
        Rendezvous(host="node-000", port=port, nodes=given.nodes, num_gpus=take.num_gpus),
        3 * _PAUSE_S,
    )
    pace.hold(_JOIN_S)
    yield from _gpus(take, pace)
    yield from _nccl(take, pace, draw)
    yield from _settings(take, pace)
    weights = 2 * take.shape.parameters // max(take.plan.setup.layout.tp * take.plan.setup.layout.pp, 1)
    yield pace.show(_loading(take, _FIRST_WEIGHTS_SHARE))
    yield pace.show(Comm(op="broadcast", size_bytes=weights, elapsed_s=round(weights / 40e9 + 0.1, 3)), 2 * _PAUSE_S)
    yield pace.show(Comm(op="barrier", size_bytes=0, elapsed_s=round(2e-5 * math.log2(take.num_gpus + 1), 6)), _PAUSE_S)


def _begins(take: Take) -> RunBegins:
    return RunBegins(
        number=take.number,
        seed=take.options.seed,
        model=take.shape.name,
        num_gpus=take.num_gpus,
        nodes=take.scenario.nodes,
        gpus_per_node=take.scenario.gpus_per_node,
        gpu=take.gpu.name,
        dataset=take.dataset.name,
    )


def _model(take: Take) -> ModelBuilt:
    shape = take.shape
    return ModelBuilt(
        name=shape.name,
        parameters=shape.parameters,
        active_parameters=shape.active_parameters,
        layers=shape.layers,
        hidden=shape.hidden,
        heads=shape.heads,
        kv_heads=shape.kv_heads,
        ffn=shape.moe_ffn if shape.experts else shape.ffn,
        vocab=shape.vocab,
        experts=shape.experts,
        top_k=shape.top_k,
    )


def _data(take: Take) -> DataLoaded:
    return DataLoaded(
        name=take.dataset.name,
        documents=take.dataset.documents,
        tokens=take.dataset.tokens,
        used_documents=take.used_documents,
        sequences=take.sequences,
        seq_len=take.seq_len,
        domains=take.dataset.domains,
    )


def _gpus(take: Take, pace: Pace) -> Iterator[Beat]:
    given = take.scenario
    listed = min(2, given.nodes)
    groups = [(node, 1) for node in range(listed)]
    if given.nodes > listed:
        groups.append((listed, given.nodes - listed))
    for first, nodes in groups:
        gpus = min(nodes * given.gpus_per_node, take.num_gpus - first * given.gpus_per_node)
        yield pace.show(
            GpusChecked(
                first_node=first, nodes=nodes, gpus=gpus, gpu=take.gpu.name, memory_bytes=given.gpu_memory_bytes
            ),
            _PAUSE_S,
        )


def _nccl(take: Take, pace: Pace, draw: Stream) -> Iterator[Beat]:
    if take.num_gpus < 2:
        return
    given, channels = take.scenario, (4, 8, 16)[draw.below(1, 3)]
    for channel in (0, channels - 1):
        yield pace.show(
            Ring(channel=channel, channels=channels, ranks=ring(take.num_gpus, given.gpus_per_node, channel)),
            _PAUSE_S / 3,
        )
    for node in sorted({0, 1, given.nodes - 1}):
        if node < given.nodes:
            yield pace.show(tree(node, given.nodes, given.gpus_per_node, take.num_gpus), _PAUSE_S / 3)
    seconds = given.reliability.init_s(given.gpus)
    yield pace.show(Connected(what="rings", channels=channels, elapsed_s=round(0.6 * seconds, 2)), _PAUSE_S)
    yield pace.show(Connected(what="trees", channels=channels, elapsed_s=round(0.9 * seconds, 2)), _PAUSE_S)


def ring(num_gpus: int, per_node: int, channel: int) -> tuple[int, ...]:
    """The first ranks of a ring: node after node; in each node, another GPU begins in each channel."""
    return tuple(
        min(rank - rank % per_node + (rank + channel) % per_node, num_gpus - 1)
        for rank in range(min(num_gpus, RANKS_SHOWN))
    )


def tree(node: int, nodes: int, per_node: int, num_gpus: int) -> Tree:
    """The neighbours of a node's first rank: the next GPU of the node, and the nodes below and above in a binary tree."""
    rank = node * per_node
    local = rank + 1 if per_node > 1 and rank + 1 < num_gpus else -1
    below = [child * per_node if child < nodes else -1 for child in (2 * node + 1, 2 * node + 2)]
    return Tree(rank=rank, children=(local, below[0], below[1]), parent=(node - 1) // 2 * per_node if node else -1)


def _settings(take: Take, pace: Pace) -> Iterator[Beat]:
    given, setup = take.scenario, take.plan.setup
    layout, recipe = setup.layout, setup.recipe
    yield pace.show(
        Strategy(
            dp=layout.dp,
            tp=layout.tp,
            pp=layout.pp,
            cp=layout.cp,
            ep=layout.ep,
            zero=layout.zero,
            shard=layout.shard,
            interleave=layout.interleave,
            recompute=recipe.recompute,
        ),
        _PAUSE_S,
    )
    yield pace.show(
        Batch(
            sequences=given.sequences_per_step,
            tokens=given.tokens_per_step,
            per_gpu=given.sequences_per_step / take.num_gpus,
            micro_batch=int(layout.micro_batch),
            accumulation=round(setup.micro_batches),
            ranks=layout.dp,
        ),
        _PAUSE_S,
    )
    yield pace.show(Precision(name=recipe.precision, reduce_bytes=recipe.reduce_bytes), _PAUSE_S)
    schedule = given.loss_curve().schedule
    last = LEARNING_RATE_SAMPLES - 1
    steps = [1 + round(number * (given.steps - 1) / last) for number in range(LEARNING_RATE_SAMPLES)]
    yield pace.show(
        LearningRate(
            peak=given.lr,
            kind=given.schedule,
            warmup_steps=given.warmup_steps,
            steps=given.steps,
            samples=tuple(round(schedule.multiplier(step), 4) for step in steps),
        ),
        2 * _PAUSE_S,
    )


def _loading(take: Take, share: float) -> Hardware:
    given = take.scenario
    return Hardware(
        gpu_fraction=0.05,
        gpu_used_bytes=round(share * given.gpu_used_bytes),
        gpu_total_bytes=given.gpu_memory_bytes or None,
        gpu_power_w=1.2 * given.gpu_idle_w,
        gpu_count=given.gpus,
    )
