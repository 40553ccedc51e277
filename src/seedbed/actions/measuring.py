"""Measures the rates of this machine in a child process, and keeps them in the cache; plans a training with them."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from seedbed.actions.checks import refuse_without_torch
from seedbed.actions.models import child
from seedbed.config.directories import cache_dir
from seedbed.config.environment import env
from seedbed.config.schema import Config, DataConfig, TrainConfig
from seedbed.config.source import is_dataset, parse_source
from seedbed.data.sources.text_files import open_text
from seedbed.errors import SeedbedError
from seedbed.events import discard
from seedbed.files import make_dir, write_atomic
from seedbed.hardware import cpu, gpu
from seedbed.runs.estimate import estimate
from seedbed.runs.status import hostname
from seedbed.runs.store import Store
from seedbed.simulate.here import LocalPlan, check_memory, plan_here
from seedbed.simulate.machine_rates import VERSION, MachineRates, decode
from seedbed.text import count

MOST_AGE_S = 7 * 86_400.0
"""Rates that were measured longer ago are measured again."""
_FOLDER = "rates"
_TOKENS_PER_STORY = 159.0
"""Tokens of a built-in story with the vocabulary of the preset nano, on average; larger vocabularies have fewer (assumed)."""
_BYTES_PER_TOKEN = 4.0
"""Bytes of text for each token (assumed; English with a vocabulary of 4,096 to 16,384)."""


def plan_on_this_machine(
    name: str,
    config: Config,
    *,
    tokens: float | None = None,
    assumed: tuple[str, ...] = (),
    target_days: float | None = None,
    measure: bool = False,
    store: Store | None = None,
    on_line: Callable[[dict[str, Any]], object] | None = None,
) -> LocalPlan:
    """Plan the training of a config here, with the rates in the cache or new ones (always, if `measure`).

    `tokens`: how many to train on; by default, what the config says. `store`: where earlier runs may tell how many tokens
    the text has. `on_line` is called with lines such as {"machine": ...} while it works. Raises SeedbedError if
    the text cannot be read, PyTorch is missing, or the model does not fit into memory.
    """
    if tokens is not None:
        train = msgspec.structs.replace(config.train, steps=None, epochs=None, time=None, tokens=int(tokens))
        config = msgspec.structs.replace(config, train=train)
    whole = text_tokens(config.data)  # before the measurement: the source may be wrong
    expected, words = (None, "") if config.train.epochs is None else expected_tokens(config, store, whole)
    rates = rates_of_this_machine(config.train, measure=measure, check=_fits(name, config), on_line=on_line)
    return plan_here(
        name,
        config,
        rates,
        tokens=expected,
        assumed=(*assumed, words) if words else assumed,
        target_days=target_days,
        validation_tokens=None if whole is None else whole.validation,
        training_tokens=None if whole is None else whole.training,
    )


def _fits(name: str, config: Config) -> Callable[[dict[str, Any]], None]:
    """The check before anything is measured: whether the model fits into the memory of the chosen device."""

    def check(machine: dict[str, Any]) -> None:
        check_memory(name, config, machine["precision"], machine["total_bytes"])

    return check


def rates_of_this_machine(
    train: TrainConfig,
    *,
    measure: bool = False,
    check: Callable[[dict[str, Any]], None] | None = None,
    on_line: Callable[[dict[str, Any]], object] | None = None,
) -> MachineRates:
    """The rates of the device, precision and threads of a config: those in the cache, or measured now in a child process.

    `check` gets the description of the machine before it is measured and may raise. Raises SeedbedError if PyTorch is
    missing, or the device is.
    """
    path = _path(train)
    kept = None if measure else _kept(path)
    if kept is not None:
        return kept
    request = {
        "device": train.device,
        "strict_device": train.strict_device,
        "precision": train.precision,
        "threads": train.threads,
    }
    content: dict[str, Any] = {}
    is_as_asked = True
    with child("measure", request) as answers:
        for line in answers:
            if "machine" in line and check is not None:
                check(line["machine"])
            content = line.get("rates", content)
            is_as_asked = is_as_asked and line.get("message", {}).get("level") != "warning"
            if on_line is not None:
                on_line(line)
    if not content:
        raise SeedbedError("The measurement ended without a result.", "Try again; if it repeats, run `seedbed doctor`.")
    found = msgspec.convert(content, MachineRates)
    # With a warning, such as that of another device, it would not be repeated.
    if path is not None and is_as_asked and not found.is_disturbed:
        _keep(path, found)
    return found


class TextTokens(NamedTuple):
    """About how many tokens a text has: for training, and for validation."""

    training: float
    validation: float


def expected_tokens(config: Config, store: Store | None, whole: TextTokens | None) -> tuple[float | None, str]:
    """The tokens of the config's epochs, and words that say how they are known; None if they are not known.

    `whole`: what `text_tokens` found.
    """
    assert config.train.epochs is not None
    if store is not None:
        known = estimate(config, store).tokens
        if known is not None:
            return known, ""
    if whole is None:
        return None, ""
    tokens = config.train.epochs * whole.training
    passes = "1 pass" if config.train.epochs == 1 else f"{config.train.epochs:g} passes"
    return tokens, f"{count(tokens)} tokens in {passes} over the text"


def text_tokens(data: DataConfig) -> TextTokens | None:
    """About how many tokens a text has; None if that is not known before it is read.

    Raises UsageError for a source that does not exist, SeedbedError for a text that cannot be read.
    """
    source = data.source.strip()
    if not source or is_dataset(source, Path()):
        return None
    word, rest = parse_source(source, data.validation_path)
    if word == "stories":
        stories = min(data.stories, data.max_documents) if data.max_documents else data.stories
        return _split(_TOKENS_PER_STORY * stories, data.validation)
    if word != "text":
        return None
    text = open_text(rest, data, discard)
    if data.max_documents:  # how long these documents are is not known
        return None
    tokens, apart = text.size_bytes / _BYTES_PER_TOKEN, text.validation_bytes
    if apart is None:
        return _split(tokens, data.validation)
    return TextTokens(tokens - apart / _BYTES_PER_TOKEN, apart / _BYTES_PER_TOKEN)


def _split(tokens: float, validation: float) -> TextTokens:
    return TextTokens((1 - validation) * tokens, validation * tokens)


def _path(train: TrainConfig) -> Path | None:
    """The file of the rates of this machine with the settings of `train`. Raises SeedbedError without PyTorch."""
    refuse_without_torch("this machine cannot be measured", "plan for other hardware, such as --gpu 8xH100")
    here = cpu.probe()
    told = [
        VERSION,
        hostname(),
        here.name,
        here.features,
        here.cores,
        [each.name for each in gpu.probe().found],
        importlib.metadata.version("torch"),
        [train.device, train.precision, train.threads],
        [env(name) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES")],
    ]
    try:
        folder = cache_dir() / _FOLDER
    except SeedbedError:
        return None
    return folder / f"{hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]}.json"


def _kept(path: Path | None) -> MachineRates | None:
    """The rates in a file; None if it is missing, damaged, of another version, or too old."""
    if path is None:
        return None
    try:
        found = decode(path.read_bytes())
    except (OSError, msgspec.MsgspecError):
        return None
    return found if 0 <= time.time() - found.measured <= MOST_AGE_S else None


def _keep(path: Path, rates: MachineRates) -> None:
    """Write the rates into the cache, and delete those that are too old; does nothing if it cannot be written."""
    try:
        make_dir(path.parent)
        write_atomic(path, msgspec.json.encode(rates), durable=False)
    except SeedbedError:
        return
    for other in path.parent.glob("*.json"):
        with suppress(OSError):
            if time.time() - other.stat().st_mtime > MOST_AGE_S:
                other.unlink()
