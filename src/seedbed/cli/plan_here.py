"""`seedbed plan` without GPUs: predicts a training on this machine, from rates that are measured here."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from seedbed.config.schema import Config

HERE = ("here", "this")
"""The names of this machine for --gpu."""
_FOR_GPUS = {
    "parallel": "--parallel",
    "recompute": "--recompute",
    "software": "--software",
    "network": "--network",
    "usd_per_hour": "--usd-per-hour",
    "search": "--search",
    "top": "--top",
    "lora_rank": "--lora-rank",
}
"""Option -> its name. These are for plans of GPUs."""


class Wanted(NamedTuple):
    """What is to be planned: its name, its config, and what had to be assumed."""

    name: str
    config: Config
    assumed: tuple[str, ...] = ()


def is_here(arguments: argparse.Namespace) -> bool:
    """Whether a plan for this machine is wanted: without --gpu, or with --gpu here. Raises UsageError for several of it."""
    from seedbed.errors import UsageError

    if not arguments.gpu:
        return True
    found = re.fullmatch(rf"\s*(?:(\d+)\s*[x×*:]?\s*)?({'|'.join(HERE)})\s*", arguments.gpu, re.IGNORECASE)
    if found is None:
        return False
    if found[1] is not None and int(found[1]) != 1:
        raise UsageError(
            f"--gpu {found[2]} is one device of this machine, not {found[1]}.",
            f"Write --gpu {found[2]}, or plan for a kind of GPU, such as --gpu 8xH100.",
        )
    return True


def run(arguments: argparse.Namespace) -> int:
    """Print a plan for this machine; it is measured for some seconds if it was not, lately."""
    import sys

    from seedbed import actions
    from seedbed.cli.console import note, say, say_json, set_temporary_line
    from seedbed.cli.plan_text import print_plan
    from seedbed.presentation.plan_here import as_json, basis, explanation, rows, title
    from seedbed.text import printable

    _refuse_options_of_gpus(arguments)
    _refuse_two_lengths(arguments)
    wanted, tokens = _wanted(arguments), _amount(arguments.tokens, "--tokens")

    def show(line: dict[str, Any]) -> None:
        if "message" in line:
            set_temporary_line()
            note(printable(line["message"]["text"]))
        elif "machine" in line:
            set_temporary_line("measuring this machine for about ten seconds ...")
            if not sys.stderr.isatty():
                note("Measuring this machine for about ten seconds ...")

    set_temporary_line("asking PyTorch about this machine ...")
    try:
        plan = actions.plan_on_this_machine(
            wanted.name,
            wanted.config,
            tokens=tokens,
            assumed=wanted.assumed,
            target_days=arguments.target_days,
            measure=arguments.measure,
            store=actions.store(),
            on_line=show,
        )
    finally:
        set_temporary_line()
    if arguments.json:
        say_json(as_json(plan))
        return 0
    print_plan(
        title(plan),
        rows(plan),
        explanation(plan) if arguments.explain else [],
        basis(plan) if arguments.explain else [],
    )
    if not arguments.explain:
        say()
        say("--explain shows where the time goes and what is measured or assumed.")
    return 0


def _refuse_options_of_gpus(arguments: argparse.Namespace) -> None:
    """Raise UsageError for options that have no meaning on this machine."""
    from seedbed.errors import UsageError

    values = {name: getattr(arguments, key) for key, name in _FOR_GPUS.items()}
    given = [name for name, value in values.items() if value is not None and value is not False]
    if arguments.method not in (None, "pretrain"):
        given.append(f"--method {arguments.method}")
    if arguments.precision == "fp8":
        given.append("--precision fp8")
    if not given:
        return
    what = "is one device" if "--parallel" in given else "is planned as `seedbed train` would train on it"
    verb = "needs" if len(given) == 1 else "need"
    raise UsageError(
        f"This machine {what}; {' and '.join(given)} {verb} GPUs.",
        f"Leave {'it' if len(given) == 1 else 'them'} out, or say which GPUs: --gpu 8xH100.",
    )


def _refuse_two_lengths(arguments: argparse.Namespace) -> None:
    """Raise UsageError if both a time and tokens are given."""
    from seedbed.errors import UsageError

    if getattr(arguments, "for") is not None and arguments.tokens is not None:
        raise UsageError("Both --for and --tokens say how long to train.", "Give only one of them.")


def _wanted(arguments: argparse.Namespace) -> Wanted:
    """The config to plan: of a file, a preset, or a known model. Raises UsageError for what is missing or wrong."""
    from msgspec.structs import replace

    from seedbed.config.layers import Flagged
    from seedbed.config.preset import preset_names
    from seedbed.config.resolving import resolve
    from seedbed.config.roots import TRAIN
    from seedbed.errors import UsageError

    preset = arguments.preset
    if arguments.model and (preset or arguments.file):
        raise UsageError(
            "Both --model and a config say which model is meant.", "Give only one of FILE, --preset and --model."
        )
    if arguments.model in preset_names(TRAIN):
        preset = arguments.model
    elif arguments.model:
        return _known_model(arguments)
    if not preset and not arguments.file:
        raise UsageError(
            "No model is given.",
            "Write --preset tiny, a config file, or --model NAME; `seedbed plan --list models` lists them.",
        )
    flags = {
        "data.source": Flagged(arguments.data, "--data"),
        "model.context": Flagged(_length(arguments), "--seq"),
        "train.precision": Flagged(arguments.precision, "--precision"),
        "train.time": Flagged(getattr(arguments, "for"), "--for"),
    }
    config = resolve(TRAIN, preset=preset, file=arguments.file, flags=flags).config
    if config.train.size == "auto":
        raise UsageError(
            "The config leaves the size of the model open.",
            "`seedbed plan --for TIME` chooses it for a time.",
        )
    batch = _sequences(arguments, config.model.context)
    if batch is not None:
        micro = config.train.micro_batch
        fits = micro and batch % micro == 0
        config = replace(config, train=replace(config.train, batch_size=batch, micro_batch=micro if fits else 0))
    return Wanted(preset or arguments.file.stem, config)


def _known_model(arguments: argparse.Namespace) -> Wanted:
    """The config of a model in the tables of facts."""
    from msgspec.structs import replace

    from seedbed.simulate import catalog
    from seedbed.simulate.here import USUAL_BATCH, config_of

    shape = catalog.model(arguments.model)
    config = config_of(shape, seq_len=_length(arguments))
    assumed = [] if arguments.seq else [f"sequences of {config.model.context:,} tokens"]
    batch = _sequences(arguments, config.model.context)
    if batch is None:
        batch = USUAL_BATCH
        assumed.append(f"{batch} sequences per step, one at a time, and Muon")
    train = replace(config.train, batch_size=batch, micro_batch=1, precision=arguments.precision or "auto")
    config = replace(config, train=train)
    if arguments.data is not None:
        config = _on_text(config, arguments.data)
    return Wanted(shape.name, config, tuple(assumed))


def _on_text(config: Config, source: str) -> Config:
    """The config with a text, over which it passes once if nothing else is said."""
    from msgspec.structs import replace

    from seedbed.config.layers import Flagged
    from seedbed.config.resolving import resolve
    from seedbed.config.roots import TRAIN

    data = resolve(TRAIN, flags={"data.source": Flagged(source, "--data")}).config.data
    return replace(config, data=data, train=replace(config.train, epochs=1.0))


def _sequences(arguments: argparse.Namespace, context: int) -> int | None:
    """The sequences of a step by --global-batch; None without it."""
    wanted = _amount(arguments.global_batch, "--global-batch")
    return None if wanted is None else max(1, round(wanted / context))


def _amount(given: str | None, option: str) -> float | None:
    """The number of tokens of an option; None without it. Raises UsageError unless it is above 0."""
    from seedbed.simulate.amounts import parse_amount

    return None if given is None else parse_amount(given, option)


def _length(arguments: argparse.Namespace) -> int | None:
    """The tokens of a sequence by --seq; None without it."""
    from seedbed.simulate.amounts import parse_length

    return None if arguments.seq is None else parse_length(arguments.seq, "--seq")
