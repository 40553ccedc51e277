"""Random numbers of the simulator: pure functions of (seed, purpose, index) with the stated distributions."""

from __future__ import annotations

import statistics

import pytest

from seedbed.simulate.counter_random import Autocorrelated, Stream


def test_a_number_depends_only_on_seed_purpose_and_index() -> None:
    one = Stream(7, "loss")
    assert [one.bits(i) for i in (5, 3, 5)] == [Stream(7, "loss").bits(i) for i in (5, 3, 5)]
    assert one.bits(1) != Stream(8, "loss").bits(1)
    assert one.bits(1) != Stream(7, "node").bits(1)


def test_numbers_have_the_stated_distributions() -> None:
    stream, count = Stream(1, "test"), range(20_000)
    normal = [stream.normal(i) for i in count]
    assert statistics.fmean(normal) == pytest.approx(0, abs=0.03)
    assert statistics.stdev(normal) == pytest.approx(1, abs=0.03)
    assert statistics.fmean(stream.exponential(i) for i in count) == pytest.approx(1, abs=0.03)
    assert statistics.fmean(stream.uniform(i) for i in count) == pytest.approx(0.5, abs=0.01)
    assert {stream.below(i, 3) for i in range(100)} == {0, 1, 2}
    chosen = [stream.choose(i, (1.0, 1.0, 4.0)) for i in count]
    assert 1 not in chosen, "a choice of weight 0"
    assert chosen.count(0) / len(chosen) == pytest.approx(0.25, abs=0.02)


def test_neighbours_are_correlated_as_stated() -> None:
    process = Autocorrelated(Stream(3, "test"), 0.8)
    values = [process.at(i) for i in range(10_000)]
    assert statistics.stdev(values) == pytest.approx(1, abs=0.06)
    for lag, expected in ((1, 0.8), (3, 0.8**3)):
        found = statistics.correlation(values[lag:], values[:-lag])
        assert found == pytest.approx(expected, abs=0.05)
