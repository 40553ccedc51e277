"""`seedbed train`: start a run from a preset, a config file, an earlier run, or a trained model."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from seedbed.cli.argument_types import file_path
from seedbed.cli.commands import NAMED_KEYS
from seedbed.cli.model_choice import complete_model, show_progress
from seedbed.cli.parser import complete_run, json_option, runs_option, turn_options

if TYPE_CHECKING:
    from seedbed.actions import Launch
    from seedbed.config.resolving import Resolved
    from seedbed.config.roots import Root, S
    from seedbed.runs.control import StartCondition
    from seedbed.runs.store import RunDir, Store

DESCRIPTION = """\
Train a language model. The default is the preset nano on the built-in stories, which needs no network and no GPU.
The most common settings have options, and --set sets any other: `seedbed config keys` explains all of them, and
`seedbed config show` prints the values that would be used and their origin.

Ctrl-C asks the run to save and stop, and waits; a second Ctrl-C returns while the run saves in the background. If the
terminal is closed, the run continues.
With --for the run takes the given time, from data to the last save. Without a preset, it first measures this machine
and chooses the model's size and the number of steps so that the loss at the end is the lowest.

With --from the run trains on from a model: a folder with safetensors (of Llama, Qwen, GPT-2 and others), a
checkpoint, or a run. It keeps the model's shape and tokenizer, and starts with lower learning rates and a new
optimizer. From a run, it goes on with the text of that run unless --data gives another.

With --queue or --after the run waits in the background; `seedbed queue` shows the queue.
"""
EXAMPLES = """\
  seedbed train                                             nano on the built-in stories
  seedbed train --preset tiny --data text:~/novels --epochs 3
  seedbed train --for 20m                                   the best model that 20 minutes on this machine allow
  seedbed train my.toml --background                        print the run's id and exit
  seedbed train --data wikitext-2 --data-path ~/wikitext-2  a named corpus from a local copy
  seedbed train --like latest --lr 1e-3                     repeat a run with a change
  seedbed train --from ~/models/SmolLM2-135M --data text:~/notes --steps 200
  seedbed train --from quickstart@400 --data text:~/novels  go on from a checkpoint of a run, with other text
  seedbed train --preset tiny --queue                       wait until the device is free
"""

SYNONYMS = {
    "--base": "--from",
    "--base-model": "--from",
    "--bg": "--background",
    "--checkpoint": "`seedbed resume RUN --from CHECKPOINT`",
    "--config": "the config file as an argument, without an option",
    "--config-file": "the config file as an argument, without an option",
    "--daemon": "--background",
    "--deadline": "--for",
    "--detach": "--background",
    "--dry-run": "`seedbed config check`, with the same options",
    "--duration": "--for",
    "--finetune": "--from",
    "--from-model": "--from",
    "--init-from": "--from",
    "--load-from": "--from",
    "--max-time": "--for",
    "--model": "--from (for a trained model) or --preset",
    "--model-name": "--from (for a trained model) or --preset",
    "--model-name-or-path": "--from",
    "--out": "--runs",
    "--out-dir": "--runs",
    "--output": "--runs",
    "--output-dir": "--runs",
    "--pretrained": "--from",
    "--resume": "`seedbed resume RUN`",
    "--resume-from-checkpoint": "`seedbed resume RUN --from CHECKPOINT`",
    "--run-name": "--name",
    "--save-dir": "--runs",
    "--size": "--preset",
    "--time": "--for",
    "--time-limit": "--for",
}
"""Option of another program -> the equivalent in Seedbed."""

_PATIENCE_S = 10.0
"""Seconds in which a queued job says what it waits for; usually it does at once."""


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `train` to the parser."""
    parser.add_argument(
        "file", metavar="FILE", nargs="?", type=file_path, help="a config file (TOML); its values replace the preset's"
    )
    config_options(parser)
    parser.add_argument("--name", help="a name for the run (letters, digits, space, _ . -; up to 64)")
    parser.add_argument(
        "--background", action="store_true", help="train in the background: print the run's id and exit"
    )
    turn_options(parser)
    runs_option(parser)
    json_option(parser, "the run's status at the end (with --background: at the start)")


def config_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that set values of a config to the parser; `seedbed config show` has these options, too."""
    parser.add_argument("--preset", metavar="NAME", help="nano, tiny, small or base; `seedbed presets` describes them")
    like = parser.add_argument("--like", metavar="RUN", help="start from the config of an earlier run")
    like.completer = complete_run  # type: ignore[attr-defined]
    base = parser.add_argument(
        "--from",
        metavar="MODEL",
        help="train on from a model: a model folder, hub:NAME[@REVISION], or RUN[@STEP] (base.model)",
    )
    base.completer = complete_model  # type: ignore[attr-defined]
    parser.add_argument(
        "--data", metavar="SOURCE", help="stories, wikitext-2, text:PATH, hf:NAME, or a dataset's folder"
    )
    parser.add_argument("--data-path", metavar="PATH", help="a local copy of a named corpus")
    parser.add_argument("--steps", metavar="N", help="train for N optimizer steps (train.steps)")
    parser.add_argument("--epochs", metavar="N", help="train for N passes over the text (train.epochs)")
    parser.add_argument("--tokens", metavar="N", help="train on N tokens (train.tokens)")
    parser.add_argument(
        "--for",
        metavar="TIME",
        help="train for a time such as 20m or 8h (train.time); without a preset, choose the best model for it",
    )
    parser.add_argument("--lr", metavar="RATE", help="peak learning rate (optimizer.lr)")
    parser.add_argument("--batch-size", metavar="N", help="sequences per optimizer step (train.batch_size)")
    parser.add_argument("--context", metavar="N", help="longest sequence in tokens (model.context)")
    parser.add_argument("--seed", metavar="N", help="seed of weights, data order and samples (train.seed)")
    parser.add_argument("--device", help="auto, cpu, gpu, cuda, cuda:N, mps, or part of a GPU's name such as A30")
    parser.add_argument(
        "--strict-device",
        action="store_true",
        default=None,
        help="fail instead of warning if the device is missing",
    )
    parser.add_argument("--precision", help="auto, fp32, bf16 or fp16")
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        dest="sets",
        help="set any value of the config, such as model.layers=6; may be repeated",
    )


def resolved(
    arguments: argparse.Namespace, file: Path | None, root: Root[S], named: Mapping[str, str] = NAMED_KEYS
) -> Resolved[S]:
    """The config that the options describe, with the origin of each value.

    `root` is the kind of config, `named` has the options of the command that set a key.

    Raises UsageError if a value is wrong.
    """
    from seedbed.actions import base_opener
    from seedbed.cli.console import set_temporary_line
    from seedbed.cli.store_option import store
    from seedbed.config.frozen import load_frozen
    from seedbed.config.layers import Flagged
    from seedbed.config.resolving import resolve
    from seedbed.errors import UsageError
    from seedbed.files import expand_home
    from seedbed.runs.kinds import command_like, kind_of

    base = None
    if arguments.like is not None:
        run = store(arguments.runs).find(arguments.like)
        if kind_of(run).config != root.name:
            raise UsageError(
                f'"{run.id}" has no {root.name} config, so --like cannot start from it.',
                f"Use `{command_like(run)}`, or give a run of `seedbed {root.name}`.",
            )
        base = load_frozen(run.config, root)
    try:
        return resolve(
            root,
            preset=getattr(arguments, "preset", None),
            file=expand_home(file) if file is not None else None,
            sets=arguments.sets,
            base=base,
            flags={
                path: Flagged(getattr(arguments, option[2:].replace("-", "_")), option)
                for option, path in named.items()
            },
            open_base=base_opener(store(arguments.runs), show_progress),
        )
    finally:
        set_temporary_line()


def run(arguments: argparse.Namespace) -> int:
    """Create a run and start its job. Follow it until it ends; with --background, return once it has started."""
    from seedbed import actions
    from seedbed.cli.console import note
    from seedbed.config.roots import TRAIN
    from seedbed.runs.kinds import KINDS

    wanted = resolved(arguments, arguments.file, TRAIN)
    store = actions.store(arguments.runs)
    queue = turn(arguments, store)

    def start() -> Launch:
        launch = actions.start_new_run(store, KINDS["train"], wanted, arguments.name, queue, sys.argv)
        if arguments.name is not None and launch.run.first_name() != arguments.name:
            note(f'The name "{arguments.name}" is taken, so the new run is named "{launch.run.first_name()}".')
        return launch

    return watch(
        start,
        background=arguments.background,
        as_json=arguments.json,
        queue=queue,
    )


def turn(arguments: argparse.Namespace, store: Store) -> StartCondition:
    """What the run waits for before it starts: a free device or the end of another run.

    Prints a note if the run that --after names has already ended.
    """
    from seedbed import actions, text
    from seedbed.cli.console import note
    from seedbed.runs.control import StartCondition

    if arguments.after is None:
        return StartCondition(arguments.queue)
    after = store.find(arguments.after)
    if not actions.is_live(after):
        note(
            f'"{text.printable(after.name())}" ({text.printable(after.id)}) has already ended, so --after has no effect.'
        )
    return StartCondition(arguments.queue, after.path)


def watch(start: Callable[[], Launch], *, background: bool, as_json: bool, queue: StartCondition) -> int:
    """Start a job and follow it until it ends; returns the exit status.

    With `background`, or if `queue` says that the job must wait, returns once the job has started.
    """
    from seedbed import actions
    from seedbed.cli.console import note, say, say_json
    from seedbed.runs.status import status

    if not background and not queue:
        from seedbed.cli.follow import follow

        return follow(start, as_json=as_json)
    launch = start()
    actions.wait_until_started(launch)
    if as_json:
        say_json(status(launch.run))
        return 0
    say(launch.run.id)
    if sys.stdout.isatty():
        waiting = waiting_reason(launch.run) if queue else None
        note(waiting or "The run trains in the background.")
        note(f"Watch it: seedbed {'queue' if waiting else f'status {launch.run.id}'}")
    return 0


def waiting_reason(run: RunDir) -> str | None:
    """Why a run waits, once its job has logged the reason; None if it does not wait."""
    from seedbed import text
    from seedbed.runs.status import current_status

    end = time.monotonic() + _PATIENCE_S
    while True:
        current = current_status(run)
        if current.status != "queued":
            return None
        if current.view.waits_for or time.monotonic() > end:
            return text.printable(current.view.reason or "The run waits in the queue.")
        time.sleep(0.05)
