"""`seedbed plan`: predict time, memory and money of a training before it starts."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from seedbed.cli.argument_types import real, whole
from seedbed.cli.parser import json_option

if TYPE_CHECKING:
    from seedbed.config.schema import Config
    from seedbed.simulate.plan import Plan
    from seedbed.simulate.request import Request
    from seedbed.simulate.shape import Shape
    from seedbed.simulate.target import Enough

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
_MOST_LAYOUTS = 12
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
        "file", metavar="FILE", nargs="?", type=Path, help="a train config (TOML): its model and tokens"
    )
    parser.add_argument("--preset", metavar="NAME", help="the model and tokens of a preset, such as tiny")
    training_options(parser)
    parser.add_argument("--target-days", metavar="DAYS", type=real(0.001), help="say whether the training ends in time")
    parser.add_argument("--usd-per-hour", metavar="USD", type=real(0, 1e6), help="price of one GPU for an hour")
    parser.add_argument("--explain", action="store_true", help="show where the time of a step and the memory go")
    parser.add_argument("--search", action="store_true", help="rank layouts by time and by cost, also on fewer GPUs")
    parser.add_argument(
        "--top", metavar="N", type=whole(1), help=f"layouts that --search shows (default: {_MOST_LAYOUTS})"
    )
    parser.add_argument(
        "--runs", metavar="FILE", type=Path, help="compare predictions with a JSON file of published runs"
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
    if arguments.list:
        return _list(arguments)
    if arguments.runs:
        return _compare(arguments)
    if getattr(arguments, "for"):
        return _plan_time(arguments)
    if arguments.search:
        return _search(arguments)
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
    _print(plan, enough, explain=arguments.explain)
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


def request_of(arguments: argparse.Namespace) -> Request:
    """What the options ask to plan. Raises UsageError for what is missing or wrong."""
    from seedbed.errors import UsageError
    from seedbed.simulate import catalog
    from seedbed.simulate.amounts import parse_amount, parse_length
    from seedbed.simulate.layouts import parse_parallel
    from seedbed.simulate.request import LORA_RANK, Request

    if arguments.model and (arguments.file or arguments.preset):
        raise UsageError(
            "Both --model and a config say which model is meant.", "Give only one of FILE, --preset and --model."
        )
    given = _from_config(arguments)
    shape = catalog.model(arguments.model) if arguments.model else given.shape
    if shape is None:
        raise UsageError(
            "No model is given.",
            "Write --model NAME, such as --model llama3-8b, or --preset NAME; `seedbed plan --list models` lists them.",
        )
    num_gpus, gpu = catalog.parse_gpus(arguments.gpu)
    network = catalog.network(arguments.network) if arguments.network else None
    return Request(
        shape=shape,
        gpu=gpu,
        num_gpus=num_gpus,
        tokens=parse_amount(arguments.tokens, "--tokens") if arguments.tokens else given.tokens,
        seq_len=parse_length(arguments.seq, "--seq") if arguments.seq else given.seq_len,
        global_batch_tokens=(
            parse_amount(arguments.global_batch, "--global-batch") if arguments.global_batch else given.batch_tokens
        ),
        precision=arguments.precision,
        method=arguments.method or "pretrain",
        lora_rank=arguments.lora_rank or LORA_RANK,
        recompute=arguments.recompute,
        stack=arguments.software,
        parallel=parse_parallel(arguments.parallel) if arguments.parallel else {},
        network_gbps=network.node_gbps / gpu.gpus_per_node * network.efficiency / 0.9 if network else None,
        target_days=arguments.target_days,
        usd_per_hour=arguments.usd_per_hour,
        said=given.said,
    )


class _Given(NamedTuple):
    """What a config says: the model, the tokens to train on, those of a sequence and of a step; None: not said."""

    shape: Shape | None = None
    tokens: float | None = None
    seq_len: int | None = None
    batch_tokens: int | None = None
    said: tuple[str, ...] = ()
    """How the tokens are known, or why they are not."""


def _from_config(arguments: argparse.Namespace) -> _Given:
    """What the config file or the preset says."""
    if not arguments.file and not arguments.preset:
        return _Given()
    from seedbed.config.resolving import resolve
    from seedbed.config.roots import TRAIN
    from seedbed.simulate.catalog import shape_of

    config = resolve(TRAIN, preset=arguments.preset, file=arguments.file).config
    batch = config.train.batch_size * config.model.context
    tokens, words = (None, "") if arguments.tokens else _tokens_of(config, batch)
    name = arguments.file.stem if arguments.file else arguments.preset
    return _Given(shape_of(name, config), tokens, config.model.context, batch, (words,) if words else ())


def _tokens_of(config: Config, batch: int) -> tuple[float | None, str]:
    """The tokens that a config trains on, and words that say how they are known, or why they are not (None)."""
    train = config.train
    if train.tokens or train.steps:
        return train.tokens or (train.steps or 0) * batch, ""
    if train.time is not None:
        return None, f"the config trains for {train.time}; how many tokens that is is not known for these GPUs"
    if train.epochs is None:
        return None, ""
    from seedbed import actions
    from seedbed.errors import SeedbedError
    from seedbed.text import printable

    try:
        tokens, words = actions.expected_tokens(config, actions.store(), actions.text_tokens(config.data))
    except SeedbedError:
        tokens, words = None, ""
    if tokens is None:
        passes = "1 pass" if train.epochs == 1 else f"{train.epochs:g} passes"
        source = printable(config.data.source.strip())
        words = f"the tokens of {passes} over {source} are not known before it is read (give --tokens)"
    return tokens, words


def _print(plan: Plan, enough: Enough | None, *, explain: bool) -> None:
    from seedbed.cli.plan_text import print_plan
    from seedbed.presentation.plan import basis, explanation, rows, title

    print_plan(title(plan), rows(plan, enough), explanation(plan) if explain else [], basis(plan) if explain else [])


def _plan_time(arguments: argparse.Namespace) -> int:
    """Print the size that `seedbed train --for` would choose; this machine is measured for some seconds."""
    import msgspec

    from seedbed import actions
    from seedbed.cli.console import say, say_json, set_temporary_line
    from seedbed.config.layers import Flagged
    from seedbed.config.resolving import resolve
    from seedbed.config.roots import TRAIN
    from seedbed.presentation.size_plan import plan_lines

    flags = {
        "train.time": Flagged(getattr(arguments, "for"), "--for"),
        "data.source": Flagged(arguments.data, "--data"),
    }
    wanted = resolve(TRAIN, file=arguments.file, flags=flags)
    set_temporary_line("measuring this machine ...")
    try:
        found = actions.choose_size(wanted)
    finally:
        set_temporary_line()
    if arguments.json:
        say_json(msgspec.to_builtins(found.chosen))
        return 0
    for line in plan_lines(found.chosen):
        say(line)
    return 0


def _search(arguments: argparse.Namespace) -> int:
    from seedbed.cli.console import fitted, paint, say, say_json, table
    from seedbed.presentation.plan import LAYOUT_COLUMNS, as_json, layout_json, layouts_table
    from seedbed.simulate.plan import plan_on_fewer_gpus

    first, found, tried = plan_on_fewer_gpus(request_of(arguments))
    top = arguments.top or _MOST_LAYOUTS
    by_time = sorted(found, key=lambda each: each.whole.wall_s)
    by_cost = sorted(found, key=lambda each: each.whole.gpu_hours)
    if arguments.json:
        say_json(
            {
                "tried": tried,
                "fit": len(found),
                "fastest": as_json(first),
                "by_time": [layout_json(each) for each in by_time[:top]],
                "by_cost": [layout_json(each) for each in by_cost[:top]],
            }
        )
        return 0
    say(f"{tried:,} layouts compared; {len(found):,} fit into memory.")
    for heading, ranked in (("By time", by_time), ("By cost", by_cost)):
        say()
        say(paint(heading, "bold"))
        header, cells = list(LAYOUT_COLUMNS), layouts_table(ranked[:top])
        fitted(header, cells, [], spare=("GiB", "MFU"), shorten="layout", least=20)
        for line in table(cells, header, right=("GPUs", "training", "step", "MFU", "GiB", "money")):
            say(line)
    return 0


def _compare(arguments: argparse.Namespace) -> int:
    from seedbed import text
    from seedbed.cli.console import say, say_json, table
    from seedbed.presentation.published import as_json, compare, summaries
    from seedbed.simulate.published import read_rows

    found = compare(read_rows(arguments.runs))
    if arguments.json:
        say_json(as_json(found))
        return 0

    def share(value: float | None, sign: str = "") -> str:
        return "-" if value is None else f"{100 * value:{sign}.1f} %"

    cells = [
        [
            text.printable(each.row.id),
            text.count(each.row.tokens_per_s_per_gpu) if each.row.tokens_per_s_per_gpu else "-",
            text.count(each.tokens_per_s_per_gpu),
            share(each.error, "+"),
            {True: "yes", False: "no", None: "-"}[each.inside],
            f"{each.row.memory_gib:.3g}" if each.row.memory_gib else "-",
            f"{each.memory_gib:.3g}",
        ]
        for each in found
    ]
    header = ("run", "published", "predicted", "error", "in 80 %", "GiB", "predicted GiB")
    for line in table(cells, header, right=header[1:]):
        say(line)
    say()
    say("Tokens per second and GPU, by source (absolute errors; bias: median error):")
    rows = [
        [
            text.printable(each.name),
            str(each.rows),
            share(each.median),
            share(each.p90),
            share(each.bias, "+"),
            str(each.memory_rows),
            share(each.memory_median),
        ]
        for each in summaries(found)
    ]
    columns = ("source", "runs", "median", "90th pct", "bias", "with memory", "memory median")
    for line in table(rows, columns, right=columns[1:]):
        say(line)
    inside = [each.inside for each in found if each.inside is not None]
    if inside:
        say(f"{sum(inside)} of {len(inside)} lie in their 80 % interval.")
    return 0


def _list(arguments: argparse.Namespace) -> int:
    import msgspec

    from seedbed import text
    from seedbed.cli.console import say, say_json, table
    from seedbed.presentation.facts import LISTS

    facts = LISTS[arguments.list]()
    if arguments.json:
        say_json([msgspec.to_builtins(each) for each in facts.rows])
        return 0
    cells = [[text.printable(cell) for cell in row] for row in facts.cells]
    for line in table(cells, facts.header, right=facts.header[1:]):
        say(line)
    return 0
