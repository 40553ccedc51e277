"""`seedbed curve`: a run's training and validation losses, in the terminal or as an SVG picture."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from seedbed.cli.parser import json_option, run_option, runs_option

DESCRIPTION = "Draw the training and validation losses of a run. Without RUN, the newest that has any."
EXAMPLES = """\
  seedbed curve                          the newest run, in the terminal
  seedbed curve quickstart --svg loss.svg
  seedbed curve quickstart --json        the points
"""

_POINTS = 2048
"""Most points of --json; more steps than that are gathered, their lowest and highest loss kept."""


def options(parser: argparse.ArgumentParser) -> None:
    """The options of `curve`."""
    run_option(parser, "which run (default: the newest with losses)")
    parser.add_argument("--svg", metavar="FILE", type=Path, help="write a picture, for light and dark pages")
    runs_option(parser)
    json_option(parser, "the points")


def run(arguments: argparse.Namespace) -> int:
    """Read the losses and draw them."""
    from seedbed import text
    from seedbed.actions import has_steps
    from seedbed.chart import svg
    from seedbed.cli.console import say, say_json, width
    from seedbed.cli.place import store
    from seedbed.cli.summary import picture
    from seedbed.errors import SeedbedError
    from seedbed.files import write_atomic
    from seedbed.runs.series import Series

    found = store(arguments.runs).find(arguments.ref, fits=has_steps, wanted="run that has logged a step")
    series = Series.load(found)
    if arguments.json:
        say_json(
            {
                "id": found.id,
                "training": [
                    {"first_step": int(p.x0), "last_step": int(p.x1), "loss": p.mean, "low": p.low, "high": p.high}
                    for p in series.window(px=_POINTS)
                    if math.isfinite(p.mean)
                ],
                "validation": [{"step": score.step, "loss": score.loss} for score in series.scores],
            }
        )
        return 0
    if not len(series):
        raise SeedbedError(f"{found.id} has logged no step yet.", f"`seedbed status {found.id}` tells how it stands.")
    if arguments.svg is None:
        say(text.printable(found.name()))
        for line in picture(series.lines(), width(120), 20):
            say(line)
        return 0
    drawn = svg(series.lines(px=300), title=found.name(), x_label="step", y_label="loss (nats per token)")
    if drawn is not None:
        write_atomic(arguments.svg.expanduser(), drawn)
        say(f"wrote {text.printable(str(arguments.svg))}")
    return 0
