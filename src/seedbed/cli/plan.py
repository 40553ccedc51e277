"""`seedbed plan`: predict time, memory and money of a training before it starts."""

from __future__ import annotations

import argparse

from seedbed.cli.argument_types import file_path, real, whole
from seedbed.cli.parser import json_option
from seedbed.cli.plan_tables import MOST_LAYOUTS

DESCRIPTION = """\
Predict what training a model on given GPUs needs: time, memory, money, energy, failures, and the loss to expect.
Without --parallel, it finds the fastest layout that fits into memory. Nothing is trained, and no network is used.
Each prediction has an interval that holds 80 % of published runs; docs/planner.md says how good the predictions are.

Without --gpu (or with --gpu here), it predicts the time of `seedbed train` on this machine. Single operations are
measured for about ten seconds; their rates are kept for a week.
"""
EXAMPLES = """\
  seedbed plan --model llama3-8b --gpu 64xH100 --tokens 15T
  seedbed plan --model llama3-70b --gpu 512xH100 --tokens 2T --seq 8192 --global-batch 4M --target-days 30
  seedbed plan --model qwen3-8b --gpu RTX4090 --method qlora --tokens 10M --explain
  seedbed plan --model llama3-405b --gpu 16384xH100 --tokens 15.6T --parallel tp=8,pp=16,cp=1
  seedbed plan --search --model llama3-8b --gpu 64xH100 --tokens 1T     compare layouts by time and by cost
  seedbed plan --preset tiny --explain                                  on this machine
  seedbed plan my.toml --gpu RTX3090                                    the model and tokens of a config
  seedbed plan --for 20m --data text:~/novels                           what this machine can train in that time
  seedbed plan --runs published.json                                    compare predictions with published runs
  seedbed plan --list gpus
"""
SYNONYMS = {
    "--gpus": "--gpu 64xH100",
    "--num-gpus": "--gpu 64xH100",
    "--seq-len": "--seq",
    "--context": "--seq",
    "--batch-size": "--global-batch",
    "--tp": "--parallel tp=8",
    "--pp": "--parallel pp=8",
    "--dtype": "--precision",
}
_LISTS = ("gpus", "models", "networks")
_TRAINING = (
    "file", "preset", "model", "gpu", "tokens", "seq", "global_batch", "parallel", "precision", "method", "lora_rank",
    "recompute", "software", "network", "usd_per_hour",
)  # fmt: skip
_TEXTS = ("preset", "model", "gpu", "tokens", "seq", "global_batch", "parallel", "network", "for", "data")
_APPLIES = {
    "list": ((), "--list only lists facts."),
    "runs": ((), "--runs takes everything from the file; leave --runs out to plan a training of your own."),
    "for": (
        ("file", "data"),
        "--for measures this machine and chooses the model; leave --for out to plan for known GPUs.",
    ),
    "search": ((*_TRAINING, "top"), "--search only ranks layouts; leave --search out to plan one training."),
    "": ((*_TRAINING, "target_days", "explain"), ""),
}
"""What is asked for (the first option that is given; none: a plan) -> the other options that apply, and why no others do."""
_NEEDS = {
    "top": "--top says how many layouts --search shows; add --search.",
    "data": "--data is the text of a plan for this machine; leave --gpu out, or add --for TIME.",
    "measure": "--measure measures this machine, not other GPUs; leave --gpu out.",
}


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `plan` to the parser."""
    parser.add_argument(
        "file", metavar="FILE", nargs="?", type=file_path, help="a train config (TOML): its model and tokens"
    )
    parser.add_argument("--preset", metavar="NAME", help="the model and tokens of a preset, such as tiny")
    training_options(parser)
    parser.add_argument("--target-days", metavar="DAYS", type=real(0.001), help="say whether the training ends in time")
    parser.add_argument("--usd-per-hour", metavar="USD", type=real(0, 1e6), help="price of one GPU for an hour")
    parser.add_argument("--explain", action="store_true", help="show where the time of a step and the memory go")
    parser.add_argument("--search", action="store_true", help="rank layouts by time and by cost, also on fewer GPUs")
    parser.add_argument(
        "--top", metavar="N", type=whole(1), help=f"layouts that --search shows (default: {MOST_LAYOUTS})"
    )
    parser.add_argument(
        "--runs", metavar="FILE", type=file_path, help="compare predictions with a JSON file of published runs"
    )
    parser.add_argument(
        "--for",
        metavar="TIME",
        dest="for",
        help="what this machine can train in this time, such as 20m; chooses the model if it is not given",
    )
    parser.add_argument("--data", metavar="SOURCE", help="on this machine: the text, as in `seedbed train`")
    parser.add_argument(
        "--measure", action="store_true", help="measure this machine again, not use the rates that are kept for a week"
    )
    parser.add_argument("--list", choices=_LISTS, help="list the known GPUs, models or networks")
    json_option(parser, "the plan")


def training_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is trained on what."""
    parser.add_argument("--model", metavar="NAME", help="a known model, such as llama3-8b; --list models lists them")
    parser.add_argument("--gpu", metavar="GPUS", help="number and kind, such as 64xH100; default: this machine (here)")
    parser.add_argument(
        "--tokens",
        metavar="N",
        help="tokens to train on, such as 15T; default: 20 for each parameter; fine-tuning: 10M",
    )
    parser.add_argument(
        "--seq", metavar="N", help="tokens of a sequence, such as 8192 or 8k; default: the model's usual"
    )
    parser.add_argument("--global-batch", metavar="N", help="tokens of an optimizer step, such as 4M")
    parser.add_argument("--parallel", metavar="SIZES", help="a layout, or part of one, such as tp=8,pp=16,dp=128")
    parser.add_argument(
        "--precision", choices=("bf16", "fp16", "fp8", "fp32"), help="default: bf16 where the GPU has it"
    )
    parser.add_argument("--method", choices=("pretrain", "full_ft", "lora", "qlora"), help="default: pretrain")
    parser.add_argument("--lora-rank", metavar="N", type=whole(1), help="rank of LoRA adapters (default: 16)")
    parser.add_argument("--recompute", choices=("none", "selective", "full"), help="activation checkpointing")
    parser.add_argument(
        "--software", choices=("torch", "fused", "legacy"), help="fused: Megatron-Core and the like; torch: PyTorch"
    )
    parser.add_argument("--network", metavar="NAME", help="network between nodes; --list networks lists them")


def run(arguments: argparse.Namespace) -> int:
    """Print a plan, a ranking of layouts, a comparison with published runs, or a list of facts."""
    _refuse_empty(arguments)
    if _is_for_here(arguments):
        from seedbed.cli import plan_here

        return plan_here.run(arguments)
    _refuse_unused(arguments)
    if arguments.list or arguments.runs or arguments.search or getattr(arguments, "for"):
        from seedbed.cli import plan_tables

        return plan_tables.run(arguments)
    from seedbed.cli.plan_request import request_of
    from seedbed.simulate.plan import make_plan

    request = request_of(arguments)
    plan = make_plan(request)
    enough = None
    if plan.is_late:
        from seedbed.simulate.target import enough_for

        enough = enough_for(request, plan)
    if arguments.json:
        from seedbed.cli.console import say_json
        from seedbed.presentation.plan import as_json

        say_json(as_json(plan, enough))
        return 0
    from seedbed.cli.plan_text import print_plan
    from seedbed.presentation.plan import basis, explanation, rows, title

    explain = arguments.explain
    print_plan(title(plan), rows(plan, enough), explanation(plan) if explain else [], basis(plan) if explain else [])
    return 0


def _is_for_here(arguments: argparse.Namespace) -> bool:
    """Whether a plan of a given model on this machine is wanted."""
    from seedbed.cli.plan_here import is_here

    if arguments.list or arguments.runs or _leaves_size_open(arguments):
        return False
    return bool(arguments.model or arguments.preset or arguments.file or arguments.gpu) and is_here(arguments)


def _leaves_size_open(arguments: argparse.Namespace) -> bool:
    """Whether --for is given and the size of the model is not, so that it is to be chosen for this time."""
    time = getattr(arguments, "for")
    if time is None or arguments.preset or not arguments.file:
        return time is not None and not arguments.preset
    from seedbed.config.layers import Flagged
    from seedbed.config.resolving import resolve
    from seedbed.config.roots import TRAIN

    return resolve(TRAIN, file=arguments.file, flags={"train.time": Flagged(time, "--for")}).config.train.size == "auto"


def _refuse_empty(arguments: argparse.Namespace) -> None:
    """Raise UsageError for an option whose value is empty, such as that of a variable that is not set."""
    from seedbed.errors import UsageError

    for name, value in vars(arguments).items():
        if name in _TEXTS and value is not None and not value.strip():
            raise UsageError(f"--{name.replace('_', '-')} is empty.", "Give it a value, or leave it out.")


def _refuse_unused(arguments: argparse.Namespace) -> None:
    """Raise UsageError for an option that would have no effect, with the reason."""
    from seedbed.errors import UsageError

    asked = next(each for each in _APPLIES if not each or _is_given(getattr(arguments, each)))
    applies, reason = _APPLIES[asked]
    for name in (*_TRAINING, *_NEEDS, "target_days", "explain", *_APPLIES):
        value = getattr(arguments, name, None) if name != asked else None
        if not _is_given(value) or name in applies:
            continue
        option = "FILE" if name == "file" else f"--{name.replace('_', '-')}"
        if not asked:
            raise UsageError(f"{option} has no effect here.", _NEEDS[name])
        raise UsageError(f"{option} has no effect with --{asked}.", reason)
    if arguments.lora_rank is not None and arguments.method not in ("lora", "qlora"):
        method = arguments.method or "pretrain"
        raise UsageError(
            f"--lora-rank has no effect with the method {method}, which has no adapters.",
            "Add --method lora or --method qlora, or leave --lora-rank out.",
        )


def _is_given(value: object) -> bool:
    return value is not None and value is not False
