"""`seedbed simulate`: simulate a training run on a cluster, with failures, as a run like any other."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from seedbed.cli.argument_types import file_path
from seedbed.cli.parser import complete_run, json_option, runs_option

if TYPE_CHECKING:
    from seedbed.actions import Launch

DESCRIPTION = """\
Simulate a whole training run on a cluster of 1 to 1,000,000 GPUs: step times from the cost model, losses from a scaling
law, failures at published rates, recovery, checkpoints. It takes seconds, and makes a run that every command shows; all
of them say that it is simulated. Nothing is trained, and no GPU is needed.

Equal seeds give equal runs, however fast they are played. --set sets any value; `seedbed config keys --kind simulate`
explains all of them.

With --rehearse, no simulated run is made. Instead, a small real run is trained twice on this machine: undisturbed,
and with some of the simulated incidents injected (kills, hangs, a full disk and others). The report has the lost work,
predicted and actual, and says whether the run recovered; the exit status is 1 if it did not.
"""
EXAMPLES = """\
  seedbed simulate --model llama3-8b --gpu 64xH100 --tokens 1T
  seedbed simulate --model llama3-405b --gpu 16384xH100 --tokens 15.6T --seed 7
  seedbed simulate --gpu 16384xH100 --model llama3-405b --parallel tp=8,pp=16,dp=128
  seedbed simulate --fail-rate 0                  a cluster where nothing fails
  seedbed simulate --speed 3600 --background      an hour of the run in each second
  seedbed simulate --like latest --seed 8         the same run with other failures
  seedbed simulate --gpu 1024xH100 --tokens 15T --rehearse    prove that a real run recovers from such failures
  seedbed simulate my.toml                        a file with, for example, these lines:
      [simulate]
      model = "llama3-70b"
      [cluster]
      gpus = "1024xH100"
      spare_nodes = 8
  seedbed simulate --rehearse --inject full-disk,slow-writes --incidents 4
"""
NAMED_KEYS = {
    "--model": "simulate.model",
    "--tokens": "simulate.tokens",
    "--seq": "simulate.sequence",
    "--global-batch": "simulate.global_batch",
    "--precision": "simulate.precision",
    "--seed": "simulate.seed",
    "--gpu": "cluster.gpus",
    "--parallel": "cluster.parallel",
    "--fail-rate": "failures.rate",
    "--checkpoint-every": "checkpoint.every",
    "--speed": "playback.speed",
}
"""Option -> the key of the config that it sets."""
AMOUNTS = ("tokens", "global_batch")
"""Options whose values may be written as 15T or 4M."""
SYNONYMS = {"--bg": "--background", "--gpus": "--gpu", "--failures": "--fail-rate", "--batch-size": "--global-batch"}
"""Option of another program -> the equivalent in Seedbed."""


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `simulate` to the parser."""
    parser.add_argument(
        "file", metavar="FILE", nargs="?", type=file_path, help="a config file (TOML) of the kind simulate"
    )
    parser.add_argument("--model", metavar="NAME", help="a known model or a preset such as tiny (default: llama3-8b)")
    parser.add_argument("--gpu", metavar="NxGPU", help="the cluster, such as 16384xH100 (default: 64xH100)")
    parser.add_argument("--tokens", metavar="N", help="tokens to train on, such as 15.6T")
    parser.add_argument("--seq", metavar="N", help="tokens per sequence, such as 8192 or 8k")
    parser.add_argument("--global-batch", metavar="N", help="tokens per optimizer step, such as 4M")
    parser.add_argument("--precision", help="auto, fp32, bf16, fp16 or fp8")
    parser.add_argument("--parallel", metavar="LAYOUT", help="how training is split, such as tp=8,pp=16,dp=128")
    parser.add_argument(
        "--fail-rate", metavar="RATE", help="failures of nodes per 1,000 node-days (default: 4.0; 0: nothing fails)"
    )
    parser.add_argument("--checkpoint-every", metavar="N", help="steps between checkpoints (default: the recommended)")
    parser.add_argument("--seed", metavar="N", help="seed of failures and noise (default: 1337)")
    parser.add_argument("--speed", metavar="X", help="simulated seconds per second (default: as fast as possible)")
    like = parser.add_argument("--like", metavar="RUN", help="start from the config of an earlier simulated run")
    like.completer = complete_run  # type: ignore[attr-defined]
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        dest="sets",
        help="set any value of the config, such as failures.repair_s=3600; may be repeated",
    )
    parser.add_argument("--name", help="a name for the run (letters, digits, space, _ . -; up to 64)")
    parser.add_argument("--background", action="store_true", help="print the run's id and exit")
    rehearsal_options(parser)
    runs_option(parser)
    json_option(parser, "the run's status at the end (with --background: at the start; with --rehearse: the report)")


def rehearsal_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a rehearsal to the parser."""
    group = parser.add_argument_group("rehearsal")
    group.add_argument("--rehearse", action="store_true", help="inject simulated incidents into a small real run")
    group.add_argument("--incidents", metavar="N", help="the most incidents to inject (default: 6, or as many as fit)")
    group.add_argument(
        "--inject",
        metavar="FAULTS",
        help="faults to inject even if the simulation has none: kill, hang, stall, full-disk, slow-writes, stop; or all",
    )
    group.add_argument("--preset", metavar="NAME", dest="train_preset", help="preset of the real run (default: nano)")
    group.add_argument("--data", metavar="SOURCE", dest="train_data", help="text of the real run (default: stories)")
    group.add_argument("--rehearse-steps", metavar="N", help="steps of the real run (default: 120)")
    group.add_argument(
        "--rehearse-set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="set any value of the real run's config, such as model.layers=2; may be repeated",
    )


def run(arguments: argparse.Namespace) -> int:
    """Create a simulated run and start its job. Follow it until it ends; with --background, return once it has started."""
    from seedbed import actions
    from seedbed.cli.console import note
    from seedbed.cli.train import resolved, watch
    from seedbed.config.roots import SIMULATE
    from seedbed.errors import UsageError
    from seedbed.runs.control import StartCondition
    from seedbed.runs.kinds import KINDS
    from seedbed.simulate.amounts import parse_amount, parse_length
    from seedbed.simulate.configured import plan_of

    for option in AMOUNTS:
        typed = getattr(arguments, option)
        if typed is not None:
            setattr(arguments, option, parse_amount(typed, f"--{option.replace('_', '-')}"))
    if arguments.seq is not None:
        arguments.seq = parse_length(arguments.seq, "--seq")
    wanted = resolved(arguments, arguments.file, SIMULATE, NAMED_KEYS)
    if arguments.rehearse:
        from seedbed.cli.rehearse import rehearse

        return rehearse(arguments, wanted)
    for option in ("incidents", "inject", "train_preset", "train_data", "rehearse_steps", "rehearse_set"):
        if getattr(arguments, option):
            shown = option.removeprefix("train_").replace("_", "-")
            raise UsageError(f"--{shown} works only with --rehearse.", "Add --rehearse, or leave the option out.")
    store = actions.store(arguments.runs)
    plan = plan_of(wanted.config)

    def start() -> Launch:
        launch = actions.start_new_run(store, KINDS["simulate"], wanted, arguments.name, None, sys.argv)
        if arguments.name is not None and launch.run.first_name() != arguments.name:
            note(f'The name "{arguments.name}" is taken, so the new run is named "{launch.run.first_name()}".')
        note(f"Assumed: {'; '.join(plan.assumed)}.")
        for each in plan.notes:
            note(f"{each[:1].upper()}{each[1:]}.")
        return launch

    return watch(start, background=arguments.background, as_json=arguments.json, queue=StartCondition())
