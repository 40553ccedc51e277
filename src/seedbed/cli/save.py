"""`seedbed save`: ask a run to save a checkpoint now."""

from __future__ import annotations

import argparse

from seedbed.cli.parser import request_options

DESCRIPTION = """\
Ask a run to save a checkpoint after its current step and continue. Without RUN, ask the newest running run.
"""
EXAMPLES = """\
  seedbed save                     the newest running run
  seedbed save quickstart --wait   return when the checkpoint is saved
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `save` to the parser."""
    request_options(parser, "has saved")


def run(arguments: argparse.Namespace) -> int:
    """Ask a run to save; with --wait, wait until the checkpoint is saved. Returns 1 if the run ended without saving."""
    from seedbed import actions
    from seedbed.cli.console import say, say_json
    from seedbed.presentation.wording import at_step
    from seedbed.runs.status import status
    from seedbed.text import printable

    found = actions.store(arguments.runs).find(
        arguments.ref, fits=actions.can_save, wanted="running run that is not simulated"
    )
    request = actions.save_now(found)
    before = [each.step for each in request.current.view.checkpoints]
    saved = False
    if arguments.wait:
        current = request.wait(lambda current: [each.step for each in current.view.checkpoints] != before)
        saved = [each.step for each in current.view.checkpoints] != before
    else:
        request.deliver()
    after, run_id = status(found), printable(found.id)
    if arguments.json:
        say_json(after)
    elif not arguments.wait:
        say(f"Asked {run_id} to save after its current step.")
    elif saved:
        say(f"{run_id} has saved step {after['checkpoint_step']}.")
    else:
        say(f"{run_id} did not save: it is {after['status']}{at_step(after['step'])}.")
    return 1 if arguments.wait and not saved else 0
