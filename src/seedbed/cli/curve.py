"""`seedbed curve`: plot the metrics of one or several runs, in the terminal or as SVG."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING, Any

from seedbed.cli.argument_types import file_path, real
from seedbed.cli.parser import complete_run, json_option, runs_option

if TYPE_CHECKING:
    from seedbed.chart.axes import Line
    from seedbed.presentation.curves import Drawn
    from seedbed.runs.store import RunDir

DESCRIPTION = """\
Plot the training and validation losses of a run, or the training losses of several runs together. --y selects another
metric; --x selects another x axis: tokens or training time. Without RUN, plot the newest run that has logged a step.
"""
EXAMPLES = """\
  seedbed curve                                 the newest run, in the terminal
  seedbed curve first second third              several runs in one plot
  seedbed curve first second --y val_loss --x tokens
  seedbed curve quickstart --smooth 0.9 --log   smoothed, on a logarithmic scale
  seedbed curve quickstart --svg loss.svg
  seedbed curve quickstart --json               the points
"""
SYNONYMS = {
    "--axis": "--x",
    "--ema": "--smooth",
    "--metric": "--y",
    "--out": "--svg",
    "--output": "--svg",
    "--smoothing": "--smooth",
}
"""Option of another program -> the equivalent in Seedbed."""

_POINTS = 2048
"""The maximum number of points that --json prints. In longer runs, a point combines several steps (low and high)."""
_AXES = ("step", "tokens", "time")
_METRICS = ("loss", "val_loss", "lr", "grad_norm", "tokens_per_s")
_TIME_UNITS = (("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0))
_LEGEND_PX = 560.0
"""The width of the legend in pixels."""


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `curve` to the parser."""
    action = parser.add_argument(
        "refs", metavar="RUN", nargs="*", help="which runs (default: the newest with a logged step)"
    )
    action.completer = complete_run  # type: ignore[attr-defined]
    add = parser.add_argument
    add(
        "--x", choices=_AXES, default="step", help="the x axis: steps, trained tokens, or training time (default: step)"
    )
    add(
        "--y",
        metavar="NAME",
        type=_metric,
        default="loss",
        help=f"the metric to plot: {', '.join(_METRICS)}, or any other metric that the run logs (default: loss)",
    )
    add(
        "--smooth",
        metavar="W",
        type=_smoothing_factor,
        default=0.0,
        help="exponential moving average with smoothing factor W, such as 0.9 (default: 0, off)",
    )
    add("--log", action="store_true", help="use a logarithmic y axis")
    add("--svg", metavar="FILE", type=file_path, help="write an SVG picture, for light and dark pages")
    runs_option(parser)
    json_option(parser, "the unsmoothed points")


def run(arguments: argparse.Namespace) -> int:
    """Read the curves of the runs, then print them as JSON or draw them."""
    from seedbed.actions import has_steps
    from seedbed.cli.console import say_json
    from seedbed.cli.store_option import find_all, store
    from seedbed.presentation.curves import Drawn
    from seedbed.runs.curves.series import Series
    from seedbed.runs.kinds import refuse_task

    runs = store(arguments.runs)
    if arguments.refs:
        found = find_all(runs, arguments.refs)
        for each in found:
            refuse_task(each, "curve")
    else:
        found = [runs.find(None, fits=has_steps, wanted="run that has logged a step")]
    if arguments.y not in _METRICS:
        _refuse_unknown(found, arguments.y)
    shown = [Drawn(each.name(), Series.load(each)) for each in found]
    for drawn in shown if arguments.y not in _METRICS else []:
        for _ in drawn.series.load_metric(arguments.y):
            pass
    if arguments.json:
        objects = [points(each, drawn, arguments.x, arguments.y) for each, drawn in zip(found, shown, strict=True)]
        say_json(objects if len(arguments.refs) > 1 else objects[0])
        return 0
    _refuse_empty(found, shown, arguments.y)
    if arguments.svg is None:
        draw(shown, arguments)
    else:
        write_svg(shown, arguments)
    return 0


def points(run: RunDir, drawn: Drawn, axis: str, metric: str) -> dict[str, Any]:
    """The points of a run's curve of `metric` along `axis`, as --json prints them."""
    series, head = drawn.series, {"id": run.id, "name": drawn.name}
    found = (
        [
            {f"first_{axis}": _x(p.x0, axis), f"last_{axis}": _x(p.x1, axis), metric: p.mean, "low": p.low}
            | {"high": p.high}
            for p in series.window(px=_POINTS, axis=axis, key=metric)
            if math.isfinite(p.mean)
        ]
        if metric != "val_loss"
        else []
    )
    validated = [{axis: _x(mark.at(axis), axis), "loss": mark.loss} for mark in series.validations]
    if metric == "loss":
        return {**head, "training": found, "validation": validated}
    if metric == "val_loss":
        return {**head, "validation": validated}
    if metric not in _METRICS and metric.startswith("val_"):
        named = series.validation_metric(metric.removeprefix("val_"))
        return {**head, "points": found, "validation": [{axis: _x(m.at(axis), axis), metric: v} for m, v in named]}
    return {**head, "points": found}


def _x(x: float, axis: str) -> float:
    return x if axis == "time" else int(x)


def _refuse_empty(found: list[RunDir], shown: list[Drawn], metric: str) -> None:
    """Print a note for each run without points of `metric` to plot. Raises SeedbedError if no run has any."""
    from seedbed.cli.console import note
    from seedbed.errors import SeedbedError
    from seedbed.presentation.curves import lines
    from seedbed.text import printable

    lacks = "no validation" if metric == "val_loss" else "no step" if metric in _METRICS else f"no {metric}"

    def has_some(drawn: Drawn) -> bool:
        if metric == "val_loss":
            return bool(drawn.series.validations)
        return len(drawn.series) > 0 and (metric in _METRICS or bool(lines([drawn], metric=metric, px=2)))

    empty = [each for each, drawn in zip(found, shown, strict=True) if not has_some(drawn)]
    if len(empty) == len(found):
        raise SeedbedError(
            f'"{found[0].id}" has logged {lacks} yet.'
            if len(found) == 1
            else f"None of these {len(found)} runs has logged a {lacks[3:]} yet.",
            f"`seedbed status {found[0].id}` shows the run's status."
            if len(found) == 1
            else "`seedbed runs` lists the runs.",
        )
    for each in empty:
        note(f'"{printable(each.name())}" has logged {lacks} yet, so it is not plotted.')


def draw(shown: list[Drawn], arguments: argparse.Namespace) -> None:
    """Print the plot with its title."""
    from seedbed import text
    from seedbed.cli.console import note, say, width
    from seedbed.cli.summary import picture
    from seedbed.presentation.curves import axis_label, extent, label, lines

    columns = width(120)
    drawn = lines(shown, axis=arguments.x, metric=arguments.y, smoothing=arguments.smooth, px=2 * columns)
    notes = [
        f"along {axis_label(shown, arguments.x)}" if arguments.x != "step" else "",
        "log scale" if arguments.log else "",
    ]
    notes += [f"smoothed by {arguments.smooth:g}" if arguments.smooth else ""]
    drawing = ", ".join(["training loss" if arguments.y == "loss" else label(arguments.y, shown), *filter(None, notes)])
    title = text.printable(shown[0].name) if len(shown) == 1 else drawing
    if len(shown) == 1 and (arguments.y != "loss" or any(notes)):
        title += f": {drawing}"
    say(title)
    rows = picture(
        drawn,
        columns,
        20,
        extent=extent(shown, arguments.x),
        log=arguments.log,
        x_text=text.duration if arguments.x == "time" else None,
    )
    for line in rows:
        say(line)
    if not rows:
        note(
            "Nothing is plotted: a logarithmic scale cannot show values of 0 or less."
            if arguments.log
            else "The curve cannot be shown: the output is too narrow, or its encoding has no Braille characters."
            " --svg FILE writes a picture."
        )


def write_svg(shown: list[Drawn], arguments: argparse.Namespace) -> None:
    """Write the plot as an SVG file."""
    from seedbed.chart.svg import svg
    from seedbed.cli.console import say
    from seedbed.errors import SeedbedError
    from seedbed.files import expand_home, write_atomic
    from seedbed.presentation.curves import axis_label, label, lines, short_label
    from seedbed.text import printable, shorten

    drawn = lines(shown, axis=arguments.x, metric=arguments.y, smoothing=arguments.smooth, px=300)
    x_label = {"step": "step", "tokens": "trained tokens"}.get(arguments.x)
    if x_label is None:
        drawn, unit = _in_units(drawn)
        x_label = f"{unit} of {'simulated time' if axis_label(shown, arguments.x) != arguments.x else 'training'}"
    title = shown[0].name
    if len(shown) > 1:
        title = short_label(arguments.y, shown)
        room = max(int((_LEGEND_PX / len(shown) - 40) / 7.2), 4)
        drawn = [line._replace(label=shorten(f"{line.tag} {line.label}", room)) for line in drawn]
    picture = svg(
        drawn,
        title=title,
        x_label=x_label,
        y_label=label(arguments.y, shown),
        log=arguments.log,
        whole_x=arguments.x != "time",
    )
    if picture is None:
        raise SeedbedError("There are no points to plot.", "A logarithmic scale cannot show values of 0 or less.")
    write_atomic(expand_home(arguments.svg), picture)
    say(f"wrote {printable(str(arguments.svg))}")


def _in_units(drawn: list[Line]) -> tuple[list[Line], str]:
    """Convert x from seconds to a unit of time. Returns the converted lines and the unit.

    The unit is the largest one of which the plot shows at least two, such as hours for a run of two hours.
    """
    longest = max((x for line in drawn for x in line.x), default=0.0)
    unit, seconds = next(((unit, s) for unit, s in _TIME_UNITS if longest >= 2 * s), _TIME_UNITS[-1])
    return [line._replace(x=[x / seconds for x in line.x]) for line in drawn], unit


def _metric(word: str) -> str:
    """An argument type: the name of a metric. Names that Seedbed knows may be written with dashes: `val-loss`."""
    plain = word.replace("-", "_")
    return plain if plain in _METRICS else word


def _refuse_unknown(found: list[RunDir], metric: str) -> None:
    """Raise UsageError if none of the runs has a metric of this name."""
    from seedbed.errors import UsageError
    from seedbed.presentation.curves import metric_names
    from seedbed.runs.status import current_status
    from seedbed.runs.store import quoted

    names = metric_names(current_status(each).view.metrics for each in found)
    if metric not in names:
        whose = f'"{found[0].id}" has' if len(found) == 1 else "These runs have"
        raise UsageError(f"{whose} no metric {quoted(metric)}.", f"The metrics are {', '.join(names)}.")


def _smoothing_factor(word: str) -> float:
    """An argument type: a smoothing factor, from 0 to below 1."""
    value = real(0, 1)(word)
    if value == 1:
        raise argparse.ArgumentTypeError("the smoothing factor must be below 1; values above 0.99 are rarely useful")
    return value
