"""The learning rate over a run and over the steps that are added to it."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.config.schema import ScheduleConfig
from seedbed.optim.schedule import describe, describe_timed, multiplier, warmup_steps

KINDS = ("cosine", "linear", "constant", "wsd")
fractions = st.floats(0, 1)


@st.composite
def schedules(draw: st.DrawFn) -> ScheduleConfig:
    return ScheduleConfig(
        kind=draw(st.sampled_from(KINDS)), warmup=draw(fractions), decay=draw(fractions), floor=draw(fractions)
    )


@given(schedules(), st.integers(1, 10_000), st.integers(0, 5_000), st.integers(-10, 20_000))
def test_the_multiplier_stays_between_0_and_1(schedule: ScheduleConfig, length: int, start: int, step: int) -> None:
    assert 0.0 <= multiplier(schedule, step, start + length, start) <= 1.0


@given(schedules(), st.integers(1, 400), st.integers(0, 50))
def test_every_step_has_a_positive_multiplier_without_jumps(schedule: ScheduleConfig, length: int, start: int) -> None:
    total = start + length
    values = [multiplier(schedule, step, total, start) for step in range(start, total)]
    assert all(value > 0 for value in values)
    warm = warmup_steps(schedule, total, start)
    fall = length - warm
    if schedule.kind == "wsd":
        fall = min(round(schedule.decay * length), fall)
    steepest = max(1 / (warm + 1), (math.pi / 2 if schedule.kind == "cosine" else 1) / max(fall, 1))
    assert all(abs(b - a) <= steepest + 1e-9 for a, b in pairwise(values))
    assert values[warm:] == sorted(values[warm:], reverse=True), "it rises again after the warm-up"


@pytest.mark.parametrize(
    ("step", "expected"),
    # 0.1 + 0.9 * (1 + cos(pi * t)) / 2 at t = 0, 1/4, 1/2, 3/4 of the 100 steps that follow 10 of warm-up.
    [(10, 1.0), (35, 0.1 + 0.9 * 0.8535533905932737), (60, 0.55), (85, 0.1 + 0.9 * 0.14644660940672624), (110, 0.1)],
)
def test_cosine_has_the_values_of_its_formula(step: int, expected: float) -> None:
    schedule = ScheduleConfig(kind="cosine", warmup=10 / 110, floor=0.1)
    assert multiplier(schedule, step, 110) == pytest.approx(expected, abs=1e-12)


def test_cosine_and_linear_decay_like_transformers() -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    for kind, make in (
        ("cosine", transformers.get_cosine_schedule_with_warmup),
        ("linear", transformers.get_linear_schedule_with_warmup),
    ):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        reference = make(optimizer, num_warmup_steps=5, num_training_steps=50)
        schedule = ScheduleConfig(kind=kind, warmup=0.1, floor=0.0)
        for step in range(50):
            if step >= 5:  # its warm-up begins with a step at 0, ours does not
                assert multiplier(schedule, step, 50) == pytest.approx(reference.get_last_lr()[0], abs=1e-12)
            optimizer.step()
            reference.step()


def test_wsd_warms_up_stays_and_falls_linearly() -> None:
    schedule = ScheduleConfig(kind="wsd", warmup=0.1, decay=0.4, floor=0.0)
    values = [multiplier(schedule, step, 10) for step in range(10)]
    assert values == pytest.approx([0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25])


def test_warmup_is_clipped_to_the_run() -> None:
    values = [multiplier(ScheduleConfig(kind="cosine", warmup=1.0), step, 4) for step in range(4)]
    assert values == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert multiplier(ScheduleConfig(warmup=1.0, decay=1.0), 0, 1) == 0.5


@pytest.mark.parametrize("kind", ["cosine", "linear", "wsd"])
def test_added_steps_repeat_the_whole_schedule(kind: str) -> None:
    schedule = ScheduleConfig(kind=kind, warmup=0.1, decay=0.3)
    fresh = [multiplier(schedule, step, 50) for step in range(50)]
    assert [multiplier(schedule, step, 250, 200) for step in range(200, 250)] == fresh


def test_added_steps_of_a_constant_schedule_stay_at_the_peak() -> None:
    schedule = ScheduleConfig(kind="constant", warmup=0.2)
    assert multiplier(schedule, 0, 10) < 1
    assert [multiplier(schedule, step, 30, 10) for step in range(10, 30)] == [1.0] * 20


def test_the_description_states_first_and_last_learning_rate() -> None:
    schedule = ScheduleConfig(kind="cosine", warmup=0.1, floor=0.1)
    fresh = describe(schedule, 0.02, 0, 1000)
    assert "warms up over 100 steps to 0.02" in fresh
    assert "First 0.000198 (step 1)" in fresh
    assert "last 0.002 (step 1,000)" in fresh
    continued = describe(schedule, 0.02, 500, 1000)
    assert "The schedule continues" in continued
    assert f"First {0.02 * multiplier(schedule, 500, 1000):.4g} (step 501)" in continued
    added = describe(schedule, 0.02, 1000, 1200, 1000)
    assert "again for steps 1,001 to 1,200" in added
    assert "over 20 steps" in added
    constant = describe(ScheduleConfig(kind="constant"), 0.02, 1000, 1200, 1000)
    assert "stays at 0.02" in constant


@pytest.mark.parametrize(
    ("steps", "rise"), [(0, "starts at"), (1, "warms up over 1 step to"), (20, "warms up over 20 steps to")]
)
def test_the_warm_up_of_a_timed_run_is_said_in_words(steps: int, rise: str) -> None:
    said = describe_timed(ScheduleConfig(kind="wsd"), 0.01, warmup_steps=steps, decay_from=None)
    assert said.startswith(f"The learning rate {rise} 0.01, then stays there")
