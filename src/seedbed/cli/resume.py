"""`seedbed resume`: go on with a run, or train it further than it meant to go."""

from __future__ import annotations

import argparse

from seedbed.cli.parser import json_option, run_option, runs_option

DESCRIPTION = """\
Go on with a run from its newest good checkpoint, exactly where it was: same batches, same losses.
With --more-epochs or --more-steps, train exactly that much further; what the learning rate does is said at the start.
Without RUN, the newest that was stopped, lost, or failed under way; with --more-..., the newest that has a checkpoint.
"""
EXAMPLES = """\
  seedbed resume                              the newest run that was interrupted
  seedbed resume quickstart --more-epochs 1   train a finished run on
  seedbed resume quickstart --from 200        go back to the checkpoint of step 200
  seedbed resume --background
"""


def options(parser: argparse.ArgumentParser) -> None:
    """The options of `resume`."""
    run_option(parser, "which run (default: the newest that fits)")
    more = parser.add_mutually_exclusive_group()
    more.add_argument("--more-epochs", metavar="N", type=float, help="train N epochs more")
    more.add_argument("--more-steps", metavar="N", type=int, help="train N steps more")
    parser.add_argument("--from", metavar="CHECKPOINT", dest="origin", help="a step, `best`, or a checkpoint's path")
    parser.add_argument("--background", action="store_true", help="detach; print the run's id and return")
    runs_option(parser)
    json_option(parser, "the run's status at the end (with --background: at the start)")


def run(arguments: argparse.Namespace) -> int:
    """Start the job again and watch it or leave it alone."""
    from seedbed import actions
    from seedbed.cli.train import watch
    from seedbed.runs.control import Resume

    extends = arguments.more_epochs is not None or arguments.more_steps is not None
    if extends or arguments.origin is not None:
        fits, wanted = actions.is_extendable, "run with a checkpoint that is not running"
    else:
        fits, wanted = actions.is_resumable, "interrupted run (--more-epochs N trains a finished one on)"
    found = actions.store(arguments.runs).find(arguments.ref, fits=fits, wanted=wanted)
    asked = Resume(arguments.more_steps, arguments.more_epochs, arguments.origin)
    return watch(lambda: actions.resume(found, asked), background=arguments.background, as_json=arguments.json)
