"""`seedbed stop`: ask a run to save and stop."""

from __future__ import annotations

import argparse

from seedbed.cli.parser import request_options

DESCRIPTION = """\
Ask a run to save a checkpoint and stop after its current step. A validation is interrupted, and a resume repeats it. A
paused or queued run stops too. Without RUN, stop the newest running run.
"""
EXAMPLES = """\
  seedbed stop               the newest running run
  seedbed stop quickstart --wait
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `stop` to the parser."""
    request_options(parser, "has saved and ended")


def run(arguments: argparse.Namespace) -> int:
    """Ask a run to stop; with --wait, wait until it has ended.

    Returns 1 if it failed or its process was lost instead.
    """
    from seedbed import actions
    from seedbed.cli.console import say, say_json
    from seedbed.cli.store_option import run_argument
    from seedbed.presentation import wording
    from seedbed.presentation.wording import at_step
    from seedbed.runs.status import status
    from seedbed.text import printable

    found = actions.store(arguments.runs).find(arguments.ref, fits=actions.is_running, wanted="running run")
    request = actions.stop(found)
    if arguments.wait:
        actions.wait_until_ended(request)
    else:
        request.deliver()
    after, run_id, name = status(found), printable(found.id), printable(run_argument(found))
    if arguments.json:
        say_json(after)
    elif not arguments.wait:
        queued = request.current.status == "queued"
        doing = "it leaves the queue" if queued else wording.until_it_stops(request.current.view)
        say(f"Asked {run_id} to stop; {doing}. `seedbed status {name}` shows when it has stopped.")
    else:
        say(f"{run_id} is {after['status']}{at_step(after['step'])}. {wording.after_a_stop(after['status'], name)}")
    return 1 if arguments.wait and after["status"] in ("failed", "lost") else 0
