"""A run with a time budget ends in time at any speed, and its learning rate decays once, over frozen steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from seedbed.config.schema import ScheduleConfig
from seedbed.events import discard
from seedbed.optim.schedule import timed_multiplier
from seedbed.train.deadline import Costs, Deadline, DeadlineHook, StepBeginHook
from seedbed.train.learner import StepResult
from seedbed.train.loop import Progress, fit

WARMUP_STEPS = 20


class FakeClock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Outcome(NamedTuple):
    elapsed_s: float
    steps: int
    scales: list[float]
    plans: list[tuple[int, int | None]]


class StandIn:
    """A trainer that learns nothing and takes `step_s(now)` seconds a step by the fake clock."""

    tolerates_overflow = False

    def __init__(self, clock: FakeClock, step_s: Callable[[float], float]) -> None:
        self.clock, self.step_s = clock, step_s
        self.scales: list[float] = []

    def step(self, batch: Any, scale: float) -> StepResult:
        self.clock.now_s += self.step_s(self.clock.now_s)
        self.scales.append(scale)
        return StepResult(1.0, 1.0, 512, 512)

    def lr(self, scale: float) -> float:
        return scale


class NoBatches:
    def batch(self, step: int) -> Any:
        return step


def train(
    total_s: float,
    step_s: Callable[[float], float],
    *,
    share: float = 0.4,
    start_s: float = 5.0,
    eval_s: float = 2.0,
    eval_every: int = 100,
    final_s: float = 4.0,
    save_s: float = 1.5,
    expected_step_s: float | None = None,
) -> Outcome:
    """Train for `total_s` seconds in the real loop; validations and the last save take their time on the fake clock."""
    clock = FakeClock()
    clock.now_s = start_s
    costs = Costs(eval_s=eval_s, final_s=final_s, save_s=save_s)
    deadline = Deadline(
        total_s, start_s, decay_share=share, step_s=expected_step_s, costs=costs, eval_every=eval_every, clock=clock
    )
    plans: list[tuple[int, int | None]] = []
    trainer = StandIn(clock, step_s)

    def scale(step: int) -> float:
        end, decay_from = plans[-1] if plans else (10**12, None)
        return timed_multiplier(ScheduleConfig(), step, warmup_steps=WARMUP_STEPS, decay_from=decay_from, end=end)

    def validate(progress: Progress) -> None:
        if progress.step >= progress.total:
            clock.now_s += final_s + save_s
        elif eval_every and progress.step % eval_every == 0:
            clock.now_s += eval_s

    hooks = [DeadlineHook(deadline, lambda *plan: plans.append(plan)), validate, StepBeginHook(deadline)]
    progress = fit(trainer, NoBatches(), scale, 10**12, discard, hooks)
    return Outcome(clock.now_s, progress.step, trainer.scales, plans)


@pytest.mark.parametrize(
    ("total_s", "step_s"), [(30.0, 0.02), (30.0, 0.3), (120.0, 0.02), (120.0, 0.3), (1200.0, 0.1), (1200.0, 0.3)]
)
def test_a_run_at_a_steady_speed_ends_in_the_last_tenth_of_its_time(total_s: float, step_s: float) -> None:
    outcome = train(total_s, lambda _: step_s, share=0.4)
    assert 0.9 * total_s <= outcome.elapsed_s <= total_s


@pytest.mark.parametrize("expected_s", [0.1, 13.0])
def test_a_run_whose_steps_take_another_time_than_expected_ends_in_time(expected_s: float) -> None:
    outcome = train(60.0, lambda _: 1.0, share=0.5, expected_step_s=expected_s)
    assert 54 <= outcome.elapsed_s <= 60
    assert outcome.steps > 40


@pytest.mark.parametrize("share", [0.2, 0.4, 0.6])
def test_the_decay_takes_its_share_of_the_steps_and_ends_near_zero(share: float) -> None:
    outcome = train(600.0, lambda _: 0.1, share=share)
    falling = sum(scale < 1 for scale in outcome.scales[WARMUP_STEPS:])
    assert falling / outcome.steps == pytest.approx(share, abs=0.01)
    assert outcome.scales[-1] == pytest.approx(1 / falling, rel=0.05)
    assert outcome.scales == sorted(outcome.scales[:WARMUP_STEPS]) + sorted(outcome.scales[WARMUP_STEPS:], reverse=True)


@pytest.mark.parametrize("slows_at", [0.1, 0.3, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("share", [0.2, 0.4, 0.6])
@pytest.mark.parametrize("total_s", [60.0, 300.0])
def test_a_machine_that_becomes_half_as_fast_still_ends_within_a_tenth(
    slows_at: float, share: float, total_s: float
) -> None:
    outcome = train(total_s, lambda now: 0.05 if now < slows_at * total_s else 0.1, share=share)
    assert 0.9 * total_s <= outcome.elapsed_s <= 1.1 * total_s


def test_a_machine_that_slows_down_before_the_decay_still_decays_fully() -> None:
    outcome = train(600.0, lambda now: 0.05 if now < 200 else 0.1, share=0.4)
    assert outcome.scales[-1] < 0.001
    assert 0.95 * 600 <= outcome.elapsed_s <= 600 * 1.02


def test_the_plan_never_changes_during_the_decay_but_to_end_a_late_run() -> None:
    def wild(now: float) -> float:
        return 0.05 * (1 + 0.5 * (int(now) % 3))

    outcome = train(600.0, wild)
    frozen = [plan for plan in outcome.plans if plan[1] is not None]
    assert len(frozen) == 1
    assert frozen[0][0] == outcome.steps


def test_a_run_that_would_end_too_late_stops_within_its_decay() -> None:
    outcome = train(300.0, lambda now: 0.05 if now < 200 else 1.0, share=0.4)
    assert outcome.elapsed_s <= 1.1 * 300
    assert outcome.scales[-1] > 0.05  # it had to stop before the rate was down


def test_single_slow_steps_do_not_start_the_decay() -> None:
    stalls = iter([40.0])

    def step_s(now: float) -> float:
        return next(stalls, 0.05) if now > 60 else 0.05

    outcome = train(600.0, step_s)
    began_at = next(plan[1] for plan in outcome.plans if plan[1] is not None)
    assert began_at / outcome.steps == pytest.approx(0.6, abs=0.02)


def test_a_resume_within_the_decay_repeats_its_steps() -> None:
    clock = FakeClock()
    costs = Costs(eval_s=1, final_s=1, save_s=1)
    deadline = Deadline(100, 70, decay_share=0.4, step_s=5.0, costs=costs, decay_from=60, end=100, clock=clock)
    clock.now_s = 28  # 98 s are over, and the 38 steps that are left would take minutes: they are frozen all the same
    assert [deadline.settle(step) for step in (61, 62)] == [100, 100]
    assert deadline.decay_from == 60


def test_a_resume_within_the_decay_ends_in_time_all_the_same() -> None:
    clock = FakeClock()
    costs = Costs(eval_s=1, final_s=1, save_s=1)
    deadline = Deadline(100, 70, decay_share=0.4, step_s=0.5, costs=costs, decay_from=60, end=100, clock=clock)
    step = 61
    while step < deadline.settle(step):
        clock.now_s += 1.5
        step += 1
    assert 100 < deadline.used_s + costs.closing_s <= 110
    assert (deadline.decay_from, deadline.end, step < 100) == (60, step, True)


def test_a_resume_before_the_decay_has_only_the_time_that_is_left() -> None:
    costs = Costs(eval_s=0, final_s=0, save_s=0)
    fresh = Deadline(100, 0, decay_share=0.4, step_s=1.0, costs=costs, clock=FakeClock())
    resumed = Deadline(100, 60, decay_share=0.4, step_s=1.0, costs=costs, clock=FakeClock())
    assert fresh.settle(0) == 99
    assert resumed.settle(20) == 20 + 39


def test_validations_and_the_last_save_are_reserved() -> None:
    cheap = train(300.0, lambda _: 0.1, eval_s=0.1, final_s=0.1, save_s=0.1)
    costly = train(300.0, lambda _: 0.1, eval_s=5.0, final_s=30.0, save_s=10.0)
    assert cheap.elapsed_s <= 300
    assert costly.elapsed_s <= 300
    assert costly.steps < cheap.steps - 300


@pytest.mark.parametrize("total_s", [120.0, 900.0])
@pytest.mark.parametrize("phase_s", [0.0, 5.0, 9.0, 14.0])
def test_a_machine_that_changes_its_speed_every_few_seconds_neither_ends_early_nor_late(
    total_s: float, phase_s: float
) -> None:
    # Seen on a machine with two virtual cores: steps of 66 ms for some seconds, then of 100 ms for some seconds.
    outcome = train(total_s, lambda now: 0.066 if (now + phase_s) % 18 < 10 else 0.1, share=0.35)
    assert 0.96 * total_s <= outcome.elapsed_s <= 1.02 * total_s
    assert outcome.scales[-1] < 0.01
