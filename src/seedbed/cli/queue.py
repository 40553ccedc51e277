"""`seedbed queue`: show which runs train and which wait."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from seedbed.cli.parser import json_option, runs_option

if TYPE_CHECKING:
    from seedbed.runs.queue import QueueItem

DESCRIPTION = """\
List the running runs, then the queued ones in the order in which they will start, with the run that each waits for.
`seedbed train --queue` waits until the device is free, --after RUN until that run has ended. `seedbed stop RUN` removes
a run from the queue. Tasks, such as `seedbed prepare`, run beside the queue.
"""
EXAMPLES = """\
  seedbed train --preset tiny --queue
  seedbed queue
  seedbed queue --json
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `queue` to the parser."""
    runs_option(parser)
    json_option(parser, "an array in queue order,")


def run(arguments: argparse.Namespace) -> int:
    """Print the queue: the runs that train and those that wait."""
    from seedbed.cli.console import note, say, say_json
    from seedbed.cli.store_option import store
    from seedbed.runs.queue import live_tasks, queue_items
    from seedbed.text import plural, quoted

    runs_store = store(arguments.runs)
    found = [describe(each) for each in queue_items(runs_store)]
    if arguments.json:
        say_json(found)
        return 0
    if not found:
        note(f"No run is running or queued in {quoted(runs_store.root)}.")
    for line in listing(found) if found else ():
        say(line)
    if tasks := live_tasks(runs_store):
        are = "is" if len(tasks) == 1 else "are"
        note(f"{plural(len(tasks), 'task')} {are} running, for which no run waits; `seedbed runs` lists tasks, too.")
    return 0


def describe(entry: QueueItem) -> dict[str, Any]:
    """One run of the queue as an object that `--json` prints."""
    from seedbed.errors import SeedbedError
    from seedbed.runs.control import unfinished_request
    from seedbed.runs.status import is_simulated

    try:
        meta = entry.run.meta()
    except SeedbedError:
        meta = {}
    view, has_started = entry.current.view, entry.current.status != "queued"
    return {
        "id": entry.run.id,
        "name": entry.run.name(),
        "status": entry.current.status,
        "asked": unfinished_request(entry.run.control, view.session),
        "device": entry.device,
        "step": view.step,
        "steps": view.steps,
        "remaining_s": view.remaining_s() if has_started else None,
        "waits_for": entry.waits_for,
        "reason": view.reason,
        "simulated": is_simulated(meta, view),
    }


def listing(found: list[dict[str, Any]]) -> list[str]:
    """The runs of the queue as the lines of a table."""
    from seedbed import text
    from seedbed.cli.console import fitted, table
    from seedbed.runs.control import shown_status

    names = {each["id"]: each["name"] for each in found}
    rows, styles = [], []
    for each in found:
        steps = f"{each['step']}/{each['steps']}" if each["steps"] else str(each["step"])
        left = text.duration(each["remaining_s"]) if each["remaining_s"] is not None else ""
        ahead = each["waits_for"]
        waits_for = text.printable(names.get(ahead) or ahead) if ahead else ""
        name, device = (text.shorten(text.printable(each[key]), 28) for key in ("name", "device"))
        name = ("SIMULATED " if each["simulated"] else "") + name
        status = shown_status(each)
        rows.append([text.printable(each["id"]), name, status, device, steps, left, waits_for])
        styles.append(["dim", "bold", text.STATUS_STYLE.get(status, ""), "", "", "", ""])
    header = ["ID", "NAME", "STATUS", "DEVICE", "STEP", "LEFT", "WAITS FOR"]
    fitted(header, rows, styles, spare=("ID", "DEVICE", "LEFT"))
    return table(rows, header, right=["STEP", "LEFT"], styles=styles)
