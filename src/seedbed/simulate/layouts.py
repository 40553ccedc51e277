"""Layouts of a training over GPUs: what is possible, and the search for the best ones."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from seedbed.errors import UsageError
from seedbed.simulate.cost import StepBound, StepCost, step_cost
from seedbed.simulate.hardware_facts import Gpu
from seedbed.simulate.memory import GIB, Memory, memory_of
from seedbed.simulate.setup import RECOMPUTE, Layout, Recipe, Setup
from seedbed.simulate.shape import Shape

PARALLEL_KEYS = ("dp", "tp", "pp", "cp", "ep", "zero", "interleave", "micro_batch")
"""What --parallel may set."""
MEMORY_MARGIN = 0.05
"""Share of a GPU's memory that the search leaves free, since predictions of memory are off by a few percent."""
_MOST_MICRO_BATCH = 32
_MOST_CP = 16
_LEAST_TOKENS_PER_CP = 2048


def memory_limit(gpu: Gpu) -> float:
    """Bytes of a GPU's memory that a layout may need."""
    return (1 - MEMORY_MARGIN) * gpu.usable_gib * GIB


def default_interleave(layers: int, pp: int, stack: str) -> int:
    """Virtual stages for each pipeline stage if nothing is said: up to 4 with the fused stack, else 1."""
    if pp == 1 or stack != "fused":
        return 1
    return max(1, min(4, layers // pp))


def parse_parallel(text: str) -> dict[str, int]:
    """Read `tp=8,pp=16,dp=128`. Raises UsageError for an unknown key or a value that is not a positive whole number."""
    found: dict[str, int] = {}
    for part in text.replace(" ", "").split(","):
        name, equals, value = part.partition("=")
        if not equals or name not in PARALLEL_KEYS:
            raise UsageError(
                f'--parallel: "{part}" is not one of its settings.',
                f"Write for example tp=8,pp=16,dp=128. Settings: {', '.join(PARALLEL_KEYS)}.",
            )
        low, high = (0, 3) if name == "zero" else (1, 1_000_000)
        if not value.isascii() or not value.isdigit() or not low <= int(value) <= high:
            raise UsageError(
                f'--parallel: {name} must be a whole number from {low} to {high:,}, not "{value}".', "Write tp=8,pp=16."
            )
        if name in found:
            raise UsageError(f"--parallel sets {name} twice.", "Set each once.")
        found[name] = int(value)
    return found


def check_layout(setup: Setup) -> None:
    """Raise UsageError, naming the nearest possible values, if the layout is impossible for this model and machine."""
    found = _problem(setup)
    if found:
        raise UsageError(*found)


def _problem(setup: Setup) -> tuple[str, str] | None:
    """What makes a layout impossible, and what to do; None if it is possible."""
    shape, layout, n = setup.shape, setup.layout, setup.num_gpus
    model = layout.tp * layout.pp * layout.cp
    if shape.heads % layout.tp:
        return (
            f"tp = {layout.tp} does not divide the {shape.heads} attention heads of {shape.name}.",
            f"Choose {_nearest_divisors(shape.heads, layout.tp)}.",
        )
    if layout.pp > shape.layers or layout.pp * layout.interleave > shape.layers + 2:
        stages = f"{layout.pp} stages" + (f" x interleave {layout.interleave}" if layout.interleave > 1 else "")
        return (
            f"pp = {layout.pp}: {shape.name} has {shape.layers} layers, fewer than {stages}.",
            f"Choose pp and interleave whose product is at most {shape.layers}.",
        )
    if layout.interleave > 1 and layout.pp == 1:
        return f"interleave = {layout.interleave} needs a pipeline, but pp is 1.", "Set pp, or leave interleave out."
    if n % model or layout.dp * model != n:
        return (
            f"dp {layout.dp} x tp {layout.tp} x pp {layout.pp} x cp {layout.cp} is {layout.dp * model}, but there are "
            f"{n} GPUs.",
            f"tp x pp x cp must divide {n}: with dp = {n // model} it does."
            if n % model == 0
            else f"tp x pp x cp must divide {n}, for example {_nearest_divisors(n, model)}.",
        )
    return _expert_problem(setup) or _batch_problem(setup)


def _nearest_divisors(number: int, wanted: int) -> str:
    from seedbed.config.arithmetic import nearest_divisors

    return nearest_divisors(number, wanted)


def _expert_problem(setup: Setup) -> tuple[str, str] | None:
    shape, layout = setup.shape, setup.layout
    ranks = layout.dp * layout.cp * layout.tp
    if layout.ep > 1 and not shape.experts:
        return f"ep = {layout.ep}: {shape.name} has no experts.", "Leave ep out."
    if shape.experts and (shape.experts % layout.ep or ranks % layout.ep):
        return (
            f"ep = {layout.ep} must divide the {shape.experts} experts and the {ranks} ranks of a pipeline stage.",
            f"Choose {_nearest_divisors(math.gcd(shape.experts, ranks), layout.ep)}.",
        )
    return None


def _batch_problem(setup: Setup) -> tuple[str, str] | None:
    layout, batch = setup.layout, setup.recipe.global_batch
    if setup.micro_batches < 1 or batch % layout.dp or setup.micro_batches % 1:
        return (
            f"A global batch of {batch:g} sequences cannot be shared by dp = {layout.dp} ranks with micro-batches of "
            f"{layout.micro_batch:g}.",
            f"Choose a global batch that is a multiple of {layout.dp * layout.micro_batch:g} sequences.",
        )
    if layout.interleave > 1 and setup.micro_batches % layout.pp:
        return (
            f"interleave = {layout.interleave} needs a number of micro-batches that is a multiple of pp = {layout.pp}; "
            f"there are {setup.micro_batches:g}.",
            "Change the global batch or the micro-batch, or leave interleave out.",
        )
    return None


def layout_text(setup: Setup) -> str:
    """A layout in words: `dp 8, tp 8, pp 16 (4 virtual stages), FSDP, micro-batch 1, full recomputation`."""
    layout, again = setup.layout, setup.recipe.recompute
    sizes = [f"{name} {getattr(layout, name)}" for name in ("dp", "tp", "pp", "cp", "ep") if getattr(layout, name) > 1]
    if layout.interleave > 1:
        sizes.append(f"interleave {layout.interleave}")
    sharding = {0: "", 1: "ZeRO 1", 2: "ZeRO 2", 3: "FSDP (ZeRO 3)"}[layout.zero]
    words = [
        *sizes,
        sharding,
        f"micro-batch {layout.micro_batch:g}",
        f"{'no' if again == 'none' else again} recomputation",
    ]
    return ", ".join(each for each in words if each)


class Candidate(NamedTuple):
    """A possible layout with its predicted cost and memory."""

    setup: Setup
    cost: StepCost
    memory: Memory


def candidates(setup: Setup, fixed: dict[str, int], recompute: str | None) -> Iterator[Setup]:
    """All layouts to compare: those with the values in `fixed`, for the model, machine and batch of `setup`.

    `recompute`: the activation checkpointing, or None to try all.
    """
    recipes = _recipes(setup, recompute)
    for found in _possible(setup, fixed):
        for each in recipes:
            yield msgspec.structs.replace(found, recipe=each)


def _recipes(setup: Setup, recompute: str | None) -> list[Recipe]:
    """The recipe of `setup` with each kind of activation checkpointing to try, the fastest first."""
    kinds = [recompute] if recompute else RECOMPUTE
    return [msgspec.structs.replace(setup.recipe, recompute=each) for each in kinds]


def _possible(setup: Setup, fixed: dict[str, int]) -> Iterator[Setup]:
    """The possible layouts with the values in `fixed`, with the recipe of `setup`."""
    shape, recipe, n = setup.shape, setup.recipe, setup.num_gpus
    for tp in _chosen(fixed, "tp", _tensor_sizes(shape, setup.node_gpus)):
        for pp in _chosen(fixed, "pp", _stages(shape.layers, n // tp if n % tp == 0 else 1)):
            for cp in _chosen(fixed, "cp", _context_sizes(recipe.seq_len, setup)):
                if n % (tp * pp * cp):
                    continue
                dp = n // (tp * pp * cp)
                if fixed.get("dp", dp) != dp or recipe.global_batch % dp:
                    continue
                for layout in _rest(setup, fixed, Layout(tp=tp, pp=pp, cp=cp, dp=dp)):
                    found = msgspec.structs.replace(setup, layout=layout)
                    if _problem(found) is None:
                        yield found


def _rest(setup: Setup, fixed: dict[str, int], base: Layout) -> Iterator[Layout]:
    """Expert parallelism, sharding, interleaving and micro-batches for the given division of the GPUs."""
    shape, recipe = setup.shape, setup.recipe
    per_rank = int(recipe.global_batch // base.dp)
    ranks = base.dp * base.cp
    zeros = [0] if ranks == 1 else [1] if base.pp > 1 else [1, 3]
    stages = _interleaves(shape.layers, base.pp) if recipe.stack == "fused" else [1]
    for ep in _chosen(fixed, "ep", _expert_sizes(shape, base, setup.node_gpus)):
        for zero in _chosen(fixed, "zero", zeros):
            for interleave in _chosen(fixed, "interleave", stages):
                for micro in _chosen(fixed, "micro_batch", _powers(_MOST_MICRO_BATCH)):
                    if per_rank % micro == 0:
                        yield msgspec.structs.replace(
                            base,
                            ep=ep,
                            zero=zero,
                            shard=ranks if zero else 1,
                            interleave=interleave,
                            micro_batch=micro,
                            sequence_parallel=recipe.stack != "legacy",
                        )


def _interleaves(layers: int, pp: int) -> list[int]:
    """Virtual stages for each stage that do not make the largest stage larger.

    Embedding and output layer may take the place of a layer each, as in Llama 3 (126 layers in 16 x 8 virtual stages).
    """
    if pp == 1:
        return [1]
    whole = -(-layers // pp)
    return [v for v in (1, 2, 4, 8) if pp * v <= layers + 2 and -(-layers // (pp * v)) * v == whole]


def _chosen(fixed: dict[str, int], name: str, values: list[int]) -> list[int]:
    return [fixed[name]] if name in fixed else values


def _powers(most: int) -> list[int]:
    return [1 << i for i in range(most.bit_length()) if 1 << i <= most]


def _tensor_sizes(shape: Shape, node_gpus: int) -> list[int]:
    return [t for t in _powers(min(node_gpus, 16)) if shape.heads % t == 0 and (not shape.ffn or shape.ffn % t == 0)]


def _stages(layers: int, ranks: int) -> list[int]:
    return [p for p in range(1, min(layers, ranks, 128) + 1) if ranks % p == 0 and (layers % p == 0 or layers / p >= 4)]


def _context_sizes(seq_len: int, setup: Setup) -> list[int]:
    return [c for c in _powers(_MOST_CP) if c == 1 or (seq_len / c >= _LEAST_TOKENS_PER_CP and setup.recipe.flash)][:5]


def _expert_sizes(shape: Shape, base: Layout, node_gpus: int) -> list[int]:
    if not shape.experts:
        return [1]
    ranks = base.dp * base.cp * base.tp
    return [e for e in _powers(max(64, node_gpus)) if shape.experts % e == 0 and ranks % e == 0]


def search(setup: Setup, fixed: dict[str, int], recompute: str | None = None) -> tuple[list[Candidate], int]:
    """The layouts that fit into memory, fastest first, and how many there were.

    For each division of the GPUs, sharding and interleaving, only the fastest micro-batch and checkpointing is kept.
    """
    best: dict[tuple[int, ...], Candidate] = {}
    limit = memory_limit(setup.gpu)
    tried = 0
    for each in candidates(setup, fixed, recompute):
        tried += 1
        memory = memory_of(each)
        if memory.total > limit:
            continue
        found = Candidate(each, step_cost(each), memory)
        layout = each.layout
        key = (layout.tp, layout.pp, layout.cp, layout.ep, layout.zero, layout.interleave)
        if key not in best or found.cost.step_s < best[key].cost.step_s:
            best[key] = found
    return sorted(best.values(), key=lambda one: one.cost.step_s), tried


def fastest(setup: Setup, fixed: dict[str, int], recompute: str | None = None) -> tuple[Candidate | None, int]:
    """The first layout that `search` returns, without computing the cost of most others; and how many there were."""
    bound, limit, recipes = StepBound(setup), memory_limit(setup.gpu), _recipes(setup, recompute)
    layouts = list(_possible(setup, fixed))
    bounds = [bound.without_recomputation(each) for each in layouts]
    found: Candidate | None = None
    least = (math.inf, 0, 0)
    too_large: set[tuple[int, ...]] = set()
    for i in sorted(range(len(layouts)), key=bounds.__getitem__):
        if bounds[i] > least[0]:
            break
        states = _sharing(layouts[i].layout)
        for j, recipe in enumerate(recipes):
            if states in too_large:
                break
            each = msgspec.structs.replace(layouts[i], recipe=recipe)
            if bound(each) > least[0]:
                continue
            memory = memory_of(each)
            if memory.total > limit:
                if memory.states > limit:
                    too_large.add(states)
                continue
            cost = step_cost(each)
            if (cost.step_s, i, j) < least:  # of equally fast layouts, the first counts
                found, least = Candidate(each, cost, memory), (cost.step_s, i, j)
    return found, len(layouts) * len(recipes)


def _sharing(layout: Layout) -> tuple[int, ...]:
    """What decides the memory of weights, gradients and optimizer state, which micro-batch and checkpointing do not change."""
    return layout.tp, layout.pp, layout.cp, layout.ep, layout.dp, layout.zero, layout.interleave


def smallest(setup: Setup, fixed: dict[str, int], recompute: str | None = None) -> Candidate | None:
    """The layout that needs least memory; None if no layout is possible."""
    found = min(((memory_of(each), each) for each in candidates(setup, fixed, recompute)), key=_total, default=None)
    return Candidate(found[1], step_cost(found[1]), found[0]) if found else None


def _total(found: tuple[Memory, Setup]) -> float:
    return found[0].total
