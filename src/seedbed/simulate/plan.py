"""What a training needs: time, memory, money, energy, failures, and the loss to expect."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import msgspec

from seedbed.config.spelling import any_of
from seedbed.errors import SeedbedError, UsageError
from seedbed.simulate.communication import LINK_LATENCY_S, NETWORK_LATENCY_S, all_reduce_s
from seedbed.simulate.constants import fitted, fitted_file
from seedbed.simulate.cost import StepCost
from seedbed.simulate.failures import Reliability
from seedbed.simulate.goodput import effective_share
from seedbed.simulate.hardware_facts import Gpu
from seedbed.simulate.intervals import factor_of
from seedbed.simulate.layouts import Candidate, check_layout, fastest, layout_text, search
from seedbed.simulate.lora import lora_input_width, lora_parameters
from seedbed.simulate.loss import BESIROGLU
from seedbed.simulate.memory import GIB, Memory
from seedbed.simulate.rates import default_flash, is_new, peak_rate, ring_bandwidth
from seedbed.simulate.scenario import Collective, Scenario
from seedbed.simulate.setup import Layout, Recipe, Setup
from seedbed.simulate.shape import Shape
from seedbed.text import count, plural

DAY_S = 86_400.0
STORAGE_GBPS_PER_NODE = 2.0
"""Bandwidth of storage for each node in 10^9 bytes per second (BLOOM: 57 GB/s from 48 nodes is 1.2; assumed)."""
CHECKPOINT_BYTES = 14.0
"""Bytes of a checkpoint for each trained parameter: fp32 weight and two moments, and the 16-bit weight (BLOOM: 13)."""
HOST_COPY_GBPS = 10.0
"""Rate at which a GPU copies its part of a checkpoint to host memory (assumed: half of PCIe)."""
SERVER_POWER = 1.5
"""Power of a busy server for each watt of its GPUs' power limits (8.4 kW for 8 x 700 W at most, arXiv 2412.08602)."""
COOLING_POWER = 1.2
"""Power of the building for each watt of its servers (assumed; large data centres report 1.1 to 1.4)."""
FINE_TUNING_BATCH = 16
"""Usual sequences of a step of fine-tuning."""
FINE_TUNING_TOKENS = 1e7
"""Usual tokens of fine-tuning: some ten thousand examples, one or a few times."""
LORA_RANK = 16
"""Rank of adapters if nothing else is said."""
HOPELESS = 0.02
"""Plans whose effective share of the time is below this are refused: the run would hardly end."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What the user asks to plan. None: to be chosen, and said in `Plan.assumed`."""

    shape: Shape
    gpu: Gpu
    num_gpus: int
    tokens: float | None = None
    seq_len: int | None = None
    global_batch_tokens: float | None = None
    precision: str | None = None
    method: str = "pretrain"
    lora_rank: int = LORA_RANK
    recompute: str | None = None
    stack: str | None = None
    parallel: dict[str, int] = {}
    network_gbps: float | None = None
    target_days: float | None = None
    usd_per_hour: float | None = None
    said: tuple[str, ...] = ()
    """What the caller had to assume; the first of `Plan.assumed`."""


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
    effective = effective_share(scenario.interval_steps() * scenario.step_s, scenario.checkpointing())
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
        """Energy of the servers and their cooling; None if the GPU's power is not known."""
        power = self.setup.gpu.power_w
        return self.gpu_hours * power * SERVER_POWER * COOLING_POWER / 1000 if power else None

    @property
    def loss(self) -> float:
        """Expected loss in nats per token of web text, by the scaling law over active parameters; at most that of guessing."""
        shape = self.setup.shape
        return min(BESIROGLU.loss(shape.active_parameters, self.tokens), math.log(shape.vocab))


def make_plan(request: Request, *, ranked: bool = False) -> Plan:
    """Plan a training; without a given layout, the fastest that fits.

    `ranked`: compare all layouts, which takes longer. Raises UsageError for impossible values, and SeedbedError if the
    model does not fit, with what does.
    """
    assumed = list(request.said)
    setup, tokens = _setup(request, assumed)
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
            return _setup(msgspec.structs.replace(request, num_gpus=num_gpus, parallel={}), [])[0]

        def with_qlora() -> Setup:
            return _setup(msgspec.structs.replace(request, method="qlora", parallel={}), [])[0]

        raise does_not_fit(setup, fixed, request.recompute, setup_on, with_qlora)
    best = found[0]
    assumed.append(
        "the fastest layout that fits" if not fixed else "what --parallel leaves open: the fastest that fits"
    )
    steps = _steps(setup, tokens)
    price = request.usd_per_hour if request.usd_per_hour is not None else request.gpu.usd_per_hour or None
    plan = Plan(
        setup=best.setup,
        cost=best.cost,
        memory=best.memory,
        factor=factor_of(best.setup, fitted_file().spreads),
        steps=steps,
        tokens=steps * setup.tokens_per_step,
        assumed=tuple(assumed),
        scenario=scenario_of(best, steps),
        usd_per_hour=price,
        candidates=tuple(found),
        tried=tried,
        target_days=request.target_days,
        notes=_notes(request, best.setup, tokens),
    )
    if plan.effective < HOPELESS:
        raise _hopeless(plan)
    return plan


def _notes(request: Request, setup: Setup, tokens: float) -> tuple[str, ...]:
    shape, seq_len, found = request.shape, setup.recipe.seq_len, []
    if seq_len > shape.context:
        found.append(f"sequences of {seq_len:,} tokens are longer than the context of {shape.name}, {shape.context:,}")
    if tokens < setup.tokens_per_step:
        found.append(f"the tokens are fewer than those of one step, {setup.tokens_per_step:,.0f}; one step is planned")
    return tuple(found)


def _hopeless(plan: Plan) -> SeedbedError:
    """The error for a run that would hardly make progress, with what causes it."""
    mtbf_s, step_s = plan.scenario.checkpointing().mtbf_s, plan.cost.step_s
    if step_s > mtbf_s:
        return SeedbedError(
            f"A step of {count(plan.setup.tokens_per_step)} tokens takes {step_s / DAY_S:.3g} days, and something fails "
            f"every {mtbf_s / DAY_S:.3g} days, so hardly a step would end.",
            "Choose a smaller --global-batch.",
        )
    return SeedbedError(
        f"On {plan.setup.num_gpus:,} GPUs, failures come so often that the run would hardly make progress.",
        "Use fewer GPUs.",
    )


def try_plan(request: Request) -> Whole | None:
    """The whole training in its fastest layout; None if none fits, or if it would hardly end.

    Raises UsageError for impossible values.
    """
    setup, tokens = _setup(request, [])
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


def _setup(request: Request, assumed: list[str]) -> tuple[Setup, float]:
    """The setup without its layout, and the tokens to train on."""
    shape, gpu, n = request.shape, request.gpu, request.num_gpus
    if request.tokens is not None and not 0 < request.tokens < math.inf:
        raise UsageError("The number of tokens must be above 0.", "Write for example --tokens 15T.")
    tokens = request.tokens
    if tokens is None and request.method != "pretrain":
        tokens = FINE_TUNING_TOKENS
        assumed.append(f"{count(tokens)} tokens, as is usual for fine-tuning")
    if tokens is None:
        tokens = 20.0 * shape.active_parameters
        each = "active parameter" if shape.experts else "parameter"
        assumed.append(f"{count(tokens)} tokens, 20 for each {each} (Chinchilla)")
    if request.method in ("lora", "qlora") and request.lora_rank > shape.hidden:
        raise UsageError(
            f"--lora-rank {request.lora_rank:,} is above the width of {shape.name}, {shape.hidden:,}.",
            "Usual ranks are 8 to 64.",
        )
    seq_len = request.seq_len
    if seq_len is None:
        seq_len = min(shape.context, 8192 if request.method == "pretrain" else 2048)
        assumed.append(f"sequences of {seq_len:,} tokens")
    precision = request.precision
    if precision is None:
        precision = "bf16" if "bf16" in gpu.peak_tflops else "fp16" if "fp16" in gpu.peak_tflops else "fp32"
        assumed.append(precision)
    if precision != "fp32" and precision not in gpu.peak_tflops:
        known = [each for each in ("fp8", "bf16", "fp16") if each in gpu.peak_tflops]
        raise UsageError(f"{gpu.name} has no {precision} units.", f"Choose {any_of([*known, 'fp32'])}.")
    batch_tokens = request.global_batch_tokens
    if batch_tokens is None:
        global_batch = _default_batch(request, tokens, seq_len, assumed)
    else:
        global_batch = _round_batch(batch_tokens / seq_len)
    if batch_tokens is not None and global_batch * seq_len != batch_tokens:
        assumed.append(
            f"{global_batch * seq_len:,} tokens per step, {plural(global_batch, 'sequence', f'{global_batch:,}')}, where "
            f"{batch_tokens:,.0f} are given"
        )
    stack = request.stack
    if stack is None:
        stack = "fused" if n > gpu.gpus_per_node and is_new(gpu) and request.method == "pretrain" else "torch"
        assumed.append(f"software: {stack}")
    network = request.network_gbps if request.network_gbps is not None else gpu.network_gbps or 1.25
    node = max(gpu.link_domain, gpu.gpus_per_node) if gpu.link_gbps else gpu.gpus_per_node
    if n > node and request.network_gbps is None:
        assumed.append(f"network of {network:g} GB/s per GPU")
    recipe = Recipe(
        seq_len=seq_len,
        global_batch=global_batch,
        precision=precision,
        stack=stack,
        compiled=stack == "torch",
        flash=default_flash(gpu, stack, compiled=stack == "torch"),
        method=request.method,
        lora_parameters=lora_parameters(shape, request.lora_rank) if request.method in ("lora", "qlora") else 0,
        lora_input_width=lora_input_width(shape) if request.method in ("lora", "qlora") else 0,
        reduce_bytes=4.0 if stack == "torch" and request.method == "pretrain" else 2.0,
        pure_bf16=request.method != "pretrain" and precision in ("bf16", "fp8"),
        chunked_loss=request.method != "pretrain",
    )
    setup = Setup(
        shape=shape,
        gpu=gpu,
        num_gpus=n,
        layout=Layout(dp=n),
        recipe=recipe,
        network_gbps=network,
        node_gpus=min(node, n),
    )
    return setup, tokens


def _default_batch(request: Request, tokens: float, seq_len: int, assumed: list[str]) -> int:
    """Sequences of a step if nothing is said: as many as is usual, and a number that the GPUs can share."""
    n = request.num_gpus
    multiple = _shared_by(request)
    if request.method != "pretrain":
        multiple = math.lcm(multiple, 1 if "dp" in request.parallel else n)
        batch = multiple * max(1, round(FINE_TUNING_BATCH / multiple))
        assumed.append(f"{batch * seq_len:,} tokens per step")
        return batch
    usual = max(1, _usual_batch(request.shape, tokens, seq_len) // seq_len)
    multiple = math.lcm(multiple, n // (n & -n))
    batch = multiple << max(0, round(math.log2(usual / multiple)))
    words = f"{batch * seq_len:,} tokens per step"
    if batch != usual:
        words += (
            f", {plural(batch, 'sequence', f'{batch:,}')} that {n:,} GPUs can share, where {usual * seq_len:,} are usual "
            "(to compare numbers of GPUs, give --global-batch)"
        )
    assumed.append(words)
    return batch


def _shared_by(request: Request) -> int:
    """The number of which the sequences of a step must be a multiple, as far as the given layout says."""
    fixed = request.parallel
    dp = fixed.get("dp", 1)
    if "dp" not in fixed and all(each in fixed for each in ("tp", "pp", "cp")):
        dp = max(1, request.num_gpus // (fixed["tp"] * fixed["pp"] * fixed["cp"]))
    return dp * fixed.get("micro_batch", 1) * (fixed.get("pp", 1) if fixed.get("interleave", 1) > 1 else 1)


def _usual_batch(shape: Shape, tokens: float, seq_len: int) -> int:
    """Tokens of a step by custom: 0.5 M for 0.1 B parameters, 4 M for 8 B, 16 M for 405 B (GPT-3, table 2.1; Llama 3, table
    3), but few enough for 1,000 steps."""
    usual = int(2 ** round(math.log2(0.5e6 * max(1.0, (shape.active_parameters / 1e8) ** 0.45))))
    batch = min(max(usual, 1 << 15), 1 << 24)
    while batch > seq_len and tokens / batch < 1000:
        batch //= 2
    return batch


def _round_batch(sequences: float) -> int:
    """The number of sequences of a step that the user gave in tokens.

    A whole number stays. Others become the multiple of the largest power of two that is at most 5 % away, which many ranks
    can share: 4M tokens of sequences of 8,192 are 512 sequences, not 488.
    """
    whole = max(1, round(sequences))
    if whole == sequences:
        return whole
    power = 1 << (whole.bit_length())
    while power > 1:
        near = round(sequences / power) * power
        if near and abs(near / sequences - 1) <= 0.05:
            return near
        power //= 2
    return whole


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
