"""Times of steps add up, and the log of a long run keeps the steps that a reader would miss."""

from __future__ import annotations

import statistics
from itertools import pairwise

import pytest

from seedbed.simulate.loss import Spike
from seedbed.simulate.step_clock import LoggedSteps, Span, StepClock


def test_steps_take_their_mean_time_with_the_stated_noise() -> None:
    clock = StepClock(1, 5.0, 0.01, 0.01)
    durations = [clock.at(step) - clock.at(step - 1) for step in range(1, 20_000)]
    assert min(durations) > 0
    assert statistics.fmean(durations) == pytest.approx(5.0, rel=0.003), "the wave of one day is not whole"
    assert statistics.stdev(durations) / 5.0 == pytest.approx(0.0122, abs=0.002)  # noise and wave
    day = round(86_400 / 5)
    hours = [clock.at(start + 500) - clock.at(start) for start in range(0, day, 500)]
    assert max(hours) / min(hours) == pytest.approx(1.02, abs=0.004), "1 to 2 % between day and night"


def test_a_span_finds_the_step_in_progress_at_a_time() -> None:
    span = Span(StepClock(1, 5.0, 0.0, 0.0), t=100.0, step=10, factor=2.0, extra_s=3.0)
    assert span.ends(10) == 100.0
    assert span.ends(12) == pytest.approx(100 + 3 + 20)
    assert [span.last_by(t, 99) for t in (100, 112.9, 113.1, 1e9)] == [10, 10, 11, 99]


def test_a_long_run_is_thinned_but_not_truncated() -> None:
    spike = Spike(700_000, 0.5, 2, 40.0, diverges=False)
    logged = LoggedSteps(10**6, 4000, [spike])
    assert logged.between(0, 200) == list(range(1, 201))
    assert logged.between(10**6 - 1, 10**6) == [10**6]
    assert 4000 < len(logged) < 6000
    found = logged.between(0, 10**6)
    assert max(after - before for before, after in pairwise(found)) <= 250
    assert logged.between(699_995, 700_010) == list(range(699_996, 700_011))
    assert LoggedSteps(50, 4000, []).between(0, 50) == list(range(1, 51))
