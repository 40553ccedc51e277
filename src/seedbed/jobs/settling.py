"""Settles the config of a run whose size is chosen for a time: prepares the text, chooses, and writes the config down."""

from __future__ import annotations

from pathlib import Path

from seedbed.config.chosen import reason, sentence
from seedbed.config.durations import seconds_of, short
from seedbed.config.frozen import dump, recorded_origins
from seedbed.config.keys import keys, value_of
from seedbed.config.roots import TRAIN
from seedbed.config.schema import Config, DataConfig
from seedbed.config.source import is_prepared, parse_source
from seedbed.config.timed import for_time
from seedbed.data.shards import Dataset
from seedbed.data.sources.text_files import open_text
from seedbed.errors import SeedbedError
from seedbed.events import Message, discard
from seedbed.files import write_atomic
from seedbed.jobs.dataset import open_data
from seedbed.jobs.sizing import choose
from seedbed.jobs.timing import clock_of, limit_preparation
from seedbed.runs.session import Session
from seedbed.train import hooks
from seedbed.train.device import decide_device


def settle(run_dir: Path, session: Session, config: Config) -> tuple[Config, Dataset]:
    """Choose the size for the time of a run that has not trained yet.

    Returns the config, which replaces config.toml, and the prepared text.

    Raises SeedbedError if the time does not suffice to prepare the text.
    """
    assert config.train.time is not None
    emit, time_s, clock = session.emit, seconds_of(config.train.time), clock_of(session)
    check = limit_preparation(session, time_s, clock)
    ready = for_time(config, time_s, text_bytes(config.data))
    with hooks.phase(emit, "prepare"):
        dataset = open_data(ready, None, session, started=False, check=check)
    with hooks.phase(emit, "measure"):
        device, precision = decide_device(ready.train, _nothing_recorded, emit)
        final, chosen = choose(ready, dataset, device, precision, used_s=clock, check=session.check_requests)
    path = run_dir / "config.toml"
    origins = recorded_origins(path)
    changed = {each for each in keys(TRAIN) if value_of(final, each) != value_of(config, each)}
    origins |= dict.fromkeys(changed, f"chosen for {short(time_s)}")
    write_atomic(path, dump(final, origins))
    emit(Message(level="info", code="size", text=sentence(chosen), why=reason(chosen)))
    return final, dataset


def text_bytes(data: DataConfig) -> int | None:
    """The size of the text of a source; None if that is not known before it is read."""
    source = data.source.strip()
    if is_prepared(source, Path()):
        return None
    word, rest = parse_source(source, data.validation_path)
    if word != "text":
        return None
    try:
        return open_text(rest, data, discard).size_bytes
    except SeedbedError:  # reported when the text is prepared
        return None


def _nothing_recorded(_name: str, _device_type: str) -> None:
    return None
