"""Intervals and paired differences against scipy's bootstrap and the normal approximation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from seedbed.evaluation.statistics import LN_2, UnitScores, estimates


def scores(random: np.random.Generator, units: int, hardness: np.ndarray, mean: float) -> UnitScores:
    """Scores of documents of different length, each with a loss per token of `mean` plus its hardness plus noise."""
    tokens = random.integers(20, 200, units)
    losses = mean + hardness + random.normal(0, 0.05, units)
    return UnitScores(losses * tokens, tokens, tokens * 4)


def test_the_interval_of_a_ratio_equals_that_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    random = np.random.default_rng(5)
    given = scores(random, 60, random.normal(0, 0.5, 60), 3.0)
    (found,), differences = estimates([given], seed=1)
    assert differences == []
    assert found.loss.value == pytest.approx(given.nats.sum() / given.tokens.sum())
    reference = stats.bootstrap(
        (given.nats, given.tokens.astype(float)),
        lambda nats, tokens, axis: nats.sum(axis) / tokens.sum(axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=10_000,
        random_state=2,
    ).confidence_interval
    width = reference.high - reference.low
    assert found.loss.low == pytest.approx(reference.low, abs=0.05 * width)
    assert found.loss.high == pytest.approx(reference.high, abs=0.05 * width)
    for bound in range(3):
        bits = found.bits_per_byte[bound]
        loss = found.loss[bound]
        assert bits is not None
        assert loss is not None
        assert found.perplexity[bound] == pytest.approx(math.exp(loss))
    assert found.bits_per_byte.value == pytest.approx(found.loss.value / 4 / LN_2)


@pytest.mark.parametrize("units", [400, 20_000])
def test_many_units_give_the_width_of_the_normal_approximation(units: int) -> None:
    random = np.random.default_rng(6)
    tokens = np.full(units, 50)
    losses = random.normal(3.0, 0.4, units)
    (found,), _ = estimates([UnitScores(losses * tokens, tokens, tokens)], seed=3)
    assert found.loss.low is not None
    assert found.loss.high is not None
    expected = 2 * 1.96 * losses.std() / math.sqrt(units)
    assert found.loss.high - found.loss.low == pytest.approx(expected, rel=0.06)


def test_a_paired_difference_is_certain_where_single_intervals_overlap() -> None:
    random = np.random.default_rng(7)
    hardness = random.normal(0, 0.8, 80)
    tokens = random.integers(20, 200, 80)

    def model(mean: float) -> UnitScores:
        return UnitScores((mean + hardness + random.normal(0, 0.05, 80)) * tokens, tokens, tokens * 4)

    (good, bad), (difference,) = estimates([model(3.0), model(3.1)], seed=1)
    assert good.loss.high is not None
    assert bad.loss.low is not None
    assert good.loss.high > bad.loss.low, "the intervals of the single models do not overlap"
    assert difference.bits_per_byte.high is not None
    assert difference.bits_per_byte.high < 0
    assert difference.a_better == 1.0
    assert difference.bits_per_byte.value == pytest.approx(good.bits_per_byte.value - bad.bits_per_byte.value)
    assert difference.bits_per_byte.value == pytest.approx(-0.1 / 4 / LN_2, rel=0.2)


def test_a_model_is_not_better_than_itself() -> None:
    random = np.random.default_rng(8)
    given = scores(random, 40, np.zeros(40), 3.0)
    _, (difference,) = estimates([given, given], seed=1)
    assert difference.a_better == 0.5
    assert difference.bits_per_byte == (0.0, 0.0, 0.0)


def test_equal_seeds_give_equal_intervals_and_too_few_units_none() -> None:
    random = np.random.default_rng(9)
    given = scores(random, 12, np.zeros(12), 3.0)
    assert estimates([given], 4) == estimates([given], 4) != estimates([given], 5)
    few = UnitScores(*(part[:9] for part in given))
    (found,), (difference,) = estimates([few, few], 4)[0][:1], estimates([few, few], 4)[1]
    assert (found.loss.low, found.bits_per_byte.high, difference.a_better) == (None, None, None)
    assert found.loss.value == pytest.approx(few.nats.sum() / few.tokens.sum())
