"""`seedbed queue`: what runs, and what waits for its turn."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from seedbed.cli.parser import json_option, runs_option

if TYPE_CHECKING:
    from seedbed.runs.queue import Place

DESCRIPTION = """\
List the runs that are at work, then those that wait, in the order in which their turns come, and what each waits for.
`seedbed train --queue` waits until its device is free, --after RUN until that run has ended; `seedbed stop RUN` takes a
run out of the queue.
"""
EXAMPLES = """\
  seedbed train --preset tiny --queue
  seedbed queue
  seedbed queue --json
"""


def options(parser: argparse.ArgumentParser) -> None:
    """The options of `queue`."""
    runs_option(parser)
    json_option(parser, "an array, in that order,")


def run(arguments: argparse.Namespace) -> int:
    """Print who works and who waits."""
    from seedbed.cli.console import note, say, say_json
    from seedbed.cli.store_option import store
    from seedbed.runs.queue import line
    from seedbed.text import quoted

    place = store(arguments.runs)
    found = [describe(each) for each in line(place)]
    if arguments.json:
        say_json(found)
    elif not found:
        note(f"Nothing runs or waits in {quoted(place.root)}.")
    else:
        for each in listing(found):
            say(each)
    return 0


def describe(place: Place) -> dict[str, Any]:
    """A run in the line, for a script."""
    from seedbed.runs.control import outstanding

    view, works = place.stands.view, place.stands.status != "queued"
    return {
        "id": place.run.id,
        "name": place.run.name(),
        "status": place.stands.status,
        "asked": outstanding(place.run.control, view.session),
        "device": place.device,
        "step": view.step,
        "steps": view.steps,
        "remaining_s": view.remaining_s() if works else None,
        "waits_for": place.waits_for,
        "reason": view.reason,
    }


def listing(found: list[dict[str, Any]]) -> list[str]:
    """The line for people."""
    from seedbed import text
    from seedbed.cli.console import fitted, table
    from seedbed.runs.status import word

    names = {each["id"]: each["name"] for each in found}
    rows, styles = [], []
    for each in found:
        steps = f"{each['step']}/{each['steps']}" if each["steps"] else str(each["step"])
        left = text.duration(each["remaining_s"]) if each["remaining_s"] is not None else ""
        ahead = each["waits_for"]
        waits = text.printable(names.get(ahead) or ahead) if ahead else ""
        name, device = (text.shorten(text.printable(each[key]), 28) for key in ("name", "device"))
        now = word(each)
        rows.append([text.printable(each["id"]), name, now, device, steps, left, waits])
        styles.append(["dim", "bold", text.STATUS_STYLE.get(now, ""), "", "", "", ""])
    header = ["ID", "NAME", "STATUS", "DEVICE", "STEP", "LEFT", "WAITS FOR"]
    fitted(header, rows, styles, spare=("ID", "DEVICE", "LEFT"))
    return table(rows, header, right=["STEP", "LEFT"], styles=styles)
