"""What `seedbed plan` is asked to plan: from the options and the config to a request."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from seedbed.config.schema import Config
    from seedbed.simulate.request import Request
    from seedbed.simulate.shape import Shape


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
