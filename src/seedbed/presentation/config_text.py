"""What a config wants, in the words in which one would type it."""

from __future__ import annotations

from pathlib import Path

from seedbed import text
from seedbed.config.arithmetic import count_parameters
from seedbed.config.check import kept_checkpoints
from seedbed.config.frozen import load_frozen
from seedbed.config.keys import alternatives, keys, value_of
from seedbed.config.resolving import Resolved
from seedbed.config.roots import TRAIN
from seedbed.config.schema import Config
from seedbed.presentation.wording import time_taken
from seedbed.runs.estimate import estimate
from seedbed.runs.store import Store

FROM_ALL_OPTIONS = "from all options"
"""The origin of a value that was entered there."""


def typed(config: Config, path: str) -> str:
    """A value of the config as one would type it; "" for one that is not set."""
    value = value_of(config, path)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def parameters(config: Config) -> int:
    """About how many parameters the model will have: with as large a vocabulary as is asked for."""
    return count_parameters(config.model, config.tokenizer.vocab_size)


def horizon(config: Config) -> str:
    """How far the run means to go."""
    train = config.train
    if train.epochs is not None:
        return text.plural(train.epochs, "epoch")
    return text.plural(train.steps, "step") if train.steps is not None else f"{text.count(train.tokens or 0)} tokens"


def wanted_lines(wanted: Resolved[Config], name: str, store: Store) -> list[str]:
    """What a run would be, line by line: the most important, then what all options changed."""
    config, train = wanted.config, wanted.config.train
    kept = kept_checkpoints(train)
    saved = "1 checkpoint" if kept == 1 else f"{kept} checkpoints"
    at_a_time = f", {train.micro_batch} at a time" if train.micro_batch else ""
    takes = estimate(config, store)
    tokens = "" if takes.tokens is None or train.tokens is not None else f", {text.count(takes.tokens)} tokens"
    said = [
        f"name       {name}",
        f"preset     {config.preset}, {text.count(parameters(config))} parameters",
        f"data       {config.data.source}",
        f"horizon    {horizon(config)}{tokens}",
        f"batch      {train.batch_size} x {config.model.context} tokens{at_a_time}",
        f"device     {train.device}, precision {train.precision}",
        f"disk       up to {text.size(takes.disk_bytes)}: {saved}, 1 being saved",
        f"time       {time_taken(takes.seconds, takes.tokens, takes.basis)}",
    ]
    changed = [
        f"and        {path} = {typed(config, path)}"
        for path, origin in wanted.origins.items()
        if origin == FROM_ALL_OPTIONS and path not in alternatives("train.steps", TRAIN)
    ]
    return said + changed


def differences(one: Path, other: Path) -> list[tuple[str, str, str]]:
    """The keys in which two frozen configs differ, with both values. Raises SeedbedError for one that cannot be read."""
    first, second = load_frozen(one, TRAIN), load_frozen(other, TRAIN)
    rows = [("preset", first.preset, second.preset)]
    rows += [(path, typed(first, path), typed(second, path)) for path in keys(TRAIN)]
    return [row for row in rows if row[1] != row[2]]


def frozen_text(path: Path) -> str:
    """The text of a run's config, or why it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return f"Cannot read {text.quoted(path)}: {error.strerror}."
