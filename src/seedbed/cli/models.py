"""`seedbed models`: what a model is and whether Seedbed can use it; or the models on this machine."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from seedbed.cli.model_choice import complete_model
from seedbed.cli.parser import json_option, runs_option

if TYPE_CHECKING:
    from seedbed.actions.describing import ModelList
    from seedbed.actions.model_report import ModelReport
    from seedbed.presentation.model_report import Line
    from seedbed.runs.store import Store

DESCRIPTION = """\
Show what a model is: family, shape, parameters, context, tokenizer, chat template, licence, the memory that it needs,
and whether Seedbed can use it; if not, why. MODEL is the path of a model folder, a run or RUN@STEP, or
hub:NAME[@REVISION], a model on the Hugging Face Hub, of which only small files are downloaded. Without MODEL, list the
newest checkpoint of each run, and the models in the Hub's cache; columns for which the terminal has no room are left
out, --json has all. The exit status is 0 if Seedbed can generate with the model, evaluate it and train it further, and
1 if it cannot do all of that.
"""
EXAMPLES = """\
  seedbed models                                            the models on this machine
  seedbed models ~/models/SmolLM2-135M-Instruct
  seedbed models hub:HuggingFaceTB/SmolLM2-135M-Instruct    before downloading it
  seedbed models hub:Qwen/Qwen3-0.6B --download             download it now
  seedbed models quickstart@200 --json
"""
_LABEL_WIDTH = 12


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `models` to the parser."""
    model = parser.add_argument(
        "ref",
        metavar="MODEL",
        nargs="?",
        help="a model folder's path, a run, RUN@STEP, or hub:NAME (default: list all)",
    )
    model.completer = complete_model  # type: ignore[attr-defined]
    parser.add_argument("--download", action="store_true", help="download the whole model from the Hub")
    parser.add_argument("-a", "--all", action="store_true", help="in the list: also models of archived runs")
    runs_option(parser)
    json_option(parser, "an object")


def run(arguments: argparse.Namespace) -> int:
    """Print a report on a model, or the list of models."""
    from seedbed.cli.console import note, say, say_json, set_temporary_line
    from seedbed.cli.store_option import store

    if arguments.ref is None:
        return _list(arguments)
    from seedbed.actions.describing import describe
    from seedbed.hub.names import is_hub_reference
    from seedbed.presentation.model_report import as_json

    place = store(arguments.runs)
    reference = arguments.ref
    if arguments.download:
        reference = _downloaded(place, reference)
    set_temporary_line("asking the Hub ..." if is_hub_reference(reference) else "")
    try:
        report = describe(place, reference)
    finally:
        set_temporary_line()
    if report.note:
        note(f"warning: {report.note}")
    if arguments.json:
        say_json(as_json(report))
    else:
        for line in _described(report):
            say(line)
    return 0 if report.can_run and report.can_train else 1


def _downloaded(place: Store, reference: str) -> str:
    """Download a model from the Hub; returns the reference with its commit."""
    from seedbed.cli.model_choice import choose_model
    from seedbed.errors import UsageError
    from seedbed.hub.names import is_hub_reference

    if not is_hub_reference(reference):
        raise UsageError("--download is for a model on the Hub.", "Write hub:OWNER/NAME, or remove --download.")
    return choose_model(place, reference, None).hub


def _described(report: ModelReport) -> list[str]:
    """The lines of a report, fitted to the terminal."""
    from seedbed.cli.console import paint
    from seedbed.presentation.model_report import lines, verdict
    from seedbed.text import printable

    found = [paint(printable(report.name), "bold")]
    for line in lines(report):
        found += _wrapped(line, _LABEL_WIDTH)
    found.append("")
    for line in verdict(report):
        found += _wrapped(line, 2 if line.label or line.style == "dim" else 0)
    return found


def _wrapped(line: Line, indent: int) -> list[str]:
    """A line after its label, wrapped to the width of the terminal."""
    from seedbed.cli.console import folded, paint

    found = []
    for number, row in enumerate(folded(line.text, indent)):
        label = line.label if number == 0 else ""
        found.append(f"{paint(f'{label:<{indent}}', 'dim')}{paint(row, line.style)}".rstrip())
    return found


def _list(arguments: argparse.Namespace) -> int:
    from seedbed.actions.describing import list_models
    from seedbed.cli.console import say, say_json
    from seedbed.cli.store_option import store
    from seedbed.errors import UsageError
    from seedbed.presentation.model_report import list_as_json

    if arguments.download:
        raise UsageError("--download needs a model on the Hub.", "Write `seedbed models hub:OWNER/NAME --download`.")
    found = list_models(store(arguments.runs), archived=arguments.all)
    if arguments.json:
        say_json(list_as_json(found))
        return 0
    for line in _listed(found):
        say(line)
    return 0


def _listed(found: ModelList) -> list[str]:
    """The tables of the models on this machine, as lines."""
    from seedbed.cli.console import fitted, folded, paint, table
    from seedbed.presentation.model_report import HUB_COLUMNS, RIGHT, RUN_COLUMNS, hub_cells, run_cells
    from seedbed.text import printable

    lines: list[str] = []
    for heading, columns, rows, spare in (
        (
            "Runs",
            RUN_COLUMNS,
            [run_cells(row) for row in found.runs],
            ("SAVED", "WEIGHTS", "FAMILY", "PARAMS", "VAL LOSS"),
        ),
        (
            "Hugging Face cache",
            HUB_COLUMNS,
            [hub_cells(row) for row in found.hub],
            ("COMMIT", "WEIGHTS", "FAMILY", "PARAMS"),
        ),
    ):
        if not rows:
            continue
        header = list(columns)
        fitted(header, rows, [], spare=spare, shorten="MODEL", least=16)
        lines += [*([""] if lines else []), paint(heading, "bold"), *table(rows, header, right=RIGHT)]
    if found.hub and found.hub_cache is not None:
        lines.append(paint(f"in {printable(str(found.hub_cache))}", "dim"))
    if not lines:
        lines = folded(
            "There are no models yet. `seedbed train` trains one; `seedbed models hub:OWNER/NAME` looks at one."
        )
    return lines
