"""Settles the config of a run whose size is chosen for a time: prepares the text, chooses, and writes the config down."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from seedbed.config.chosen import Chosen, reason, sentence
from seedbed.config.durations import seconds_of, short
from seedbed.config.frozen import dump, recorded_origins
from seedbed.config.keys import keys, value_of
from seedbed.config.roots import TRAIN
from seedbed.config.schema import Config, DataConfig
from seedbed.config.source import is_dataset, parse_source
from seedbed.config.timed import for_time
from seedbed.data.shards import Dataset
from seedbed.data.sources.text_files import open_text
from seedbed.errors import SeedbedError
from seedbed.events import Message, discard
from seedbed.files import write_atomic
from seedbed.jobs.dataset import open_data
from seedbed.jobs.restore import Start
from seedbed.jobs.sizing import choose
from seedbed.jobs.timing import clock_of, limit_preparation
from seedbed.runs.session import Session
from seedbed.train import hooks
from seedbed.train.device import Device, decide_device


class Settled(NamedTuple):
    """What is ready before the parts of a training are built. `config` replaces config.toml; `chosen`: the chosen size."""

    config: Config
    dataset: Dataset
    device: Device
    precision: str
    chosen: Chosen | None = None


def settle(run_dir: Path, session: Session, frozen: Config, start: Start) -> Settled:
    """Choose the size for the time of a run that has not trained yet, and write the config down.

    Raises SeedbedError if the time does not suffice to prepare the text.
    """
    config = start.current_config(frozen)
    assert config.train.time is not None
    emit, time_s, clock = session.emit, seconds_of(config.train.time), clock_of(session, start)
    check = limit_preparation(session, time_s, clock)
    device, precision = decide_device(config.train, start.recorded, emit)
    ready = for_time(config, time_s, text_bytes(config.data), fast=device.multiplies_fast(precision))
    with hooks.phase(emit, "prepare"):
        dataset = open_data(ready, None, session, started=False, check=check)
    with hooks.phase(emit, "measure"):
        final, chosen = choose(ready, dataset, device, precision, used_s=clock, check=session.check_requests)
    path = run_dir / "config.toml"
    origins = recorded_origins(path)
    origins |= dict.fromkeys(_differing(config, frozen), "resume")
    origins |= dict.fromkeys(_differing(final, config), f"chosen for {short(time_s)}")
    write_atomic(path, dump(final, origins))
    emit(Message(level="info", code="size", text=sentence(chosen), why=reason(chosen)))
    return Settled(final, dataset, device, precision, chosen)


def _differing(config: Config, other: Config) -> list[str]:
    return [path for path in keys(TRAIN) if value_of(config, path) != value_of(other, path)]


def text_bytes(data: DataConfig) -> int | None:
    """The size of the text of a source; None if that is not known before it is read."""
    source = data.source.strip()
    if is_dataset(source, Path()):
        return None
    word, rest = parse_source(source, data.validation_path)
    if word != "text":
        return None
    try:
        return open_text(rest, data, discard).size_bytes
    except SeedbedError:  # reported when the text is prepared
        return None
