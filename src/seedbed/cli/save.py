"""`seedbed save`: ask a run for a checkpoint now."""

from __future__ import annotations

import argparse

from seedbed.cli.parser import request_options

DESCRIPTION = """\
Ask a run for a checkpoint after the step at hand; it trains on. Without RUN, the newest that is running.
"""
EXAMPLES = """\
  seedbed save                     the newest running run
  seedbed save quickstart --wait   return when it is saved
"""


def options(parser: argparse.ArgumentParser) -> None:
    """The options of `save`."""
    request_options(parser, "has saved")


def run(arguments: argparse.Namespace) -> int:
    """Ask, and wait if told to; exit status 1 if it ended without saving."""
    from seedbed import actions
    from seedbed.cli.console import say, say_json
    from seedbed.presentation.wording import at_step
    from seedbed.runs.status import status
    from seedbed.text import printable

    found = actions.store(arguments.runs).find(arguments.ref, fits=actions.is_running, wanted="running run")
    asked = actions.save_now(found)
    before = [saved.step for saved in asked.stands.view.checkpoints]
    saved = False
    if arguments.wait:
        stands = asked.wait(lambda stands: [saved.step for saved in stands.view.checkpoints] != before)
        saved = [saved.step for saved in stands.view.checkpoints] != before
    else:
        asked.deliver()
    after, run_id = status(found), printable(found.id)
    if arguments.json:
        say_json(after)
    elif not arguments.wait:
        say(f"Asked {run_id} to save after the step at hand.")
    elif saved:
        say(f"{run_id} has saved step {after['checkpoint_step']}.")
    else:
        say(f"{run_id} did not save: it is {after['status']}{at_step(after['step'])}.")
    return 1 if arguments.wait and not saved else 0
