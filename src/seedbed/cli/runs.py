"""`seedbed runs`: the list of runs."""

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
List the runs, the newest last. Filters add up; --status takes any of its values, --tag, given often, all of them.
Archived runs are left out unless --all or --archived asks for them. Tasks, which make something other than a run, are
listed while they are at work, and with --all.
"""
EXAMPLES = """\
  seedbed runs                                   every run in ./runs
  seedbed runs --status running,queued
  seedbed runs --tag baseline --sort val_loss --limit 5    the five best of those
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
"""Options of other programs -> what stands for them here."""

# Word of --sort -> key of a status.
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
    """The options of `runs`."""
    from seedbed.cli.generate import whole

    add = parser.add_argument
    add(
        "--status",
        metavar="S[,S...]",
        type=any_of(SHOWN),
        action="extend",
        default=[],
        help=f"only these: {', '.join(SHOWN)}",
    )
    add("--tag", metavar="T", action="append", default=[], help="only runs with this tag")
    add("--name", metavar="TEXT", help="only runs with this in their name, in capitals or not")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--all", action="store_true", help="archived runs too")
    which.add_argument("--archived", action="store_true", help="archived runs alone")
    add("--sort", metavar="KEY", choices=SORTS, help=f"order by one of: {', '.join(SORTS)} (default: created)")
    add("--reverse", action="store_true", help="the other way round")
    add("--limit", metavar="N", type=whole(1), help="at most N: the first of --sort, else the newest")
    runs_option(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="print everything known of each as CSV (RFC 4180)")
    json_option(form, "an array of statuses")


def any_of(known: Sequence[str]) -> Callable[[str], list[str]]:
    """An argument type: some of the words that are known, with commas between."""

    def parse(word: str) -> list[str]:
        for each in word.split(","):
            if each not in known:
                raise argparse.ArgumentTypeError(f"{each!r} is not one of {', '.join(known)}")
        return word.split(",")

    return parse


def run(arguments: argparse.Namespace) -> int:
    """Print the list."""
    from seedbed.cli.console import note, say, say_json
    from seedbed.cli.store_option import store
    from seedbed.text import quoted

    place = store(arguments.runs)
    found, hidden = select(place, arguments)
    if arguments.json:
        say_json(found)
    elif arguments.csv:
        write_csv(found)
    elif found:
        for line in listing(found):
            say(line)
    elif not hidden and not place.all():
        note(f"There are no runs in {quoted(place.root)} yet. Start one with `seedbed train`.")
    elif not hidden or arguments.status or arguments.tag or arguments.name:
        note("No run fits.")
    if hidden:
        note(f"{hidden} archived run{' is' if hidden == 1 else 's are'} not shown; --all shows them too.")
    return 0


def select(place: Store, arguments: argparse.Namespace) -> tuple[list[dict[str, Any]], int]:
    """The statuses that are asked for, in order, and how many runs are left out because they are archived."""
    from seedbed.runs.control import word
    from seedbed.runs.labels import checked_tag
    from seedbed.runs.listing import statuses

    tags, hidden = {checked_tag(tag) for tag in arguments.tag}, 0
    found = []
    for each in [*statuses(place, place.all()), *tasks(place, ended=arguments.all)]:
        if not tags <= set(each["tags"]) or (arguments.name or "").casefold() not in each["name"].casefold():
            continue
        if each["archived"] and not (arguments.all or arguments.archived):
            hidden += 1
        elif each["archived"] or not arguments.archived:
            found.append(each)
    if arguments.status:
        found = [each for each in found if {each["status"], word(each)}.intersection(arguments.status)]
    if arguments.sort is None:
        found = found[-arguments.limit :] if arguments.limit is not None else found
        return found[::-1] if arguments.reverse else found, hidden
    key = SORTS[arguments.sort]
    known = [each for each in found if each[key] is not None]
    known.sort(key=lambda each: each[key].casefold() if isinstance(each[key], str) else each[key])
    ordered = (known[::-1] if arguments.reverse else known) + [each for each in found if each[key] is None]
    return ordered[: arguments.limit], hidden


def tasks(place: Store, *, ended: bool) -> list[dict[str, Any]]:
    """The statuses of tasks that are at work, and, with `ended`, of all others."""
    from seedbed.runs.statuses import LIVE

    known = place.tasks()
    if not known:
        return []
    from seedbed.runs.status import status

    return [found for found in map(status, known) if ended or found["status"] in LIVE]


def write_csv(found: list[dict[str, Any]]) -> None:
    """A header and a row for each run; tags in one field, nothing for what is unknown, true and false as in JSON."""
    import csv
    import json

    from seedbed.text import printable

    def cell(value: Any) -> Any:
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(each, dict) for each in value)):
            return json.dumps(value) if value else ""
        return " ".join(value) if isinstance(value, list) else value

    if sys.stdout.isatty():  # what a terminal shows must not steer it; files get everything as it is
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
    """The runs in columns, as many as there is room for."""
    import time

    from seedbed import text
    from seedbed.cli.console import fitted, table
    from seedbed.presentation.done import steps_text
    from seedbed.runs.control import word

    rows, styles = [], []
    for each in found:
        steps = steps_text(each)
        name = text.shorten(text.printable(each["name"]), 28)
        left = text.duration(each["remaining_s"]) if each["remaining_s"] is not None else ""
        losses = [text.loss(each["loss"]), text.loss(each["val_loss"])]
        age = text.age(time.time() - each["created"]) if each["created"] else ""
        made = [text.printable(each["preset"] or ""), data(each["data"] or "")]
        size = text.count(each["parameters"]) if each["parameters"] else ""
        now = word(each)
        rows.append(
            [text.printable(each["id"]), name, now, steps, *losses, text.duration(each["elapsed_s"]), left, age]
        )
        rows[-1] += [*made, size, text.shorten(" ".join(each["tags"]), 40)]
        styles.append(["dim", "bold", text.STATUS_STYLE.get(now, ""), *[""] * 9, "dim"])
    numbers = ["STEP", "LOSS", "VAL LOSS", "ELAPSED", "LEFT", "AGE"]
    header = ["ID", "NAME", "STATUS", *numbers, "PRESET", "DATA", "PARAMS", "TAGS"]
    for column in ("LEFT", "TAGS"):  # a column of nothing
        at = header.index(column)
        if not any(row[at] for row in rows):
            for line in (header, *rows, *styles):
                del line[at]
    # A narrow terminal has no room for all of it; a pipe, --csv and --json get everything.
    fitted(header, rows, styles, spare=("TAGS", "ID", "ELAPSED", "PRESET", "DATA", "PARAMS", "AGE", "VAL LOSS"))
    return table(rows, header, right=[*numbers, "PARAMS"], styles=styles)


def data(source: str) -> str:
    """A source of data in a few characters: of a path, its last part."""
    from seedbed.text import printable, shorten

    scheme, colon, rest = printable(source).rpartition(":")
    return shorten((scheme + colon if scheme != "text" else "") + (rest.rstrip("/").rpartition("/")[2] or rest), 20)
