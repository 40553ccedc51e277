"""`seedbed resume`: go on with a run, or train it further than it meant to go."""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING

from seedbed.cli.parser import json_option, run_option, runs_option, turn_options

if TYPE_CHECKING:
    from seedbed.runs.resuming import Leaves
    from seedbed.runs.store import RunDir

DESCRIPTION = """\
Go on with a run from its newest good checkpoint, exactly where it was: same batches, same losses. One that is paused
goes on as it stands, in the background.
With --more-epochs or --more-steps, train exactly that much further; what the learning rate does is said at the start.
With --from, go back to an earlier checkpoint: what was trained after it is void, and later checkpoints are moved to a
folder of their own beside the others, so that none is lost. Early stopping counts anew where steps are added.
Ctrl-C asks the run to stop and save. When the terminal is closed, the run goes on.
Without RUN, the newest that is paused, was stopped, lost, or failed under way; with --more-..., the newest that has a
checkpoint.
"""
EXAMPLES = """\
  seedbed resume                              the newest run that was interrupted
  seedbed resume quickstart --more-epochs 1   train a finished run on
  seedbed resume quickstart --from 200        go back to the checkpoint of step 200
  seedbed resume quickstart --early-stop 0    on to the end, though it stopped early
  seedbed resume --background
  seedbed resume quickstart --queue           when its device is free
"""
SYNONYMS = {
    "--checkpoint": "--from",
    "--epochs": "--more-epochs",
    "--lr": "`seedbed train --like RUN --lr RATE`, which is a new run",
    "--steps": "--more-steps",
}
"""Options of other programs -> what stands for them here."""

_PATIENCE_S = 10.0


def options(parser: argparse.ArgumentParser) -> None:
    """The options of `resume`."""
    run_option(parser, "which run (default: the newest that fits)")
    more = parser.add_mutually_exclusive_group()
    more.add_argument("--more-epochs", metavar="N", type=float, help="train N epochs more")
    more.add_argument("--more-steps", metavar="N", type=int, help="train N steps more")
    parser.add_argument("--from", metavar="CHECKPOINT", dest="origin", help="a step, `best`, or a checkpoint's path")
    parser.add_argument(
        "--early-stop",
        metavar="N",
        type=int,
        help="stop after N validations without a better loss, counted from here; 0 never (default: as before)",
    )
    parser.add_argument("--data", metavar="SOURCE", help="where the same text is now, if it has moved")
    parser.add_argument("--data-path", metavar="PATH", help="where the local copy of a named corpus is now (data.path)")
    parser.add_argument("--background", action="store_true", help="detach; print the run's id and return")
    turn_options(parser)
    runs_option(parser)
    json_option(parser, "the run's status at the end (with --background: at the start)")


def run(arguments: argparse.Namespace) -> int:
    """Start the job again and watch it or leave it alone; or tell a job that holds to go on."""
    from seedbed import actions
    from seedbed.cli.train import turn, watch
    from seedbed.runs.control import Resume

    extends = arguments.more_epochs is not None or arguments.more_steps is not None
    place = actions.store(arguments.runs)
    if extends or arguments.origin is not None or arguments.early_stop is not None:
        fits, wanted = actions.is_extendable, "run with a checkpoint that is not running"
    else:
        fits, wanted = actions.can_resume, "interrupted run (--more-epochs N trains a finished one on)"
    found = place.find(arguments.ref, fits=fits, wanted=wanted)
    asked = Resume(
        arguments.more_steps,
        arguments.more_epochs,
        arguments.origin,
        arguments.early_stop,
        arguments.data,
        arguments.data_path,
    )
    waits = turn(arguments, place)
    if asked == Resume() and not waits and actions.is_paused(found):
        return go_on(found, as_json=arguments.json)
    return watch(
        lambda: actions.resume(found, asked, waits, on_go_back=partial(tell_what_is_left, found.id)),
        background=arguments.background,
        as_json=arguments.json,
        waits=waits,
    )


def tell_what_is_left(run_id: str, leaves: Leaves) -> None:
    """Say, before a resume goes back, what it leaves behind and what becomes of it."""
    from seedbed.cli.console import note
    from seedbed.text import printable

    kept = ", ".join(map(str, leaves.saved))
    note(
        f"{printable(run_id)} goes back to step {leaves.step}: steps {leaves.step + 1} to {leaves.stood} will be void."
        + (f" Their checkpoints ({kept}) will be kept in a folder of their own." if kept else "")
    )


def go_on(found: RunDir, *, as_json: bool) -> int:
    """Let a paused run go on, and say how it stands when it has heard; exit status 1 if it has not after a while."""
    from seedbed import actions
    from seedbed.cli.console import note, say, say_json
    from seedbed.cli.store_option import run_argument
    from seedbed.runs.status import status
    from seedbed.text import printable

    asked = actions.unpause(found)
    asked.wait(lambda stands: stands.status in ("running", "stalled"), within_s=_PATIENCE_S)
    after, run_id, name = status(found), printable(found.id), printable(run_argument(found))
    goes_on = after["status"] not in ("paused", "pausing")
    if as_json:
        say_json(after)
    elif goes_on:
        say(f"{run_id} was paused and goes on by itself, from step {asked.stands.view.step}: seedbed status {name}")
    else:
        note(f"{run_id} was asked to go on, and is {after['status']} yet: seedbed status {name}")
    return 0 if goes_on else 1
