"""`seedbed metrics`: print the steps of a run as a table, CSV or JSON Lines."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING

from seedbed.cli.argument_types import file_path
from seedbed.cli.parser import run_option, runs_option

if TYPE_CHECKING:
    from seedbed.presentation.open_metrics import Known
    from seedbed.runs.metrics import Metric
    from seedbed.runs.store import RunDir
    from seedbed.runs.view import View

DESCRIPTION = """\
Print the steps of a run as a table: about twenty of them, from the first to the last, with the loss of the latest
validation. With --csv or --json, print every current step, for a spreadsheet or a script: step, tokens (so far), time
(unix seconds; of a simulated run, seconds of its own clock), loss, lr, grad_norm, step_s, val_loss (after steps that
were validated), tokens_per_s, and every other metric that the run logs. Steps that a resume from an earlier step
replaced are omitted. Values that are unknown or not finite are empty in CSV and null in JSON. Without RUN, print the
steps of the newest run that has logged a step.
"""
EXAMPLES = """\
  seedbed metrics quickstart                                    a table
  seedbed metrics quickstart --csv > steps.csv
  seedbed metrics quickstart --json | jq -s 'min_by(.loss)'     one object per line (JSON Lines)
  seedbed metrics quickstart --csv --out steps.csv              write to a file
"""

_ROWS = 1000
_SHOWN = 20
"""The approximate number of rows of the table."""
_OPEN_SHOWN = 8
_HEADING = 16
"""The maximum number of columns for the run's own (open) metrics, and of characters in their headings."""


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `metrics` to the parser."""
    run_option(parser, "which run (default: the newest that has logged a step)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="print a header and a row for each step (RFC 4180)")
    form.add_argument("--json", action="store_true", help="print an object for each step, one per line (JSON Lines)")
    parser.add_argument(
        "--out", metavar="FILE", type=file_path, help="write to FILE; if interrupted, FILE is not changed"
    )
    runs_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the steps of a run to stdout or to a file."""
    from seedbed.cli.store_option import store
    from seedbed.errors import UsageError
    from seedbed.files import expand_home, replacing
    from seedbed.runs.kinds import refuse_task
    from seedbed.runs.metrics import metrics
    from seedbed.runs.status import current_status

    found = store(arguments.runs).find(
        arguments.ref, fits=lambda run: current_status(run).view.step > 0, wanted="run that has logged a step"
    )
    refuse_task(found, "steps")
    if arguments.out is not None and not (arguments.csv or arguments.json):
        raise UsageError("--out needs a format.", "Add --csv or --json.")
    damaged: list[int] = []
    view = current_status(found).view
    names = [*view.metrics]
    steps = metrics(found, damaged.append, names)
    if not (arguments.csv or arguments.json):
        return _remarks(found, overview(steps, names, simulated=bool(view.run.get("simulated"))), damaged, view)
    blocks = (as_csv if arguments.csv else as_json)(steps, names)
    count = 0
    if arguments.out is None:
        for block, rows in blocks:
            count += rows
            sys.stdout.write(block)
    else:
        with replacing(expand_home(arguments.out)) as handle:
            for block, rows in blocks:
                count += rows
                handle.write(block.encode())
    return _remarks(found, count, damaged, view)


def _remarks(found: RunDir, count: int, damaged: list[int], view: View) -> int:
    """Print notes about what was printed, such as damaged lines of the log, and return the exit status."""
    from seedbed.cli.console import note
    from seedbed.events import MOST_METRICS
    from seedbed.text import printable

    if not count:
        note(f"{printable(found.id)} has logged no step yet.")
    if count and view.run.get("simulated"):
        note("The run is simulated: times and speeds are those of its own clock.")
    if len(view.metrics) >= MOST_METRICS:
        note(f"Only the first {MOST_METRICS} of the run's own metrics are kept.")
    if damaged:
        lines = "1 line" if len(damaged) == 1 else f"{len(damaged)} lines"
        note(f"Omitted {lines} of {printable(str(found.events))} that cannot be read, the first at byte {damaged[0]}.")
    return 0


def overview(steps: Iterator[Metric], names: Sequence[str] = (), *, simulated: bool = False) -> int:
    """Print a table of about 20 evenly spaced steps, with the first and the last. Returns the number of all steps.

    `names` are the open metrics (those that Seedbed does not know by name) to print; those of `simulated` runs are known.
    """
    from seedbed import text
    from seedbed.cli.console import fitted, note, say, table
    from seedbed.presentation.open_metrics import known
    from seedbed.text import shorten

    kept: list[Metric] = []
    last, count, stride = None, 0, 1
    validated: float | None = None
    validations: dict[str, float] = {}
    for last in steps:
        validated = validated if last.val_loss is None else last.val_loss
        validations |= {name: value for name, value in last.open.items() if name.startswith("val_")}
        last = last._replace(val_loss=validated, open=validations | last.open)
        if count % stride == 0:
            kept.append(last)
        count += 1
        if len(kept) > 2 * _SHOWN:  # keep memory bounded, however long the run is
            kept, stride = kept[::2], 2 * stride
    if last is None:
        return 0
    kept = kept[:: -(-len(kept) // _SHOWN)]
    if kept[-1] != last:
        kept.append(last)

    def cell(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    shown = [name for name in names[:_OPEN_SHOWN] if any(name in each.open for each in kept)]
    kinds = [known(name, simulated=simulated) for name in shown]
    own = [shorten(each.heading, _HEADING) for each in kinds]
    header = ["STEP", "TOKENS", "LOSS", "VAL LOSS", "LR", "GRAD NORM", "TOKENS/S", *own]
    rows = [
        [
            str(each.step),
            "" if each.tokens is None else text.count(each.tokens),
            cell(each.loss, ".4f"),
            cell(each.val_loss, ".4f"),
            cell(each.lr, ".3g"),
            cell(each.grad_norm, ".3g"),
            "" if each.tokens_per_s is None else text.count(each.tokens_per_s),
            *(_known(kind, each.open.get(name)) for kind, name in zip(kinds, shown, strict=True)),
        ]
        for each in kept
    ]
    fitted(header, rows, [], spare=(*own[::-1], "TOKENS", "GRAD NORM", "TOKENS/S", "LR"), shorten="")
    for line in table(rows, header, right=header):
        say(line)
    if len(kept) < count:
        note(f"{len(kept)} of {count:,} steps; --csv or --json prints all of them.")
    return count


def _known(kind: Known, value: float | None) -> str:
    return "" if value is None else kind.value(value)


def as_csv(steps: Iterator[Metric], names: Sequence[str] = ()) -> Iterator[tuple[str, int]]:
    """Yield the steps as CSV in pieces of text, each with the number of steps in it; the first piece is the header.

    `names` are the open metrics to add as columns.
    """
    import csv

    from seedbed.runs.metrics import FIGURES

    def text(rows: Iterable[Sequence[object]]) -> str:
        buffer = io.StringIO()
        csv.writer(buffer).writerows(rows)
        return buffer.getvalue()

    yield text([[*FIGURES, *names]]), 0
    yield from _pieces(steps, lambda some: text([*step[:-1], *map(step.open.get, names)] for step in some))


def as_json(steps: Iterator[Metric], names: Sequence[str] = ()) -> Iterator[tuple[str, int]]:
    """Yield the steps as JSON Lines in pieces of text, each with the number of steps in it.

    `names` are the open metrics to add.
    """
    import msgspec

    from seedbed.runs.metrics import FIGURES

    encode = msgspec.json.Encoder().encode

    def line(step: Metric) -> str:
        figures = dict(zip(FIGURES, step, strict=False)) | {name: step.open.get(name) for name in names}
        return encode(figures).decode() + "\n"

    yield from _pieces(steps, lambda some: "".join(map(line, some)))


def _pieces(steps: Iterator[Metric], text: Callable[[list[Metric]], str]) -> Iterator[tuple[str, int]]:
    """Yield what `text` makes of up to 1,000 steps at a time, each with the number of these steps."""
    for first in steps:
        some = [*chain([first], islice(steps, _ROWS - 1))]
        yield text(some), len(some)
