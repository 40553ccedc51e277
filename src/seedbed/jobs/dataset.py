"""The data of a training job: its source's, or, where that has moved or changed, what was prepared from it."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

from seedbed.config.directories import CACHE_HINT, cache_dir
from seedbed.config.schema import Config
from seedbed.data.build import build_dataset, emit_contents
from seedbed.data.dataset_cache import different_text_error
from seedbed.data.messages import replay_messages
from seedbed.data.prepared import find_prepared
from seedbed.data.shards import Dataset
from seedbed.errors import DiskFullError, SeedbedError, StorageError
from seedbed.events import Message
from seedbed.files import free_bytes, obstacle
from seedbed.runs.lifecycle import Lifecycle, StopRequested

_ROOM_BYTES = 1 << 20
_MOST_PATIENCE_S = 60.0


def open_data(config: Config, fingerprint: str | None, session: Lifecycle, *, started: bool) -> Dataset:
    """The dataset that a config asks for. `fingerprint` is of the one that the run trained on; None for a fresh run.

    Where the source cannot be read, or holds something else, what was prepared for the run is opened instead. Raises
    SeedbedError where that is gone as well; for a run that has not `started`, another text is taken as it is.
    """
    source, cache = config.data.source, cache_dir()
    try:
        dataset = prepare(config, session, fingerprint)
    except SeedbedError as error:
        kept = find_prepared(cache, fingerprint) if session.resume.data is None else None
        if kept is None:
            if fingerprint is not None:
                error.hint = f"{error.hint} {_elsewhere(session)}".strip()
            raise
        _tell(session, f"The source of the data ({source}) is not used: {error.message}", kept)
        return kept
    if fingerprint is None or dataset.fingerprint == fingerprint:
        return dataset
    kept = find_prepared(cache, fingerprint)
    if session.resume.data is not None or (kept is None and started):
        other = different_text_error(source)
        if session.resume.data is None:
            other.hint = f"Put the text back as it was. {_elsewhere(session)}"
        raise other
    if kept is None:
        return dataset
    _tell(session, f"The source of the data ({source}) has changed since this run began.", kept)
    return kept


def prepare(config: Config, session: Lifecycle, wanted: str | None = None) -> Dataset:
    """The dataset of the source, opened or made; no other than the one of fingerprint `wanted` where the cache has that.

    Where its folder takes no writes for a while, holds and goes on with what is not there yet. Raises
    StopRequested where somebody asks to stop meanwhile, SeedbedError for what waiting does not mend.
    """
    cache, patience_s = cache_dir(), 0.0
    while True:
        try:
            return build_dataset(
                config.data,
                config.tokenizer,
                cache=cache,
                emit=session.emit_or_stop,
                check=session.check_requests,
                expected_fingerprint=wanted,
            )
        except StorageError as error:
            if not error.passing:
                raise SeedbedError(error.message, f"{error.hint} {CACHE_HINT}") from error
            full = isinstance(error, DiskFullError)
            reason, hint = error.message, f"{error.hint} Preparation then goes on by itself."
            needed = _ROOM_BYTES + (free_bytes(cache) if full else 0)
        not_before = time.monotonic() + patience_s
        patience_s = min(max(2 * patience_s, 1.0), _MOST_PATIENCE_S)
        if not session.hold(reason, hint, partial(_passed, cache, needed, not_before)):
            raise StopRequested(session.stop_requested)


def _passed(cache: Path, needed: int, not_before: float) -> bool:
    """Whether a write in the cache is worth another try. A quota hides what is free, so that must not decide for ever."""
    if time.monotonic() < not_before:
        return False
    trouble = obstacle(cache, needed)
    return trouble is None or (isinstance(trouble, DiskFullError) and time.monotonic() >= not_before + _MOST_PATIENCE_S)


def _elsewhere(session: Lifecycle) -> str:
    return f"If it lies elsewhere: `seedbed resume {session.run.id} --data SOURCE`."


def _tell(session: Lifecycle, text: str, kept: Dataset) -> None:
    """Say that prepared data stands in for its source, and what is in it."""
    session.emit(
        Message(
            level="warning",
            code="data-from-cache",
            text=text,
            why=f"The run goes on with what was prepared from it at its start, in {kept.folder}: the same text.",
            hint=f"`seedbed resume {session.run.id} --data SOURCE` names another place where the same text is.",
        )
    )
    replay_messages(kept.messages, session.emit)
    emit_contents(kept, session.emit)
