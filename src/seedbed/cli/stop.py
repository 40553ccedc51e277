"""`seedbed stop`: ask a run to stop and save."""

from __future__ import annotations

import argparse

from seedbed.cli.parser import request_options

DESCRIPTION = """\
Ask a run to stop and save, after the step at hand. A validation is left, and done again by the resume. A run that is
paused or waits for its turn stops too. Without RUN, the newest that is running.
"""
EXAMPLES = """\
  seedbed stop               the newest running run
  seedbed stop quickstart --wait
"""


def options(parser: argparse.ArgumentParser) -> None:
    """The options of `stop`."""
    request_options(parser, "has saved and ended")


def run(arguments: argparse.Namespace) -> int:
    """Ask, and wait if told to."""
    from seedbed import actions
    from seedbed.cli.console import say, say_json
    from seedbed.cli.store_option import run_argument
    from seedbed.presentation import wording
    from seedbed.presentation.wording import at_step
    from seedbed.runs.status import status
    from seedbed.text import printable

    found = actions.store(arguments.runs).find(arguments.ref, fits=actions.is_running, wanted="running run")
    asked = actions.stop(found)
    if arguments.wait:
        actions.wait_until_ended(asked)
    else:
        asked.deliver()
    after, run_id, name = status(found), printable(found.id), printable(run_argument(found))
    if arguments.json:
        say_json(after)
    elif not arguments.wait:
        saves = "it leaves the queue" if asked.stands.status == "queued" else wording.until_it_stops(asked.stands.view)
        say(f"Asked {run_id} to stop; {saves}. `seedbed status {name}` tells when it is done.")
    else:
        say(f"{run_id} is {after['status']}{at_step(after['step'])}. Go on: seedbed resume {name}")
    return 1 if arguments.wait and after["status"] in ("failed", "lost") else 0
