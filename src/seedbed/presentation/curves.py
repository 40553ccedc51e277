"""The curves of one run, or of several laid over each other, as lines to draw, in a terminal or on a page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from seedbed.chart import FAINT, Line
from seedbed.runs.curves.points import KEYS, ema
from seedbed.runs.curves.series import Mark, Series

METRICS = {
    "loss": "loss (nats per token)",
    "val_loss": "validation loss (nats per token)",
    "lr": "learning rate",
    "grad_norm": "gradient norm",
    "tokens_per_s": "tokens per second",
}
"""What can be drawn of every run, by the names of the columns of `seedbed metrics`, and what a picture calls it. Any other
name is that of an open metric."""
VALIDATED = "val_"
"""How the name of a validation's open metric begins."""


class Drawn(NamedTuple):
    """A run to draw: its name and its curves."""

    name: str
    series: Series


def lines(
    shown: Sequence[Drawn],
    *,
    axis: str = "step",
    metric: str = "loss",
    smoothing: float = 0.0,
    window: tuple[float, float] | None = None,
    px: int = 400,
) -> list[Line]:
    """The curves along an axis; a run without a point is left out, and keeps its colour and its tag.

    Of one run alone: the metric with its spread, and with the loss the validation losses. Of several: the metric of each.
    `smoothing` is the weight of the past in an exponential mean over the points, from 0 to below 1; what it smooths
    stays visible behind it, as a faint line, where the run is alone. `window` is the part of the axis that is drawn.
    """
    alone = len(shown) == 1
    found: list[Line] = []
    for number, each in enumerate(shown):
        label, tag = (_label(metric), "") if alone else (each.name, run_tag(number))
        if metric in KEYS or metric not in METRICS:
            found += _trained(each.series, label, tag, number, axis, metric, smoothing, window, px, alone=alone)
        validated = _validated(each.series, metric, alone=alone)
        if validated:
            x, y = [mark.at(axis) for mark, _ in validated], [value for _, value in validated]
            # Validations are few: a mean over them would hide what they say.
            if metric == "loss":
                found.append(Line("validation loss", x, y, series=1))
            else:
                found.append(Line(label, x, y, series=number, tag=tag))
    return found


def _validated(series: Series, metric: str, *, alone: bool) -> list[tuple[Mark, float]]:
    """The validations that belong into a picture of a metric, each with its value."""
    if metric == "val_loss" or (alone and metric == "loss"):
        return [(mark, mark.loss) for mark in series.validations]
    if metric in METRICS or not metric.startswith(VALIDATED):
        return []
    return series.validation_metric(metric.removeprefix(VALIDATED))


def metric_names(views: Iterable[Mapping[str, Any]]) -> list[str]:
    """What can be drawn of runs: what every run has, then the open metrics of each (View.metrics)."""
    return [*METRICS, *dict.fromkeys(name for view in views for name in view)]


def what(metric: str) -> str:
    """What a picture calls a metric."""
    return METRICS.get(metric, metric)


def short(metric: str) -> str:
    """The same without its unit."""
    return what(metric).partition(" (")[0]


def along(shown: Sequence[Drawn], axis: str) -> str:
    """What a picture calls its x axis: the time of a simulated run is its own."""
    return "simulated time" if axis == "time" and any(each.series.is_simulated for each in shown) else axis


def extent(shown: Sequence[Drawn], axis: str) -> tuple[float, float] | None:
    """The x of the first and of the last step of all the runs; None before there is one."""
    extents = [extent for each in shown if (extent := each.series.extent(axis)) is not None]
    return (min(low for low, _ in extents), max(high for _, high in extents)) if extents else None


def run_tag(number: int) -> str:
    """What stands for one of several runs, in the legend and at the end of its curve, for who sees no colours."""
    return str(number + 1)


def _label(metric: str) -> str:
    return "training loss" if metric == "loss" else short(metric)


def _trained(
    series: Series,
    label: str,
    tag: str,
    number: int,
    axis: str,
    key: str,
    smoothing: float,
    window: tuple[float, float] | None,
    px: int,
    *,
    alone: bool,
) -> list[Line]:
    """A value of the training steps: with its spread, or smoothed."""
    x0, x1 = window or (None, None)
    points = series.window(x0, x1, px=px, axis=axis, key=key)
    if not any(math.isfinite(point.mean) for point in points):
        return []
    x, means = [point.x for point in points], [point.mean for point in points]
    low, high = [point.low for point in points], [point.high for point in points]
    if not smoothing:
        return [Line(label, x, means, low, high, series=number, tag=tag)]
    behind = [Line("", x, means, low, high, series=FAINT + number)] if alone else []
    return [*behind, Line(label, x, ema(means, smoothing), series=number, tag=tag)]
