"""`seedbed pause`: ask a run to save and hold."""

from __future__ import annotations

import argparse

from seedbed.cli.parser import request_options

DESCRIPTION = """\
Ask a run to save and to hold after the step at hand. Its process stays, with all that it has in memory, and takes no
step until `seedbed resume` lets it go on, where it was. Without RUN, the newest that is running.
"""
EXAMPLES = """\
  seedbed pause                     the newest running run
  seedbed pause quickstart --wait   return when it holds
  seedbed resume quickstart         go on
"""


def options(parser: argparse.ArgumentParser) -> None:
    """The options of `pause`."""
    request_options(parser, "has saved and holds")


def run(arguments: argparse.Namespace) -> int:
    """Ask, and wait if told to; exit status 1 if it ended instead."""
    from seedbed import actions
    from seedbed.cli.console import say, say_json
    from seedbed.cli.store_option import run_argument
    from seedbed.presentation import wording
    from seedbed.presentation.wording import at_step
    from seedbed.runs.status import status
    from seedbed.text import printable

    found = actions.store(arguments.runs).find(arguments.ref, fits=actions.is_running, wanted="running run")
    asked = actions.pause(found)
    if arguments.wait:
        asked.wait(lambda stands: stands.status == "paused")
    else:
        asked.deliver()
    after, run_id, name = status(found), printable(found.id), printable(run_argument(found))
    if arguments.json:
        say_json(after)
    elif not arguments.wait:
        say(f"Asked {run_id} to pause; {wording.until_it_pauses(asked.stands.view)}. Go on: seedbed resume {name}")
    elif after["status"] == "paused":
        say(f"{run_id} is paused{at_step(after['step'])}. Go on: seedbed resume {name}")
    else:
        say(f"{run_id} did not pause: it is {after['status']}{at_step(after['step'])}.")
    return 1 if arguments.wait and after["status"] != "paused" else 0
