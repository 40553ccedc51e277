"""A config as text: its values, the length of the training, the plan of a new run, differences between two configs."""

from __future__ import annotations

from pathlib import Path

from seedbed import text
from seedbed.config.arithmetic import count_parameters
from seedbed.config.check import kept_checkpoints
from seedbed.config.keys import alternatives, keys, value_of
from seedbed.config.resolving import Resolved
from seedbed.config.roots import TRAIN
from seedbed.config.schema import Config, Table
from seedbed.presentation.wording import time_taken
from seedbed.runs.base_names import short_name
from seedbed.runs.estimate import estimate
from seedbed.runs.kinds import frozen_config, kind_of
from seedbed.runs.store import RunDir, Store


def value_text(config: Table, path: str) -> str:
    """The value of the config key `path` as a person would type it; "" if it is not set."""
    value = value_of(config, path)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def parameters(config: Config) -> int:
    """The number of parameters with the largest vocabulary that the config allows; the model may have fewer."""
    return count_parameters(config.model, config.tokenizer.vocab_size)


def horizon(config: Config) -> str:
    """How long a run with this config trains, such as `3 epochs`, `500 steps`, `10M tokens` or `20m`."""
    train = config.train
    if train.time is not None:
        return train.time
    if train.epochs is not None:
        return text.plural(train.epochs, "epoch")
    return text.plural(train.steps, "step") if train.steps is not None else f"{text.count(train.tokens or 0)} tokens"


def summary(config: Config) -> str:
    """A config in one line: preset or base, number of parameters, length of the training, device."""
    return f"{start(config)}, {size(config)}, {horizon(config)}, {config.train.device}"


def start(config: Config) -> str:
    """What a training starts from: the preset, or `from NAME` for a trained model."""
    return f"from {short_name(config.base.model)}" if config.base.model else config.preset


def size(config: Config) -> str:
    """The number of parameters in words, or that the size will be chosen for the time."""
    if config.train.size == "auto":
        return "size chosen at the start"
    return f"{text.count(parameters(config))} parameters"


def plan_lines(resolved: Resolved[Config], name: str, store: Store, origin: str) -> list[str]:
    """The plan of a new run as lines: the most important values, then the config keys whose value comes from `origin`.

    `origin` is the place where a value was set, such as `from all options`.
    """
    config, train = resolved.config, resolved.config.train
    kept = kept_checkpoints(train)
    at_a_time = f", {train.micro_batch} at a time" if train.micro_batch else ""
    takes = estimate(config, store)
    tokens = "" if takes.tokens is None or train.tokens is not None else f", {text.count(takes.tokens)} tokens"
    lines = [
        f"name       {name}",
        f"{'base' if config.base.model else 'preset':<11}{config.base.model or config.preset}, {size(config)}",
        f"data       {config.data.source}",
        f"length     {horizon(config)}{tokens}",
        f"batch      {train.batch_size} x {config.model.context} tokens{at_a_time}",
        f"device     {train.device}, precision {train.precision}",
        f"disk       up to {text.size(takes.disk_bytes)}: {text.plural(kept, 'checkpoint')}, 1 being saved",
        f"time       {time_taken(takes.seconds, takes.tokens, takes.basis)}",
    ]
    lengths = alternatives("train.steps", TRAIN)
    changed = [
        f"{'option' if not number else '':<11}{path} = {value_text(config, path)}"
        for number, path in enumerate(
            path for path, given in resolved.origins.items() if given == origin and path not in lengths
        )
    ]
    return lines + changed


def differences(one: RunDir, other: RunDir) -> list[tuple[str, str, str]]:
    """The config keys with different values in two runs: key, value in `one`, value in `other`.

    A value is "" if a config does not have the key. Raises SeedbedError for a config that cannot be read.
    """
    sides = [(frozen_config(run), keys(kind_of(run).root)) for run in (one, other)]
    rows = [("preset", *(str(getattr(config, "preset", "")) for config, _ in sides))]
    paths = dict.fromkeys(path for _, known in sides for path in known)
    rows += [(path, *(value_text(config, path) if path in known else "" for config, known in sides)) for path in paths]
    return [(path, first, second) for path, first, second in rows if first != second]


def file_text(path: Path) -> str:
    """The text of a run's config file, or a sentence that says why it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return f"Cannot read {text.quoted(path)}: {error.strerror}."
