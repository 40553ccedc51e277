"""`seedbed resume`: continue a run, or train it further."""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING

from seedbed.cli.parser import json_option, run_option, runs_option, turn_options

if TYPE_CHECKING:
    from seedbed.runs.resuming import Superseded
    from seedbed.runs.store import RunDir

DESCRIPTION = """\
Continue a run from its newest valid checkpoint, with the same batches and losses as without the interruption. A paused
run continues in the background.
With --more-epochs or --more-steps, train that much further; the learning-rate schedule is printed at the start, and
early stopping counts from zero again. With --from, go back to an earlier checkpoint: later steps are superseded, and
their checkpoints are moved to a separate folder, so that none is lost.
Ctrl-C asks the run to save and stop. If the terminal is closed, the run continues.
Without RUN, continue the newest run that is paused or stopped, was lost, or failed during training; with --more-...,
the newest run with a checkpoint.
"""
EXAMPLES = """\
  seedbed resume                              the newest run that was interrupted
  seedbed resume quickstart --more-epochs 1   train a completed run further
  seedbed resume quickstart --from 200        go back to the checkpoint of step 200
  seedbed resume quickstart --early-stop 0    train to the planned end after an early stop
  seedbed resume --background
  seedbed resume quickstart --queue           wait until the device is free
"""
SYNONYMS = {
    "--checkpoint": "--from",
    "--epochs": "--more-epochs",
    "--lr": "`seedbed train --like RUN --lr RATE`, which is a new run",
    "--steps": "--more-steps",
}
"""Option of another program -> the equivalent in Seedbed."""

_PATIENCE_S = 10.0


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `resume` to the parser."""
    run_option(parser, "which run (default: the newest that can be resumed)")
    more = parser.add_mutually_exclusive_group()
    more.add_argument("--more-epochs", metavar="N", type=float, help="train N more epochs")
    more.add_argument("--more-steps", metavar="N", type=int, help="train N more steps")
    parser.add_argument(
        "--from", metavar="CHECKPOINT", dest="origin", help="go back to a step, `best`, or a checkpoint's path"
    )
    parser.add_argument(
        "--early-stop",
        metavar="N",
        type=int,
        help="stop after N validations without a better loss, counted from this resume; 0: never (default: as before)",
    )
    parser.add_argument("--data", metavar="SOURCE", help="new location of the same text, if it has moved")
    parser.add_argument("--data-path", metavar="PATH", help="new location of the local copy of a corpus (data.path)")
    parser.add_argument(
        "--background", action="store_true", help="train in the background: print the run's id and exit"
    )
    turn_options(parser)
    runs_option(parser)
    json_option(parser, "the run's status at the end (with --background: at the start)")


def run(arguments: argparse.Namespace) -> int:
    """Start the job of a run again, and follow it until it ends; with --background, return once it has started.

    If the run is paused, its job is asked to continue instead.
    """
    from seedbed import actions
    from seedbed.cli.console import note
    from seedbed.cli.train import turn, watch
    from seedbed.runs.control import ResumeOptions

    extends = arguments.more_epochs is not None or arguments.more_steps is not None
    store = actions.store(arguments.runs)
    if extends or arguments.origin is not None or arguments.early_stop is not None:
        fits, wanted = actions.is_extendable, "run with a checkpoint that is not running"
    else:
        fits, wanted = actions.can_resume, "interrupted run (--more-epochs N trains a completed one further)"
    found = store.find(arguments.ref, fits=fits, wanted=wanted)
    request = ResumeOptions(
        arguments.more_steps,
        arguments.more_epochs,
        arguments.origin,
        arguments.early_stop,
        arguments.data,
        arguments.data_path,
    )
    queue = turn(arguments, store)
    if request == ResumeOptions() and not queue and actions.is_paused(found):
        return unpause(found, background=arguments.background, as_json=arguments.json)
    return watch(
        lambda: actions.resume(
            found, request, queue, on_go_back=partial(note_going_back, found.id), on_replaced_plan=note
        ),
        background=arguments.background,
        as_json=arguments.json,
        queue=queue,
    )


def note_going_back(run_id: str, superseded: Superseded) -> None:
    """Print a note that says which steps no longer count because a run resumes from an earlier checkpoint."""
    from seedbed.cli.console import note
    from seedbed.text import printable

    kept = ", ".join(map(str, superseded.saved))
    note(
        f"{printable(run_id)} goes back to step {superseded.step}: steps {superseded.step + 1} to"
        f" {superseded.last_step} are superseded."
        + (f" Their checkpoints ({kept}) are kept in a separate folder." if kept else "")
    )


def unpause(found: RunDir, *, background: bool, as_json: bool) -> int:
    """Ask the job of a paused run to continue, and wait for that. Returns 1 if it is still paused after ten seconds.

    With `background`, the id of the run is printed on stdout, as for a run that is started again.
    """
    from seedbed import actions
    from seedbed.cli.console import note, say, say_json
    from seedbed.cli.store_option import run_argument
    from seedbed.runs.status import status
    from seedbed.text import printable

    request = actions.unpause(found)
    request.wait(lambda current: current.status in ("running", "stalled"), within_s=_PATIENCE_S)
    after, run_id, name = status(found), printable(found.id), printable(run_argument(found))
    continues = after["status"] not in ("paused", "pausing")
    if as_json:
        say_json(after)
    elif continues and background:
        say(found.id)
    elif continues:
        say(f"{run_id} continues in the background from step {request.current.view.step}: seedbed status {name}")
    else:
        note(f"Asked {run_id} to resume; it is still {after['status']}. Watch it: seedbed status {name}")
    return 0 if continues else 1
