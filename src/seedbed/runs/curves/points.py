"""Combines steps, or rows that each summarise 64 steps, into points of a plot with their lowest and highest value."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from seedbed.runs.curves.rows import Row, StepValues

AXES = ("step", "tokens", "time")
"""The x axes: the step, the trained tokens so far, the working time in seconds (without gaps between sessions)."""
KEYS = ("loss", "lr", "grad_norm", "tokens_per_s")
"""The values that every step has; any other name is that of an open metric (one that Seedbed does not know by name)."""

COLUMN = {name: number for number, name in enumerate(Row._fields)}
SOURCES = {
    "loss": slice(COLUMN["num_losses"], COLUMN["num_losses"] + 5),
    "lr": slice(COLUMN["num_lrs"], COLUMN["num_lrs"] + 5),
    "grad_norm": slice(COLUMN["num_grads"], COLUMN["num_grads"] + 5),
    "tokens_per_s": slice(COLUMN["timed_s"], COLUMN["timed_s"] + 5),
}
"""The columns of a Row for each of KEYS: weight, sum, lowest, highest and last of its values."""
AXIS = {
    "step": (COLUMN["first"], COLUMN["last"]),
    "tokens": (COLUMN["tokens0"], COLUMN["tokens"]),
    "time": (COLUMN["clock0"], COLUMN["clock"]),
}
"""The columns of a Row for each of AXES: the positions of its first and its last step."""


class Point(NamedTuple):
    """A point of a plot: the steps under one pixel, combined. `mean`, `low` and `high` are nan if no value is finite."""

    x: float
    mean: float
    low: float
    high: float
    last: float
    """The value of the last step that has a value."""
    num_odd: int
    """The number of steps whose loss is not finite; 0 for other values than the loss."""
    x0: float
    """The position of the point's first step on the x axis."""
    x1: float
    """The position of the point's last step on the x axis."""


class Cell(NamedTuple):
    """The value of one step, at its position `x`.

    The mean of several cells is the sum of their `total` divided by the sum of their `weight`.
    """

    x: float
    weight: float
    total: float
    value: float
    num_odd: int


def cell(step: StepValues, axis: str, key: str) -> Cell:
    """Make the cell of a step for `key`, one of KEYS."""
    x = position(step, axis)
    weight, total = 1.0, step.loss if key == "loss" else step.lr if key == "lr" else step.grad_norm
    if key == "tokens_per_s":
        weight, total = step.seconds, float(step.new_tokens)
        if total < 0 or not 0 < weight < math.inf:
            return Cell(x, 0.0, 0.0, math.nan, 0)
    if not math.isfinite(total):
        return Cell(x, 0.0, 0.0, math.nan, int(key == "loss"))
    return Cell(x, weight, total, total / weight, 0)


def open_cell(step: StepValues, axis: str, value: float) -> Cell:
    """Make the cell of a step for the value of an open metric, which is nan if the step does not have it."""
    x = position(step, axis)
    return Cell(x, 1.0, value, value, 0) if math.isfinite(value) else Cell(x, 0.0, 0.0, math.nan, 0)


def position(step: StepValues, axis: str) -> float:
    """The position of a step on an axis: its step, its trained tokens or its working time."""
    return float(step.step if axis == "step" else step.tokens if axis == "tokens" else step.time)


def gather_rows(
    starts: Sequence[float],
    ends: Sequence[float],
    values: Sequence[Sequence[float]],
    odd: Sequence[float] | None,
    grid: tuple[float, float],
) -> Iterator[Point]:
    """Yield a point for each interval of the grid (start, width) that combines the rows whose last step is in it.

    `starts` and `ends` are the positions of the rows' first and last steps, `values` the five columns of a key (see
    SOURCES), `odd` the column num_odd. Works on slices, since a run of a million steps has 16,000 rows.
    """
    weights, totals, lows, highs, lasts = values
    start = 0
    while start < len(ends):
        stop = _same_point(ends, start, *grid)
        some = slice(start, stop)
        weight = sum(weights[some])
        yield Point(
            x=(starts[start] + ends[stop - 1]) / 2,
            mean=sum(totals[some]) / weight if weight else math.nan,
            low=min(lows[some]) if weight else math.nan,
            high=max(highs[some]) if weight else math.nan,
            last=next((value for value in reversed(lasts[some]) if math.isfinite(value)), math.nan),
            num_odd=int(sum(odd[some])) if odd else 0,
            x0=float(starts[start]),
            x1=float(ends[stop - 1]),
        )
        start = stop


def gather(cells: Sequence[Cell], x0: float, width: float) -> Iterator[Point]:
    """Yield a point for each interval of `width`, counted from `x0`, that combines the single steps in it."""
    positions = [cell.x for cell in cells]
    start = 0
    while start < len(cells):
        some = cells[start : _same_point(positions, start, x0, width)]
        start += len(some)
        values = [cell.value for cell in some if cell.weight]
        weight = sum(cell.weight for cell in some)
        yield Point(
            x=(some[0].x + some[-1].x) / 2,
            mean=sum(cell.total for cell in some) / weight if weight else math.nan,
            low=min(values, default=math.nan),
            high=max(values, default=math.nan),
            last=values[-1] if values else math.nan,
            num_odd=sum(cell.num_odd for cell in some),
            x0=some[0].x,
            x1=some[-1].x,
        )


def _same_point(positions: Sequence[float], start: int, x0: float, width: float) -> int:
    """The index after the last position that is in the same interval as the one at `start`; at least start + 1.

    The intervals have the width `width` and are counted from `x0`.
    """
    if not width > 0:
        return bisect_right(positions, positions[start], start)
    number = (positions[start] - x0) // width + 1
    if x0 + number * width <= positions[start]:  # on the boundary, apart from rounding
        number += 1
    return max(bisect_left(positions, x0 + number * width, start), start + 1)


def ema(values: Sequence[float], smoothing: float) -> list[float]:
    """The exponential moving average with smoothing factor `smoothing`, the weight of the past values.

    It has Adam's bias correction (arXiv:1412.6980). nan values stay nan and do not change the average.
    """
    if not 0 < smoothing < 1:
        return list(values)
    total = weight = 0.0
    means = []
    for value in values:
        if math.isfinite(value):
            total = smoothing * total + (1 - smoothing) * value
            weight = smoothing * weight + (1 - smoothing)
        means.append(total / weight if math.isfinite(value) else math.nan)
    return means
