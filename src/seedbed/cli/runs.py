"""`seedbed runs`: the list of runs."""

from __future__ import annotations

import argparse
import sys

from seedbed.cli.parser import json_option, runs_option

DESCRIPTION = "List the runs, the newest last."
EXAMPLES = """\
  seedbed runs                   every run in ./runs
  seedbed runs --runs ~/models   those that live elsewhere
  seedbed runs --json            an array of the objects of `seedbed status --json`
"""


def options(parser: argparse.ArgumentParser) -> None:
    """The options of `runs`."""
    runs_option(parser)
    json_option(parser, "an array of statuses")


def run(arguments: argparse.Namespace) -> int:
    """Print the list."""
    from seedbed import text
    from seedbed.cli.console import STATUS_STYLE, note, say, say_json, table, width
    from seedbed.cli.place import store
    from seedbed.runs.status import status

    place = store(arguments.runs)
    found = [status(each) for each in place.all()]
    if arguments.json:
        say_json(found)
        return 0
    if not found:
        note(f"There are no runs in {place.root} yet. Start one with `seedbed train`.")
        return 0
    rows, styles = [], []
    for each in found:
        steps = f"{each['step']}/{each['steps']}" if each["steps"] else str(each["step"])
        name = text.shorten(text.printable(each["name"]), 28)
        left = text.duration(each["remaining_s"]) if each["remaining_s"] is not None else ""
        losses = [text.loss(each["loss"]), text.loss(each["val_loss"])]
        rows.append([each["id"], name, each["status"], steps, *losses, text.duration(each["elapsed_s"]), left])
        styles.append(["dim", "bold", STATUS_STYLE.get(each["status"], ""), "", "", "", "", ""])
    numbers = ["STEP", "LOSS", "VAL LOSS", "ELAPSED", "LEFT"]
    header = ["ID", "NAME", "STATUS", *numbers]
    if sys.stdout.isatty():
        # A narrow terminal has no room for all of it; a pipe and --json get everything.
        for spare in ("ID", "ELAPSED", "VAL LOSS"):
            if sum(max(map(len, column)) + 2 for column in zip(header, *rows, strict=True)) - 2 > width(200):
                at = header.index(spare)
                for row in (header, *rows, *styles):
                    del row[at]
    for line in table(rows, header, right=numbers, styles=styles):
        say(line)
    return 0
