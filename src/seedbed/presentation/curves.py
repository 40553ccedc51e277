"""Turns the curves of one or several runs into lines to plot, in the terminal or as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from seedbed.chart.axes import FAINT, Line
from seedbed.presentation.open_metrics import known
from seedbed.runs.curves.points import KEYS, ema
from seedbed.runs.curves.series import Mark, Series

METRICS = {
    "loss": "loss (nats per token)",
    "val_loss": "validation loss (nats per token)",
    "lr": "learning rate",
    "grad_norm": "gradient norm",
    "tokens_per_s": "tokens per second",
}
"""The metrics that every run has: column name in `seedbed metrics` -> label in plots.

Any other metric is an open metric: one that Seedbed does not know by name, such as mfu."""
VALIDATED = "val_"
"""The prefix of the open metrics that validations log, such as `val_accuracy`."""


class Drawn(NamedTuple):
    """A run to plot: its name and its curves (a Series, which reads them from the run's log)."""

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
    """The lines of a chart, as functions of `axis` (step, tokens or time). A run without points has no line.

    For a single run: the metric with its range, and for the loss also the validation losses. For several runs: the
    metric of each, whose colour and tag depend only on the run's position in `shown`. `smoothing` is the smoothing
    factor of an exponential moving average over the points, from 0 (off) to below 1; for a single run the unsmoothed
    curve is drawn behind it as a faint line. `window` is the part of the axis to draw. A line has about `px` points.
    """
    alone = len(shown) == 1
    found: list[Line] = []
    for number, each in enumerate(shown):
        title, tag = (_curve_label(metric, shown), "") if alone else (each.name, run_tag(number))
        if metric in KEYS or metric not in METRICS:
            found += _trained(each.series, title, tag, number, axis, metric, smoothing, window, px, alone=alone)
        validated = _validated(each.series, metric, alone=alone)
        if validated:
            x, y = [mark.at(axis) for mark, _ in validated], [value for _, value in validated]
            # Validations are too few to be smoothed.
            if metric == "loss":
                found.append(Line("validation loss", x, y, series=1))
            else:
                found.append(Line(title, x, y, series=number, tag=tag))
    return found


def _validated(series: Series, metric: str, *, alone: bool) -> list[tuple[Mark, float]]:
    """The validations of a run to plot for a metric, each with its value of that metric.

    `alone` says that no other run is plotted.
    """
    if metric == "val_loss" or (alone and metric == "loss"):
        return [(mark, mark.loss) for mark in series.validations]
    if metric in METRICS or not metric.startswith(VALIDATED):
        return []
    return series.validation_metric(metric.removeprefix(VALIDATED))


def metric_names(views: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names of all metrics that can be plotted: those that every run has, then the open metrics.

    `views` has the open metrics of each run by name (View.metrics).
    """
    return [*METRICS, *dict.fromkeys(name for view in views for name in view)]


def label(metric: str, shown: Sequence[Drawn]) -> str:
    """The label of a metric of the runs in a plot, with its unit, such as `loss (nats per token)`."""
    if metric in METRICS:
        return METRICS[metric]
    return known(metric, simulated=all(each.series.is_simulated for each in shown)).plot


def short_label(metric: str, shown: Sequence[Drawn]) -> str:
    """The label of a metric without its unit, such as `loss`."""
    return label(metric, shown).partition(" (")[0]


def axis_label(shown: Sequence[Drawn], axis: str) -> str:
    """The label of the x axis: `axis`, or `simulated time` for times on the own clock of a simulated run."""
    return "simulated time" if axis == "time" and any(each.series.is_simulated for each in shown) else axis


def extent(shown: Sequence[Drawn], axis: str) -> tuple[float, float] | None:
    """The lowest and highest x of the training steps of all runs; None if no run has trained a step."""
    extents = [extent for each in shown if (extent := each.series.extent(axis)) is not None]
    return (min(low for low, _ in extents), max(high for _, high in extents)) if extents else None


def run_tag(number: int) -> str:
    """The tag of run `number` (from 0) of a plot, shown in the legend and at the end of its curve: `1`, `2`, ...

    Readers who cannot tell the colours need it.
    """
    return str(number + 1)


def _curve_label(metric: str, shown: Sequence[Drawn]) -> str:
    return "training loss" if metric == "loss" else short_label(metric, shown)


def _trained(
    series: Series,
    title: str,
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
    """The line of a metric that training steps log: with its range, or smoothed; no line if there is no point."""
    x0, x1 = window or (None, None)
    points = series.window(x0, x1, px=px, axis=axis, key=key)
    if not any(math.isfinite(point.mean) for point in points):
        return []
    x, means = [point.x for point in points], [point.mean for point in points]
    low, high = [point.low for point in points], [point.high for point in points]
    if not smoothing:
        return [Line(title, x, means, low, high, series=number, tag=tag)]
    behind = [Line("", x, means, low, high, series=FAINT + number)] if alone else []
    return [*behind, Line(title, x, ema(means, smoothing), series=number, tag=tag)]
