"""What would keep a time for a training that its plan misses: other numbers of GPUs, or fewer tokens."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from seedbed.errors import UsageError
from seedbed.simulate.catalog import MAX_GPUS
from seedbed.simulate.plan import DAY_S, Plan, try_plan
from seedbed.simulate.rates import peak_rate
from seedbed.simulate.request import Request

_MOST_TIMES_MORE = 16
"""Numbers of GPUs are tried up to so many times those that would do at the peak rate."""
_EXACT_NODES = {"dense": 256, "experts": 64}
"""Up to so many nodes, all numbers are tried; the plan of a model with experts takes ten times as long."""
_COARSE = 8
"""Beyond, numbers are first tried in steps of 1/8 to 1/16, and between the last two of them in steps an eighth as large."""


class Enough(NamedTuple):
    """What keeps a target, each found by planning it; None: nothing was found."""

    num_gpus: int | None
    """The smallest number of these GPUs; of those beyond _EXACT_NODES, that number or a slightly larger one."""
    wall_s: float | None
    """The time on them."""
    most_gpus: int
    """Up to which number nothing smaller keeps it."""
    tokens: float | None
    """Tokens on the given number of GPUs, rounded down to three digits."""


def enough_for(request: Request, plan: Plan) -> Enough:
    """What keeps the target of a plan; `request` is what was planned, and only the found number changes in it."""
    assert plan.target_days is not None
    target_s, most = plan.target_days * DAY_S, MAX_GPUS
    before = 0
    for most in _numbers(plan, target_s):
        if _wall_s(msgspec.structs.replace(request, num_gpus=most)) <= target_s:
            step = max((most - before) // _COARSE, plan.setup.gpu.gpus_per_node)
            between = range(before + step, most, step) if before and most > _exact(plan) else ()
            for number in (*between, most):
                wall_s = _wall_s(msgspec.structs.replace(request, num_gpus=number))
                if wall_s <= target_s:
                    return Enough(number, wall_s, number, _tokens(request, plan, target_s))
        before = most
    return Enough(None, None, most, _tokens(request, plan, target_s))


def _exact(plan: Plan) -> int:
    """Up to this number of GPUs, all whole nodes are tried."""
    return _EXACT_NODES["experts" if plan.setup.shape.experts else "dense"] * plan.setup.gpu.gpus_per_node


def _wall_s(request: Request) -> float:
    """The time of a training; infinite if it cannot be planned."""
    try:
        found = try_plan(request)
    except UsageError:
        return math.inf
    return math.inf if found is None else found.wall_s


def _numbers(plan: Plan, target_s: float) -> Iterator[int]:
    """Numbers of GPUs to try, from the fewest that could do it at the peak rate. Above a node, they are whole nodes."""
    setup, node = plan.setup, plan.setup.gpu.gpus_per_node
    shape, recipe = setup.shape, setup.recipe
    causal = shape.flops_per_token(recipe.seq_len, causal=True) / shape.flops_per_token(recipe.seq_len)
    peak = max(setup.gpu.peak_tflops.get(recipe.precision, 0.0) * 1e12, peak_rate(setup.gpu, recipe.precision))
    least = max(1, math.floor(plan.tokens * setup.flops_per_token * causal / peak / target_s))
    most = min(MAX_GPUS, max(_MOST_TIMES_MORE * least, 2 * setup.num_gpus))
    yield from range(least, min(node, most) + 1)
    number = max(least, node + 1)
    while True:
        step = node if number <= _exact(plan) else node << int(math.log2(number / node / _COARSE))
        number = math.ceil(number / step) * step
        if number > most:
            return
        yield number
        number += 1


def _tokens(request: Request, plan: Plan, target_s: float) -> float | None:
    """The most tokens that the given GPUs train in that time, about."""
    tokens = plan.tokens * target_s / plan.wall_s
    for _ in range(5):
        if tokens < plan.setup.tokens_per_step:
            return None
        digit = 10.0 ** (math.floor(math.log10(tokens)) - 2)
        rounded = math.floor(tokens / digit) * digit
        if _wall_s(msgspec.structs.replace(request, tokens=rounded)) <= target_s:
            return rounded
        tokens = 0.98 * rounded
    return None
