"""What to do about a training of which no layout fits into memory: how much is missing, and what fits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import combinations

from seedbed.errors import SeedbedError, UsageError
from seedbed.simulate.layouts import MEMORY_MARGIN, candidates, fastest, layout_text, memory_limit, smallest
from seedbed.simulate.memory import GIB, least_state_bytes, memory_of
from seedbed.simulate.setup import Setup

_MOST_TIMES_MORE = 128
"""Numbers of GPUs are tried up to so many times the given one."""
_STEP = 1.03
"""Large numbers of GPUs are tried in steps of this factor, and then one by one."""

_CHANGED_FIRST = ("micro_batch", "interleave", "zero", "cp", "pp", "tp", "ep", "dp")
"""The settings of --parallel, first those that are changed most easily."""
_MOST_CHANGED = 3
"""So many settings are changed together before all are."""


def does_not_fit(
    setup: Setup,
    fixed: dict[str, int],
    recompute: str | None,
    setup_on: Callable[[int], Setup],
    with_qlora: Callable[[], Setup],
) -> SeedbedError:
    """The error for a training that does not fit: by how much, and what does.

    `setup_on`: the same training on another number of GPUs, in any layout. `with_qlora`: the same with the method qlora.
    """
    gpu, n, closest = setup.gpu, setup.num_gpus, smallest(setup, fixed, recompute)
    if closest is None:
        return UsageError(
            f"No layout shares {setup.recipe.global_batch:g} sequences of {setup.recipe.seq_len:,} tokens among {n:,} GPUs.",
            f"Choose --global-batch so that it is a multiple of {n // (n & -n):,} sequences, or another number of GPUs.",
        )
    need = closest.memory.total / GIB
    kept = f"of which {100 * MEMORY_MARGIN:g} % are kept free"
    if need <= gpu.usable_gib:
        return SeedbedError(
            f"{setup.shape.name} may fit on {n:,} {gpu.name}, but predictions of memory are not exact: the best layout needs "
            f"{need:,.1f} GiB per GPU, and the GPU has {gpu.usable_gib:g} GiB, {kept}.",
            f"A try decides: {layout_text(closest.setup)}. {_hint(setup, fixed, recompute, setup_on, with_qlora)}",
        )
    return SeedbedError(
        f"{setup.shape.name} does not fit on {n:,} {gpu.name}: the best layout needs {need:,.1f} GiB per GPU. The GPU has "
        f"{gpu.usable_gib:g} GiB, {kept}.",
        _hint(setup, fixed, recompute, setup_on, with_qlora),
    )


def _hint(
    setup: Setup,
    fixed: dict[str, int],
    recompute: str | None,
    setup_on: Callable[[int], Setup],
    with_qlora: Callable[[], Setup],
) -> str:
    """What fits: another stage of ZeRO, another layout, more GPUs; or else what to change."""
    for stage in (1, 2, 3):
        found = fastest(setup, {**fixed, "zero": stage}, recompute)[0]
        if found:
            what = "FSDP" if stage == 3 else f"ZeRO stage {stage}"
            return f"With {what} (zero={stage} in --parallel) it fits: {layout_text(found.setup)}."
    if fixed or recompute:
        nearest = _nearest(setup, fixed, recompute)
        if nearest:
            return nearest
    more = fewest_gpus(setup, recompute, setup_on)
    if more is not None:
        return f"It fits for example on {more.num_gpus:,} of them ({layout_text(more)})."
    if setup.recipe.method != "qlora" and fastest(with_qlora(), {}, recompute)[0]:
        return "Choose a shorter --seq, a smaller model, a GPU with more memory, or --method qlora."
    return "Choose a shorter --seq, a smaller model, or a GPU with more memory."


def _nearest(setup: Setup, fixed: dict[str, int], recompute: str | None) -> str:
    """What fits on these GPUs if as few of the given settings as possible change; empty if nothing does."""
    if recompute:
        found = fastest(setup, fixed, None)[0]
        if found:
            return f"With --recompute {found.setup.recipe.recompute} it fits: {layout_text(found.setup)}."
    given = sorted(fixed, key=_CHANGED_FIRST.index)
    for number in range(1, min(len(given), _MOST_CHANGED) + 1):
        for changed in combinations(given, number):
            found = fastest(setup, {each: fixed[each] for each in given if each not in changed}, recompute)[0]
            if found:
                return f"The nearest layout that fits: {layout_text(found.setup)}."
    found = fastest(setup, {}, None)[0]
    return f"The nearest layout that fits: {layout_text(found.setup)}." if found else ""


def fewest_gpus(setup: Setup, recompute: str | None, setup_on: Callable[[int], Setup]) -> Setup | None:
    """The training in its fastest layout on the smallest number of these GPUs on which it fits; None if there is none.

    Numbers above a node are whole nodes.
    """
    last = 0
    for number in _numbers(setup):
        if _fits(setup_on(number), recompute):
            node = setup.gpu.gpus_per_node
            between = range(last + node, number, node) if last and number > node else ()
            first = next((each for each in between if _fits(setup_on(each), recompute)), number)
            found = fastest(setup_on(first), {}, recompute)[0]
            return found.setup if found else None
        last = number
    return None


def _numbers(setup: Setup) -> Iterator[int]:
    """Larger numbers of GPUs, from the first whose memory together has room for weights, gradients and optimizer state."""
    node, most = setup.gpu.gpus_per_node, _MOST_TIMES_MORE * setup.num_gpus
    least = max(setup.num_gpus + 1, math.ceil(least_state_bytes(setup) / memory_limit(setup.gpu)))
    yield from range(least, min(node, most) + 1)
    number = math.ceil(max(least, node + 1) / node) * node
    while number <= max(most, 2 * least):
        yield number
        number = max(number + node, math.floor(number * _STEP / node) * node)


def _fits(setup: Setup, recompute: str | None) -> bool:
    """Whether some layout fits; with micro-batches of one sequence, which need least memory."""
    limit = memory_limit(setup.gpu)
    return any(memory_of(each).total <= limit for each in candidates(setup, {"micro_batch": 1}, recompute))
