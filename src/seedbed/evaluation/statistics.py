"""Intervals of losses and of differences between models, by resampling the units of the text (bootstrap).

The units (documents, or blocks if there are few documents) are drawn with replacement, as many as there are; a mean loss
is the ratio of the sums over the drawn units (Efron & Tibshirani, An Introduction to the Bootstrap, 1993). All models
are resampled with the same draws, so that a difference is paired: what makes a document hard for all models cancels out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

LN_2 = math.log(2)
RESAMPLES = 10_000
CONFIDENCE = 0.95
FEWEST_UNITS = 10
"""With fewer units, no interval is given."""
_MOST_UNITS = 4096
"""More units are put into as many random groups, which are resampled instead: the spread stays the same."""
_DRAWS = 1 << 22
"""The most units that are drawn at a time, which bounds the memory."""


class UnitScores(NamedTuple):
    """The scores of one model: for each unit, the summed loss in nats, the number of tokens, and the UTF-8 bytes."""

    nats: np.ndarray
    tokens: np.ndarray
    num_bytes: np.ndarray


class Estimate(NamedTuple):
    """A value, and the bounds of its interval; None if there are too few units."""

    value: float
    low: float | None
    high: float | None


class ModelEstimate(NamedTuple):
    """The loss of a model in nats per token, its perplexity, and its bits per byte."""

    loss: Estimate
    perplexity: Estimate
    bits_per_byte: Estimate


class Difference(NamedTuple):
    """The bits per byte of model `a` minus those of model `b` (numbers of models).

    `a_better`: the share of resamples in which `a` has fewer bits per byte, equal ones counted half; None if there are too
    few units.
    """

    a: int
    b: int
    bits_per_byte: Estimate
    a_better: float | None


def estimates(models: Sequence[UnitScores], seed: int) -> tuple[list[ModelEstimate], list[Difference]]:
    """The estimates of every model, and the differences of every pair of models, with the same resamples."""
    sums = [tuple(float(part.sum()) for part in each) for each in models]
    drawn = _resampled(models, seed) if len(models[0].nats) >= FEWEST_UNITS else None
    found: list[ModelEstimate] = []
    ratios: list[np.ndarray | None] = []
    for number, (nats, tokens, num_bytes) in enumerate(sums):
        losses: np.ndarray | None = None
        bits: np.ndarray | None = None
        if drawn is not None:
            part = drawn[:, 3 * number : 3 * number + 3]
            losses, bits = _ratio(part[:, 0], part[:, 1]), _ratio(part[:, 0], part[:, 2]) / LN_2
        ratios.append(bits)
        loss = _estimate(nats / max(tokens, 1), losses)
        found.append(ModelEstimate(loss, _exponential(loss), _estimate(nats / max(num_bytes, 1) / LN_2, bits)))
    differences = []
    for a in range(len(models)):
        for b in range(a + 1, len(models)):
            value = found[a].bits_per_byte.value - found[b].bits_per_byte.value
            first, second = ratios[a], ratios[b]
            if first is None or second is None:
                differences.append(Difference(a, b, Estimate(value, None, None), None))
                continue
            share = float((first < second).mean() + (first == second).mean() / 2)
            differences.append(Difference(a, b, _estimate(value, first - second), share))
    return found, differences


def _exponential(loss: Estimate) -> Estimate:
    """The perplexity of a loss, e^loss; infinity if that overflows."""
    value, low, high = (None if each is None else math.exp(each) if each < 700 else math.inf for each in loss)
    assert value is not None
    return Estimate(value, low, high)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """The ratios of sums; a resample of units without tokens gives 0."""
    ratios: np.ndarray = numerator / np.maximum(denominator, 1)
    return ratios


def _estimate(value: float, drawn: np.ndarray | None) -> Estimate:
    if drawn is None:
        return Estimate(value, None, None)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drawn, (tail, 1 - tail)).tolist()
    return Estimate(value, low, high)


def _resampled(models: Sequence[UnitScores], seed: int) -> np.ndarray:
    """The sums over the units of each resample: float64 [RESAMPLES, 3 * models], in the order of UnitScores."""
    random = np.random.default_rng([seed, 1])
    values = np.stack([part.astype(np.float64) for each in models for part in each], axis=1)
    if len(values) > _MOST_UNITS:
        groups = random.permutation(len(values)) % _MOST_UNITS
        values = np.stack([np.bincount(groups, column, _MOST_UNITS) for column in values.T], axis=1)
    units = len(values)
    rows = max(_DRAWS // units, 1)
    sums = []
    for begin in range(0, RESAMPLES, rows):
        count = min(rows, RESAMPLES - begin)
        drawn = random.integers(0, units, (count, units)) + np.arange(count)[:, None] * units
        sums.append(np.bincount(drawn.ravel(), minlength=count * units).reshape(count, units) @ values)
    return np.concatenate(sums)
