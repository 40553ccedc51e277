"""`seedbed train`: a new run from a preset, a file or an earlier run, watched or in the background."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from seedbed.cli.commands import NAMED_KEYS
from seedbed.cli.parser import complete_run, json_option, runs_option, turn_options

if TYPE_CHECKING:
    from seedbed.actions import Launch
    from seedbed.config.resolving import Resolved
    from seedbed.config.roots import Root, S
    from seedbed.runs.control import Turn
    from seedbed.runs.store import RunDir, Store

DESCRIPTION = """\
Train a language model. With nothing else said: preset nano on the built-in stories, no network, no GPU.
The most used values have options; --set sets any: `seedbed config keys` explains them all, `seedbed config show` prints
what would be used and where it came from.

Ctrl-C asks the run to stop and save, and waits; pressed again, it leaves the run saving by itself. When the terminal is
closed, the run goes on.
With --queue or --after the run waits for its turn, in the background; `seedbed queue` shows the line.
"""
EXAMPLES = """\
  seedbed train                                             nano on the built-in stories
  seedbed train --preset tiny --data text:~/novels --epochs 3
  seedbed train my.toml --background                        detached; prints the run's id
  seedbed train --data wikitext-2 --data-path ~/wikitext-2  a named corpus from a local copy
  seedbed train --like latest --lr 1e-3                     again, with a change
  seedbed train --preset tiny --queue                       when the device is free
"""

SYNONYMS = {
    "--bg": "--background",
    "--checkpoint": "`seedbed resume RUN --from CHECKPOINT`",
    "--config": "the config file alone, without an option",
    "--config-file": "the config file alone, without an option",
    "--daemon": "--background",
    "--detach": "--background",
    "--dry-run": "`seedbed config check`, with the same options",
    "--from": "`seedbed resume RUN --from CHECKPOINT`",
    "--init-from": "`seedbed resume RUN` or --like RUN",
    "--model": "--preset",
    "--model-name": "--preset",
    "--out": "--runs",
    "--out-dir": "--runs",
    "--output": "--runs",
    "--output-dir": "--runs",
    "--resume": "`seedbed resume RUN`",
    "--resume-from-checkpoint": "`seedbed resume RUN --from CHECKPOINT`",
    "--run-name": "--name",
    "--save-dir": "--runs",
    "--size": "--preset",
}
"""Options of other programs -> what stands for them here."""

_PATIENCE_S = 3.0


def options(parser: argparse.ArgumentParser) -> None:
    """The options of `train`."""
    parser.add_argument("file", metavar="FILE", nargs="?", type=Path, help="a config file (TOML) laid over the preset")
    config_options(parser)
    parser.add_argument("--name", help="a name for the run (letters, digits, space, _ . -; up to 64)")
    parser.add_argument("--background", action="store_true", help="detach; print the run's id and return")
    turn_options(parser)
    runs_option(parser)
    json_option(parser, "the run's status at the end (with --background: at the start)")


def config_options(parser: argparse.ArgumentParser) -> None:
    """The options that make up a config; `config show` has them too."""
    parser.add_argument("--preset", metavar="NAME", help="nano, tiny, small or base; `seedbed presets` describes them")
    like = parser.add_argument("--like", metavar="RUN", help="start from the config of an earlier run")
    like.completer = complete_run  # type: ignore[attr-defined]
    parser.add_argument(
        "--data", metavar="SOURCE", help="stories, wikitext-2, text:PATH, hf:NAME, or a prepared dataset"
    )
    parser.add_argument("--data-path", metavar="PATH", help="a local copy of a named corpus")
    parser.add_argument("--steps", metavar="N", help="train for N optimizer steps (train.steps)")
    parser.add_argument("--epochs", metavar="N", help="train for N passes over the text (train.epochs)")
    parser.add_argument("--tokens", metavar="N", help="train on N tokens (train.tokens)")
    parser.add_argument("--lr", metavar="RATE", help="peak learning rate (optimizer.lr)")
    parser.add_argument("--batch-size", metavar="N", help="sequences in an optimizer step (train.batch_size)")
    parser.add_argument("--context", metavar="N", help="longest sequence in tokens (model.context)")
    parser.add_argument("--seed", metavar="N", help="seed of weights, data order and samples (train.seed)")
    parser.add_argument("--device", help="auto, cpu, gpu, cuda, cuda:N, mps, or part of a GPU's name such as A30")
    parser.add_argument(
        "--strict-device",
        action="store_true",
        default=None,
        help="fail where the device is missing, instead of a warning",
    )
    parser.add_argument("--precision", help="auto, fp32, bf16 or fp16")
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        dest="sets",
        help="set any value of the config, such as model.layers=6; may be given often",
    )


def resolved(arguments: argparse.Namespace, file: Path | None, root: Root[S]) -> Resolved[S]:
    """The config of the kind `root` that the options ask for, each value with its origin."""
    from seedbed.cli.store_option import store
    from seedbed.config.frozen import load_frozen
    from seedbed.config.layers import Flagged
    from seedbed.config.resolving import resolve
    from seedbed.files import expand_home

    base = None
    if arguments.like is not None:
        base = load_frozen(store(arguments.runs).find(arguments.like).config, root)
    return resolve(
        root,
        preset=arguments.preset,
        file=expand_home(file) if file is not None else None,
        sets=arguments.sets,
        base=base,
        flags={
            path: Flagged(getattr(arguments, option[2:].replace("-", "_")), option)
            for option, path in NAMED_KEYS.items()
        },
    )


def run(arguments: argparse.Namespace) -> int:
    """Make the run, start its job, and watch it or leave it alone."""
    from seedbed import actions
    from seedbed.config.roots import TRAIN
    from seedbed.runs.kinds import KINDS

    wanted = resolved(arguments, arguments.file, TRAIN)
    place = actions.store(arguments.runs)
    waits = turn(arguments, place)
    return watch(
        lambda: actions.start_new_run(place, KINDS["train"], wanted, arguments.name, waits, sys.argv),
        background=arguments.background,
        as_json=arguments.json,
        waits=waits,
    )


def turn(arguments: argparse.Namespace, place: Store) -> Turn:
    """What the run is to wait for. Says so where the run after which it should come has ended already."""
    from seedbed import actions, text
    from seedbed.cli.console import note
    from seedbed.runs.control import Turn

    if arguments.after is None:
        return Turn(arguments.queue)
    after = place.find(arguments.after)
    if not actions.is_live(after):
        note(
            f'"{text.printable(after.name())}" has ended already ({text.printable(after.id)}), so there is nothing to wait '
            "for."
        )
    return Turn(arguments.queue, after.path)


def watch(start: Callable[[], Launch], *, background: bool, as_json: bool, waits: Turn) -> int:
    """Start a job and leave it alone once it has begun, or follow it to its end; returns the exit status.

    A job that waits for its turn is always left alone.
    """
    from seedbed import actions
    from seedbed.cli.console import note, say, say_json
    from seedbed.runs.status import status

    if not background and not waits:
        from seedbed.cli.follow import follow

        return follow(start, as_json=as_json)
    launch = start()
    actions.wait_until_started(launch)
    if as_json:
        say_json(status(launch.run))
        return 0
    say(launch.run.id)
    if sys.stdout.isatty():
        waiting = waits_for(launch.run) if waits else None
        note(waiting or "It trains in the background.")
        note(f"Watch it: seedbed {'queue' if waiting else f'status {launch.run.id}'}")
    return 0


def waits_for(run: RunDir) -> str | None:
    """What a run says that it waits for, as soon as it says so; None once it has begun."""
    from seedbed import text
    from seedbed.runs.status import standing

    end = time.monotonic() + _PATIENCE_S
    while True:
        stands = standing(run)
        if stands.status != "queued":
            return None
        if stands.view.waits_for or time.monotonic() > end:
            return text.printable(stands.view.reason or "It waits for its turn.")
        time.sleep(0.05)
