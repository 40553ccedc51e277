"""`seedbed runs`: list the runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from seedbed.cli.parser import json_option, runs_option
from seedbed.runs.statuses import SHOWN

if TYPE_CHECKING:
    from seedbed.runs.store import Store

DESCRIPTION = """\
List the runs, the newest last. A run must match all filters: one of the --status values, and every --tag.
Archived runs are listed only with --all or --archived. Tasks, such as preparing data, are listed unless they are
completed or stopped; --all lists these, too.
"""
EXAMPLES = """\
  seedbed runs                                   every run in ./runs
  seedbed runs --status running,queued
  seedbed runs --tag baseline --sort val_loss --limit 5    the five with the lowest loss
  seedbed runs --runs ~/models --csv > runs.csv
  seedbed runs --json            an array of the objects of `seedbed status --json`
"""
SYNONYMS = {
    "--a": "--all",
    "--filter": "--name",
    "--last": "--limit",
    "--n": "--limit",
    "--order": "--sort",
}
"""Option of another program -> the equivalent in Seedbed."""

# Value of the option --sort -> key of the status to sort by.
SORTS = {
    "created": "created",
    "name": "name",
    "status": "status",
    "step": "step",
    "tokens": "tokens",
    "loss": "loss",
    "val_loss": "val_loss",
    "best_val_loss": "best_val_loss",
    "final_val_loss": "final_val_loss",
    "speed": "tokens_per_s",
    "elapsed": "elapsed_s",
    "remaining": "remaining_s",
    "updated": "updated",
}


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `runs` to the parser."""
    from seedbed.cli.argument_types import whole

    add = parser.add_argument
    add(
        "--status",
        metavar="S[,S...]",
        type=any_of(SHOWN),
        action="extend",
        default=[],
        help=f"only runs with these statuses: {', '.join(SHOWN)}",
    )
    add("--tag", metavar="T", action="append", default=[], help="only runs with this tag; may be repeated")
    add("--name", metavar="TEXT", help="only runs with this text in their name, ignoring case")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--all", action="store_true", help="also list archived runs, and tasks that are completed or stopped"
    )
    which.add_argument("--archived", action="store_true", help="list only archived runs")
    add("--sort", metavar="KEY", choices=SORTS, help=f"order by one of: {', '.join(SORTS)} (default: created)")
    add("--reverse", action="store_true", help="reverse the order")
    add(
        "--limit",
        metavar="N",
        type=whole(1),
        help="list at most N runs: the first in the order of --sort, else the newest",
    )
    runs_option(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="print all fields of each run as CSV (RFC 4180)")
    json_option(form, "an array of statuses")


def any_of(known: Sequence[str]) -> Callable[[str], list[str]]:
    """Make an argument type (a function from word to value) for a list of `known` words, separated by commas."""

    def parse(word: str) -> list[str]:
        for each in word.split(","):
            if each not in known:
                raise argparse.ArgumentTypeError(f'"{each}" is not one of {", ".join(known)}')
        return word.split(",")

    return parse


def run(arguments: argparse.Namespace) -> int:
    """Print the list of runs."""
    from seedbed.cli.console import note, say, say_json
    from seedbed.cli.store_option import store
    from seedbed.text import plural, quoted

    runs_store = store(arguments.runs)
    found, hidden = select(runs_store, arguments)
    if arguments.json:
        say_json(found)
    elif arguments.csv:
        write_csv(found)
    elif found:
        for line in listing(found):
            say(line)
    elif not hidden and not runs_store.all():
        ended = len(runs_store.tasks())
        only = f", only {plural(ended, 'task')} that ended, which --all lists" if ended else ""
        note(f"There are no runs in {quoted(runs_store.root)} yet{only}. Start one with `seedbed train`.")
    elif not hidden or arguments.status or arguments.tag or arguments.name:
        note("No run matches.")
    if hidden:
        note(f"{hidden} archived run{' is' if hidden == 1 else 's are'} not listed; --all lists archived runs too.")
    return 0


def select(store: Store, arguments: argparse.Namespace) -> tuple[list[dict[str, Any]], int]:
    """The statuses of the runs that match the options, in order, and the number of archived runs that were omitted."""
    from seedbed.runs.control import shown_status
    from seedbed.runs.labels import checked_tag
    from seedbed.runs.listing import statuses

    tags, hidden = {checked_tag(tag) for tag in arguments.tag}, 0
    found = []
    for each in [*statuses(store, store.all()), *tasks(store, ended=arguments.all)]:
        if not tags <= set(each["tags"]) or (arguments.name or "").casefold() not in each["name"].casefold():
            continue
        if each["archived"] and not (arguments.all or arguments.archived):
            hidden += 1
        elif each["archived"] or not arguments.archived:
            found.append(each)
    if arguments.status:
        found = [each for each in found if {each["status"], shown_status(each)}.intersection(arguments.status)]
    if arguments.sort is None:
        found = found[-arguments.limit :] if arguments.limit is not None else found
        return found[::-1] if arguments.reverse else found, hidden
    key = SORTS[arguments.sort]
    known = [each for each in found if each[key] is not None]
    known.sort(key=lambda each: each[key].casefold() if isinstance(each[key], str) else each[key])
    ordered = (known[::-1] if arguments.reverse else known) + [each for each in found if each[key] is None]
    return ordered[: arguments.limit], hidden


def tasks(store: Store, *, ended: bool) -> list[dict[str, Any]]:
    """The statuses of tasks (work that writes an output instead of training) that are neither completed nor stopped.

    With `ended`, of all tasks.
    """
    known = store.tasks()
    if not known:
        return []
    from seedbed.runs.status import status

    return [found for found in map(status, known) if ended or found["status"] not in ("completed", "stopped")]


def write_csv(found: list[dict[str, Any]]) -> None:
    """Write the statuses as CSV: a header and a row per run.

    Tags are in one field, unknown values are empty, true and false are as in JSON.
    """
    import csv
    import json

    from seedbed.text import printable

    def cell(value: Any) -> Any:
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(each, dict) for each in value)):
            return json.dumps(value) if value else ""
        return " ".join(value) if isinstance(value, list) else value

    if sys.stdout.isatty():  # no control characters on a terminal; files get the exact values
        found = [
            {key: printable(value) if isinstance(value, str) else value for key, value in each.items()}
            for each in found
        ]
    writer = csv.writer(sys.stdout)
    if found:
        writer.writerow(found[0])
    for each in found:
        writer.writerow([cell(value) for value in each.values()])


def listing(found: list[dict[str, Any]]) -> list[str]:
    """The runs as the lines of a table; columns that do not fit the terminal are omitted."""
    import time

    from seedbed import text
    from seedbed.cli.console import fitted, table
    from seedbed.presentation.done import steps_text
    from seedbed.runs.base_names import short_name
    from seedbed.runs.control import shown_status

    rows, styles = [], []
    for each in found:
        steps = steps_text(each)
        name = ("SIMULATED " if each["simulated"] else "") + text.shorten_middle(text.printable(each["name"]), 28)
        left = text.duration(each["remaining_s"]) if each["remaining_s"] is not None else ""
        losses = [text.loss(each["loss"]), text.loss(each["val_loss"])]
        age = text.age(time.time() - each["created"]) if each["created"] else ""
        start = f"from {short_name(each['base'])}" if each.get("base") else each["preset"]
        config = [text.shorten(text.printable(start or ""), 28), data(each["data"] or "")]
        size = text.count(each["parameters"]) if each["parameters"] else ""
        status = shown_status(each)
        rows.append(
            [text.printable(each["id"]), name, status, steps, *losses, text.duration(each["elapsed_s"]), left, age]
        )
        why = text.printable(each["reason"] or "") if status == "failed" else ""
        rows[-1] += [*config, size, text.shorten(" ".join(each["tags"]), 40), text.shorten(why, 72)]
        styles.append(["dim", "bold", text.STATUS_STYLE.get(status, ""), *[""] * 9, "dim", "dim"])
    numbers = ["STEP", "LOSS", "VAL LOSS", "ELAPSED", "LEFT", "AGE"]
    header = ["ID", "NAME", "STATUS", *numbers, "PRESET", "DATA", "PARAMS", "TAGS", "REASON"]
    for column in ("LEFT", "TAGS", "REASON"):  # omitted if empty
        at = header.index(column)
        if not any(row[at] for row in rows):
            for line in (header, *rows, *styles):
                del line[at]
    # A narrow terminal has no room for all columns; a pipe, --csv and --json get all.
    fitted(
        header, rows, styles, spare=("REASON", "TAGS", "ID", "ELAPSED", "PRESET", "DATA", "PARAMS", "AGE", "VAL LOSS")
    )
    return table(rows, header, right=[*numbers, "PARAMS"], styles=styles)


def data(source: str) -> str:
    """A data source in at most 20 characters; of a path, only the last part is kept."""
    from seedbed.text import printable, shorten

    scheme, colon, rest = printable(source).rpartition(":")
    return shorten((scheme + colon if scheme != "text" else "") + (rest.rstrip("/").rpartition("/")[2] or rest), 20)
