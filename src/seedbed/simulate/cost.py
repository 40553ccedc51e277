"""The time of one optimizer step, and where it goes."""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec

from seedbed.simulate.communication import (
    context_parallel_s,
    expert_parallel_s,
    gradient_sum_s,
    pipeline_transfer_s,
    sharded_weights_s,
    tensor_parallel_s,
)
from seedbed.simulate.constants import OPTIMIZER_BYTES, STRAGGLER, Constants, fitted
from seedbed.simulate.layer_cost import layer_cost, output_layer_s
from seedbed.simulate.rates import peak_rate, rates_of
from seedbed.simulate.setup import Setup

_ROUNDING = 1 - 1e-9
"""Keeps the bound below the cost, which adds the same numbers in another order."""


class StepCost(NamedTuple):
    """The predicted time of one optimizer step."""

    step_s: float
    parts: dict[str, float]
    """Seconds of the step by part; they add up to `step_s`."""
    tokens_per_s: float
    """Tokens per second of all GPUs together."""
    tokens_per_s_per_gpu: float
    mfu: float
    """Model FLOPs utilisation: useful operations (full attention matrix, no recomputation) against the 16-bit peak rate.

    With LoRA, only the operations that it needs count; in fp32, the peak rate is that of fp32."""


def step_cost(setup: Setup, k: Constants | None = None) -> StepCost:
    """Predict the time of one optimizer step; `k` are the constants of the model, by default the fitted ones."""
    k = k or fitted()
    parts = {name: seconds * setup.micro_batches for name, seconds in _micro_batch(setup, k).items()}
    micro_batch_s = sum(parts.values()) / setup.micro_batches
    # 1F1B: the stages wait for p - 1 micro-batches; with v virtual stages for 1/v of that (arXiv 2104.04473).
    parts["pipeline bubble"] = micro_batch_s * (setup.layout.pp - 1) / setup.layout.interleave
    parts["gradient sum"] = gradient_sum_s(setup, k, micro_batch_s)
    shards = max(1, setup.layout.shard) if setup.layout.zero else 1
    parts["optimizer"] = OPTIMIZER_BYTES * setup.share(setup.trained, shards) / rates_of(setup, k).memory
    parts["stragglers"] = sum(parts.values()) * STRAGGLER * math.log2(max(1.0, setup.num_gpus / 8))
    step_s = sum(parts.values())
    per_gpu = setup.tokens_per_step / step_s / setup.num_gpus
    return StepCost(
        step_s,
        {name: seconds for name, seconds in parts.items() if seconds},
        per_gpu * setup.num_gpus,
        per_gpu,
        per_gpu * setup.flops_per_token / peak_rate(setup.gpu, setup.recipe.precision),
    )


class StepBound:
    """Lower bounds of the time of a step, for the layouts of one training: `step_cost` takes ten times as long.

    Of a micro-batch, a bound counts what does not depend on pipeline, data parallelism and sharding, so layouts share it; and
    of the rest only the sharded weights, the pipeline bubble and the stragglers. Between calls, only the layout and `recompute`
    may differ. More recomputation hides more communication, but takes longer than it hides.
    """

    def __init__(self, setup: Setup) -> None:
        self._k = fitted()
        self._rates = rates_of(setup, self._k)
        self._slowest = (1 + STRAGGLER * math.log2(max(1.0, setup.num_gpus / 8))) * _ROUNDING
        self._shared: dict[tuple[float | str, ...], tuple[float, float]] = {}
        """Seconds of a layer without context parallelism and sharding, and of the output layer."""
        self._context: dict[tuple[float, ...], float] = {}
        """Seconds of context parallelism of a layer."""

    def without_recomputation(self, setup: Setup) -> float:
        """Seconds that a step takes at least, also with other activation checkpointing."""
        return self._bound(setup, "none")

    def __call__(self, setup: Setup) -> float:
        """Seconds that a step takes at least."""
        return self._bound(setup, setup.recipe.recompute)

    def _bound(self, setup: Setup, recompute: str) -> float:
        layout = setup.layout
        key = (layout.tp, layout.ep, setup.tokens, recompute)
        found = self._shared.get(key)
        if found is None:
            recipe = msgspec.structs.replace(setup.recipe, recompute=recompute)
            found = self._shared[key] = self._layer_and_output(msgspec.structs.replace(setup, recipe=recipe))
        layer_s = found[0]
        if layout.cp > 1:
            around = (layout.tp, layout.cp, setup.tokens)
            if around not in self._context:
                self._context[around] = context_parallel_s(setup, self._k)
            layer_s += self._context[around]
        if layout.zero >= 3:
            layer_s += sharded_weights_s(setup, self._k, layer_s)
        busy_s = setup.layers_per_stage * layer_s + found[1]
        return busy_s * (setup.micro_batches + (layout.pp - 1) / layout.interleave) * self._slowest

    def _layer_and_output(self, setup: Setup) -> tuple[float, float]:
        k, rates = self._k, self._rates
        exchange = tensor_parallel_s(setup, k) + expert_parallel_s(setup, k)
        return layer_cost(setup, rates, k).total + exchange, output_layer_s(setup, rates, k)


def _micro_batch(setup: Setup, k: Constants) -> dict[str, float]:
    """Seconds of one micro-batch on the pipeline stage that sets the pace, by part."""
    rates = rates_of(setup, k)
    layer = layer_cost(setup, rates, k)
    exchange = tensor_parallel_s(setup, k), context_parallel_s(setup, k), expert_parallel_s(setup, k)
    sharded = sharded_weights_s(setup, k, layer.total + sum(exchange))
    here = setup.layers_per_stage
    return {
        "matmuls": here * layer.matmuls,
        "attention": here * layer.attention,
        "element-wise": here * layer.elementwise,
        "dequantise": here * layer.dequantise,
        "kernel launches": here * layer.launches,
        "tensor parallel": here * exchange[0],
        "context parallel": here * exchange[1],
        "expert parallel": here * exchange[2],
        "sharded weights": here * sharded,
        "output layer": output_layer_s(setup, rates, k),
        "pipeline transfer": pipeline_transfer_s(setup, k),
    }
