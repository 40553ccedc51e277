"""What a training needs: time, memory, money, energy, failures, and the loss to expect."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from seedbed.errors import SeedbedError
from seedbed.simulate.communication import LINK_LATENCY_S, NETWORK_LATENCY_S, all_reduce_s
from seedbed.simulate.constants import fitted, fitted_file
from seedbed.simulate.cost import StepCost
from seedbed.simulate.failures import Reliability
from seedbed.simulate.intervals import factor_of
from seedbed.simulate.layouts import Candidate, check_layout, fastest, layout_text, search
from seedbed.simulate.loss import BESIROGLU
from seedbed.simulate.memory import GIB, Memory
from seedbed.simulate.power import power_w
from seedbed.simulate.progress import expected_share, fails_much, progress_of, share_text
from seedbed.simulate.rates import peak_rate, ring_bandwidth
from seedbed.simulate.request import Request, setup_of
from seedbed.simulate.scenario import Collective, Scenario
from seedbed.simulate.setup import Layout, Setup

DAY_S = 86_400.0
STORAGE_GBPS_PER_NODE = 2.0
"""Bandwidth of storage for each node in 10^9 bytes per second (BLOOM: 57 GB/s from 48 nodes is 1.2; assumed)."""
CHECKPOINT_BYTES = 14.0
"""Bytes of a checkpoint for each trained parameter: fp32 weight and two moments, and the 16-bit weight (BLOOM: 13)."""
HOST_COPY_GBPS = 10.0
"""Rate at which a GPU copies its part of a checkpoint to host memory (assumed: half of PCIe)."""
HOPELESS = 0.02
"""Plans whose effective share of the time is below this are refused: the run would hardly end."""


class Whole(NamedTuple):
    """A training from its start to its end, with checkpoints, failures and recovery."""

    train_s: float
    """Seconds of the steps alone."""
    effective: float
    """Expected share of the time that is training which counts."""
    wall_s: float
    """Seconds from start to end."""
    gpu_hours: float
    usd: float | None
    """Cost of the GPUs; None if no price is known."""


def whole_of(scenario: Scenario, usd_per_hour: float | None) -> Whole:
    """The whole of a training."""
    train_s = scenario.steps * scenario.step_s
    effective = expected_share(scenario)
    wall_s = train_s / effective if effective else math.inf
    gpu_hours = wall_s * scenario.gpus / 3600
    return Whole(train_s, effective, wall_s, gpu_hours, None if usd_per_hour is None else gpu_hours * usd_per_hour)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything predicted about one training. Times in seconds, sizes in bytes."""

    setup: Setup
    cost: StepCost
    memory: Memory
    factor: float
    """80 % interval: throughput lies within predicted / factor and predicted * factor."""
    steps: int
    tokens: float
    assumed: tuple[str, ...]
    scenario: Scenario
    usd_per_hour: float | None
    """Price of one GPU; None: unknown."""
    candidates: tuple[Candidate, ...]
    """The layouts that fit, fastest first, if all were compared; else only the fastest."""
    tried: int
    """Number of layouts that were possible."""
    target_days: float | None = None
    notes: tuple[str, ...] = ()
    """What is odd about the request."""

    @property
    def whole(self) -> Whole:
        """The training from start to end."""
        return whole_of(self.scenario, self.usd_per_hour)

    @property
    def train_s(self) -> float:
        """Seconds of the steps alone."""
        return self.whole.train_s

    @property
    def effective(self) -> float:
        """Expected share of the time that is training which counts."""
        return self.whole.effective

    @property
    def wall_s(self) -> float:
        """Seconds from start to end, with checkpoints, failures and recovery."""
        return self.whole.wall_s

    @property
    def gpu_hours(self) -> float:
        """GPU hours from start to end."""
        return self.whole.gpu_hours

    @property
    def usd(self) -> float | None:
        """Cost of the GPUs; None if no price is known."""
        return self.whole.usd

    @property
    def is_late(self) -> bool:
        """Whether the target is missed."""
        return self.target_days is not None and self.wall_s > self.target_days * DAY_S

    @property
    def energy_kwh(self) -> float | None:
        """Energy of the machines, with their cooling in a data centre; None if the GPU's power is not known."""
        watts = power_w(self.setup.gpu, self.setup.num_gpus)
        return None if watts is None else self.wall_s / 3600 * watts / 1000

    @property
    def loss(self) -> float:
        """Expected loss in nats per token of web text, by the scaling law over active parameters; at most that of guessing."""
        shape = self.setup.shape
        return min(BESIROGLU.loss(shape.active_parameters, self.tokens), math.log(shape.vocab))


def make_plan(request: Request, *, ranked: bool = False, changes: Mapping[str, Any] | None = None) -> Plan:
    """Plan a training; without a given layout, the fastest that fits.

    `ranked`: compare all layouts, which takes longer. `changes`: fields of the scenario that replace the planned ones. Raises
    UsageError for impossible values, and SeedbedError if the model does not fit, with what does, or if the run would hardly
    make progress.
    """
    assumed = list(request.said)
    setup, tokens = setup_of(request, assumed)
    fixed = request.parallel
    if ranked:
        found, tried = search(setup, fixed, request.recompute)
    else:
        first, tried = fastest(setup, fixed, request.recompute)
        found = [first] if first else []
    if not found:
        if tried == 0:
            check_layout(msgspec.structs.replace(setup, layout=_given_layout(setup, fixed)))
        from seedbed.simulate.alternatives import does_not_fit

        def setup_on(num_gpus: int) -> Setup:
            return setup_of(msgspec.structs.replace(request, num_gpus=num_gpus, parallel={}), [])[0]

        def with_qlora() -> Setup:
            return setup_of(msgspec.structs.replace(request, method="qlora", parallel={}), [])[0]

        raise does_not_fit(setup, fixed, request.recompute, setup_on, with_qlora)
    best = found[0]
    assumed.append(
        "the fastest layout that fits" if not fixed else "what --parallel leaves open: the fastest that fits"
    )
    steps = _steps(setup, tokens)
    scenario = scenario_of(best, steps, **(changes or {}))
    price = request.usd_per_hour if request.usd_per_hour is not None else request.gpu.usd_per_hour or None
    plan = Plan(
        setup=best.setup,
        cost=best.cost,
        memory=best.memory,
        factor=factor_of(best.setup, fitted_file().spreads),
        steps=steps,
        tokens=steps * setup.tokens_per_step,
        assumed=tuple(assumed),
        scenario=scenario,
        usd_per_hour=price,
        candidates=tuple(found),
        tried=tried,
        target_days=request.target_days,
        notes=_notes(request, best.setup, tokens, scenario),
    )
    if plan.effective < HOPELESS:
        raise _hopeless(plan)
    return plan


def _notes(request: Request, setup: Setup, tokens: float, scenario: Scenario) -> tuple[str, ...]:
    shape, seq_len, found = request.shape, setup.recipe.seq_len, []
    if seq_len > shape.context:
        found.append(f"sequences of {seq_len:,} tokens are longer than the context of {shape.name}, {shape.context:,}")
    if tokens < setup.tokens_per_step:
        found.append(f"the tokens are fewer than those of one step, {setup.tokens_per_step:,.0f}; one step is planned")
    if fails_much(scenario):
        expected = progress_of(scenario)
        found.append(
            f"only {share_text(expected.share)} of the time counts: {expected.cause}; what would help: "
            f"{', '.join(expected.helps)}"
        )
    return tuple(found)


def _hopeless(plan: Plan) -> SeedbedError:
    """The error for a run that would hardly make progress, with what causes it and what would help."""
    expected = progress_of(plan.scenario)
    return SeedbedError(
        f"On {plan.setup.num_gpus:,} {plan.setup.gpu.name}, this run would hardly make progress: {share_text(expected.share)} "
        f"of the time would count, because {expected.cause}.",
        f"What would help: {', '.join(expected.helps)}.",
    )


def try_plan(request: Request) -> Whole | None:
    """The whole training in its fastest layout; None if none fits, or if it would hardly end.

    Raises UsageError for impossible values.
    """
    setup, tokens = setup_of(request, [])
    found = fastest(setup, request.parallel, request.recompute)[0]
    if found is None:
        return None
    whole = whole_of(scenario_of(found, _steps(setup, tokens)), None)
    return whole if whole.effective >= HOPELESS else None


def _steps(setup: Setup, tokens: float) -> int:
    return max(1, round(tokens / setup.tokens_per_step))


class Ranked(NamedTuple):
    """A layout that fits, with the whole training in it."""

    found: Candidate
    whole: Whole


def plan_on_fewer_gpus(request: Request) -> tuple[Plan, list[Ranked], int]:
    """The plan, the layouts that fit on all GPUs or on a half, a quarter, ... of them, and how many were compared.

    The batch and the tokens stay the same. Raises as `make_plan` does.
    """
    first = make_plan(request, ranked=True)
    found, tried, num_gpus = list(first.candidates), first.tried, request.num_gpus
    same = msgspec.structs.replace(
        request,
        tokens=first.tokens,
        global_batch_tokens=first.setup.tokens_per_step,
        seq_len=first.setup.recipe.seq_len,
        stack=first.setup.recipe.stack,
    )
    while num_gpus % 2 == 0 and num_gpus > max(1, request.num_gpus // 16) and "dp" not in request.parallel:
        num_gpus //= 2
        try:
            fewer = make_plan(msgspec.structs.replace(same, num_gpus=num_gpus), ranked=True)
        except SeedbedError:
            break  # it fits on no smaller number either
        found += fewer.candidates
        tried += fewer.tried
    ranked = [Ranked(each, whole_of(scenario_of(each, first.steps), first.usd_per_hour)) for each in found]
    return first, [each for each in ranked if each.whole.effective >= HOPELESS], tried


def _given_layout(setup: Setup, fixed: dict[str, int]) -> Layout:
    tp, pp, cp = (fixed.get(each, 1) for each in ("tp", "pp", "cp"))
    dp = fixed.get("dp", max(1, setup.num_gpus // (tp * pp * cp)))
    return Layout(
        tp=tp,
        pp=pp,
        cp=cp,
        dp=dp,
        ep=fixed.get("ep", 1),
        interleave=fixed.get("interleave", 1),
        micro_batch=fixed.get("micro_batch", 1),
    )


def scenario_of(found: Candidate, steps: int, **changes: Any) -> Scenario:
    """What the simulator needs about this training; `changes` replace fields of the scenario."""
    setup, cost = found.setup, found.cost
    shape, gpu = setup.shape, setup.gpu
    per_node = max(each for each in range(1, gpu.gpus_per_node + 1) if setup.num_gpus % each == 0)
    nodes = setup.num_gpus // per_node
    trained = setup.recipe.lora_parameters or shape.parameters
    size = CHECKPOINT_BYTES * trained
    blocking_s = size / setup.num_gpus / (HOST_COPY_GBPS * 1e9) + 0.5
    write_s = size / (STORAGE_GBPS_PER_NODE * 1e9 * nodes)
    values: dict[str, Any] = {
        "model": shape.name,
        "gpu": gpu.name,
        "layout": layout_text(setup),
        "precision": setup.recipe.precision,
        "parameters": shape.parameters,
        "active_parameters": shape.active_parameters,
        "vocab": shape.vocab,
        "steps": steps,
        "tokens_per_step": round(setup.tokens_per_step),
        "sequences_per_step": round(setup.recipe.global_batch),
        "step_s": cost.step_s,
        "parts": {name.replace(" ", "_").replace("-", "_"): seconds for name, seconds in cost.parts.items()},
        "collectives": _collectives(setup),
        "flops_per_token": setup.flops_per_token,
        "peak_flops": peak_rate(gpu, setup.recipe.precision),
        "nodes": nodes,
        "gpus_per_node": per_node,
        "spare_nodes": math.ceil(0.02 * nodes) if nodes > 1 else 0,
        "gpu_memory_bytes": round(gpu.usable_gib * GIB),
        "gpu_used_bytes": round(found.memory.total),
        "gpu_idle_w": gpu.idle_w,
        "gpu_power_w": gpu.power_w,
        "checkpoint_bytes": round(size),
        "checkpoint_blocking_s": blocking_s,
        "checkpoint_write_s": write_s,
        "load_s": max(1.0, write_s / 2),
        "reliability": Reliability(),
        "warmup_steps": min(2000, steps // 50),
    }
    return Scenario(**{**values, **changes})


def _collectives(setup: Setup) -> tuple[Collective, ...]:
    """One call of each kind of collective in a step: its bytes per GPU and its seconds, also if compute hides them."""
    layout, recipe, found = setup.layout, setup.recipe, []
    k = fitted()
    if layout.tp > 1:
        size = recipe.value_bytes * setup.tokens * setup.shape.hidden
        bandwidth = ring_bandwidth(setup, layout.tp, 1, k)
        found.append(Collective("all_reduce", round(size), all_reduce_s(size, layout.tp, bandwidth, LINK_LATENCY_S)))
    ranks = layout.dp * layout.cp
    if ranks > 1:
        size = recipe.reduce_bytes * sum(setup.trained)
        whole = all_reduce_s(size, ranks, ring_bandwidth(setup, ranks, layout.tp, k), NETWORK_LATENCY_S)
        if layout.zero:
            found.append(Collective("reduce_scatter", round(size), whole / 2))
        else:
            found.append(Collective("all_reduce", round(size), whole))
    return tuple(found)
