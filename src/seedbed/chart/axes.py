"""The parts that charts in the terminal and as SVG share: lines, the ranges of the axes, and their labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

AXIS = -1
"""The `series` (number of the colour) of a piece of text that belongs to the axes or their labels, not to a line."""
FAINT = 100
"""Added to the `series` (colour) of a line to draw it faintly, such as unsmoothed values behind a curve."""

Scale = Callable[[float], float]


class Line(NamedTuple):
    """One curve of a chart: points by ascending x; a y of NaN leaves a gap.

    `low` and `high`, if given, are the range around each y. `series` is the number of the colour; None uses the line's
    position in the list of lines. `tag`, one character, marks the line's last visible point in a terminal, for readers
    who cannot tell the colours.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    series: int | None = None
    tag: str = ""


class Marks(NamedTuple):
    """Marks at positions x of a chart, such as saved checkpoints: a one-character glyph in a row below the curves.

    Marks with the same `row` share that row; a later mark hides an earlier one at the same place.
    """

    glyph: str
    x: Sequence[float]
    series: int = AXIS
    row: int = 0


class Box(NamedTuple):
    """The ranges of x and y that a chart shows."""

    x0: float
    x1: float
    y0: float
    y1: float


def bounds(lines: Sequence[Line], *, log: bool = False, x0: float | None = None, x1: float | None = None) -> Box | None:
    """The smallest box around all finite points, widened if it would be flat; None if there is no point.

    `x0` and `x1` fix the sides of the box; then only points between them determine its height. On a `log` scale, values
    that are not above zero are omitted.
    """
    left, right = -math.inf if x0 is None else x0, math.inf if x1 is None else x1
    xs: list[float] = []
    ys: list[float] = []
    for line in lines:
        inside = [left <= x <= right for x in line.x]
        xs += [x for x, y in zip(line.x, line.y, strict=True) if math.isfinite(x) and math.isfinite(y)]
        for values in (line.y, line.low or (), line.high or ()):
            ys += [y for y, shown in zip(values, inside, strict=False) if shown and math.isfinite(y)]
    if log:
        ys = [y for y in ys if y > 0]
    if not xs or not ys:
        return None
    x0, x1 = min(xs) if x0 is None else x0, max(xs) if x1 is None else x1
    y0, y1 = min(ys), max(ys)
    if x1 <= x0:
        x0, x1 = x0 - 0.5, x0 + 0.5
    if y1 == y0:
        spread = abs(y0) * 0.05 or 0.5
        y0, y1 = y0 - spread, y1 + spread
    return Box(x0, x1, y0, y1)


def ticks(low: float, high: float, most: int = 6, *, whole: bool = False) -> list[float]:
    """Round numbers between `low` and `high` for the labels of an axis, in steps of 1, 2 or 5 times a power of ten.

    There are at most `most` numbers. With `whole`, all of them are whole numbers.
    """
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low or most < 1:
        return []
    raw = max((high - low) / most, 1.0 if whole else 0.0)
    power = 10.0 ** math.floor(math.log10(raw))
    for factor in (1, 2, 5, 10, 20):
        step = factor * power
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first + 1 <= most:
            return [round(k * step, 12) for k in range(first, last + 1)]
    return []


def log_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers for the labels of a logarithmic axis: 1, 2, 5 times powers of ten, or only powers of ten.

    There are at most `most` numbers. If fewer than two of those lie in the range, the numbers are those of a linear
    axis.
    """
    if not (0 < low < high < math.inf) or most < 1:
        return []
    first, last = math.floor(math.log10(low)), min(math.ceil(math.log10(high)), 308)
    for factors, stride in (
        ((1, 2, 5), 1),
        ((1, 3), 1),
        *(((1,), stride) for stride in (1, 2, 5, 10, 20, 50, 100, 200)),
    ):
        powers = range(math.floor(first / stride) * stride, last + 1, stride)
        found = [k * 10.0**power for power in powers for k in factors if low <= k * 10.0**power <= high]
        if len(found) <= most:
            return found if len(found) > 1 else [value for value in ticks(low, high, most) if value > 0]
    return []


def number(value: float) -> str:
    """The label of a value on an axis, with as few digits as it needs, such as 0.5, 12k or 1.5M."""
    if value == 0:
        return "0"
    if abs(value) >= 1e6:
        return f"{value / 1e6:.6g}M"
    if abs(value) >= 1e4:
        return f"{value / 1e3:.6g}k"
    return f"{value:.6g}" if abs(value) >= 1e-3 else f"{value:.3g}"


def y_scale(box: Box, top: int, log: bool) -> Scale:
    """Return a function that converts a value y to its distance from the top edge of the chart, in dots.

    The chart shows `box` and is `top` dots high. On a `log` scale, the distance of y <= 0 is NaN.
    """
    if not log:
        factor = top / (box.y1 - box.y0)
        return lambda y: (box.y1 - y) * factor
    high = math.log10(box.y1)
    log_factor = top / (high - math.log10(box.y0))
    return lambda y: (high - math.log10(y)) * log_factor if y > 0 else math.nan
