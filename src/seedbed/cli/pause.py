"""`seedbed pause`: ask a run to save and pause."""

from __future__ import annotations

import argparse

from seedbed.cli.parser import request_options

DESCRIPTION = """\
Ask a run to save a checkpoint and pause after its current step. Its process and memory are kept, and `seedbed resume`
continues it from that step. Without RUN, pause the newest running run.
"""
EXAMPLES = """\
  seedbed pause                     the newest running run
  seedbed pause quickstart --wait   return when the run is paused
  seedbed resume quickstart         continue
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `pause` to the parser."""
    request_options(parser, "is paused")


def run(arguments: argparse.Namespace) -> int:
    """Ask a run to pause; with --wait, wait until it is paused. Returns 1 if it ended instead."""
    from seedbed import actions
    from seedbed.cli.console import say, say_json
    from seedbed.cli.store_option import run_argument
    from seedbed.presentation import wording
    from seedbed.presentation.wording import at_step
    from seedbed.runs.status import status
    from seedbed.text import printable

    found = actions.store(arguments.runs).find(arguments.ref, fits=actions.is_running, wanted="running run")
    request = actions.pause(found)
    if arguments.wait:
        request.wait(lambda current: current.status == "paused")
    else:
        request.deliver()
    after, run_id, name = status(found), printable(found.id), printable(run_argument(found))
    if arguments.json:
        say_json(after)
    elif not arguments.wait:
        say(
            f"Asked {run_id} to pause; {wording.until_it_pauses(request.current.view)}. Continue: seedbed resume {name}"
        )
    elif after["status"] == "paused":
        say(f"{run_id} is paused{at_step(after['step'])}. Continue: seedbed resume {name}")
    else:
        say(f"{run_id} did not pause: it is {after['status']}{at_step(after['step'])}.")
    return 1 if arguments.wait and after["status"] != "paused" else 0
