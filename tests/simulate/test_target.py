"""What would keep a missed target is what planning it says."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from seedbed.errors import SeedbedError
from seedbed.simulate import catalog
from seedbed.simulate.plan import DAY_S, make_plan
from seedbed.simulate.request import Request
from seedbed.simulate.target import Enough, enough_for


def enough(model: str, gpus: str, days: float, **more: Any) -> tuple[Enough, Request]:
    number, kind = catalog.parse_gpus(gpus)
    request = Request(shape=catalog.model(model), gpu=kind, num_gpus=number, target_days=days, **more)
    return enough_for(request, make_plan(request)), request


def days_on(request: Request, num_gpus: int) -> float:
    """Days on another number of GPUs; infinite if it cannot be planned."""
    try:
        return make_plan(replace(request, num_gpus=num_gpus)).wall_s / DAY_S
    except SeedbedError:
        return float("inf")


@pytest.mark.parametrize(
    ("model", "gpus", "days", "more"),
    [
        ("llama3-8b", "64xH100", 5, {"tokens": 1e12}),
        ("llama3-8b", "64xH100", 5, {"tokens": 1e12, "seq_len": 8192, "global_batch_tokens": 4e6}),
        ("llama3-8b", "64xH100", 15, {"tokens": 1e12, "parallel": {"tp": 2}}),
        ("qwen3-0.6b", "1xH100", 2, {"tokens": 12e9}),
    ],
)
def test_the_smallest_number_of_gpus_that_keeps_a_target_is_found(
    model: str, gpus: str, days: float, more: dict[str, Any]
) -> None:
    found, request = enough(model, gpus, days, **more)
    assert found.num_gpus is not None
    assert days_on(request, found.num_gpus) <= days
    assert found.num_gpus < 8 or found.num_gpus % 8 == 0, "whole nodes above one"
    below = [*range(1, 8), *range(8, found.num_gpus, 8)]
    likely = [each for each in below if found.num_gpus / 1.6 < each < found.num_gpus]
    assert all(days_on(request, each) > days for each in likely)


def test_fewer_tokens_that_keep_a_target_keep_it_when_planned() -> None:
    found, request = enough("llama3-8b", "64xH100", 5, tokens=1e12)
    assert found.tokens is not None
    assert make_plan(replace(request, tokens=found.tokens)).wall_s <= 5 * DAY_S
    assert make_plan(replace(request, tokens=1.02 * found.tokens)).wall_s > 5 * DAY_S


def test_a_target_that_nothing_keeps_is_said() -> None:
    for found in (
        enough("llama3-405b", "16384xH100", 0.01, tokens=15e12)[0],
        enough("llama3-8b", "8xH100", 1, tokens=1e12, parallel={"tp": 8, "pp": 1, "cp": 1, "dp": 1})[0],
    ):
        assert found.num_gpus is None
        assert 0 < found.most_gpus <= catalog.MAX_GPUS
