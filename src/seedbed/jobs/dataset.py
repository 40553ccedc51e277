"""Opens the data of a training job: the source, or, if it has moved or changed, the prepared data in the cache."""

from __future__ import annotations

from functools import partial

from seedbed.config.directories import CACHE_HINT, cache_dir
from seedbed.config.schema import Config
from seedbed.data.build import build_dataset
from seedbed.data.building import Base, emit_contents
from seedbed.data.dataset_cache import different_text_error
from seedbed.data.interruption import Check
from seedbed.data.messages import replay_messages
from seedbed.data.prepared import find_prepared
from seedbed.data.shards import Dataset
from seedbed.errors import SeedbedError, StorageError
from seedbed.events import Message
from seedbed.jobs.waiting import until_written
from seedbed.runs.lifecycle import Lifecycle


def open_data(
    config: Config,
    fingerprint: str | None,
    session: Lifecycle,
    *,
    started: bool,
    check: Check | None = None,
    base: Base | None = None,
) -> Dataset:
    """Open the dataset that a config names. `fingerprint` identifies the data that the run trained on; None for a new run.

    `base`: tokenizer and chat template of the base, for a run that trains on from a model. `check` is called often and may
    raise; by default it handles the session's requests.

    If the source cannot be read or has changed, the data that was prepared for the run is used instead. Raises
    SeedbedError if the prepared data is missing, too. A run that has not `started` training accepts a changed source.
    """
    source, cache = config.data.source, cache_dir()
    try:
        dataset = prepare(config, session, fingerprint, check, base)
    except SeedbedError as error:
        kept = find_prepared(cache, fingerprint) if session.resume.data is None else None
        if kept is None:
            if fingerprint is not None:
                error.hint = f"{error.hint} {_how_to_relocate(session)}".strip()
            raise
        _tell(session, f"The source of the data ({source}) is not used: {error.message}", kept)
        return kept
    if fingerprint is None or dataset.fingerprint == fingerprint:
        return dataset
    kept = find_prepared(cache, fingerprint)
    if session.resume.data is not None or (kept is None and started):
        other = different_text_error(source)
        if session.resume.data is None:
            other.hint = f"Restore the original text. {_how_to_relocate(session)}"
        raise other
    if kept is None:
        return dataset
    _tell(session, f"The source of the data ({source}) has changed since this run began.", kept)
    return kept


def prepare(
    config: Config,
    session: Lifecycle,
    wanted: str | None = None,
    check: Check | None = None,
    base: Base | None = None,
) -> Dataset:
    """Get the dataset of a config's source: from the cache, or newly prepared.

    If the cache has data with the fingerprint `wanted`, a changed source is refused. While the cache cannot be written
    (for example, on a full disk), the run pauses; then it prepares the missing part. Raises StopRequested on a stop
    request, SeedbedError for a changed source and for an error that waiting does not solve.
    """
    cache = cache_dir()
    build = partial(
        build_dataset,
        config.data,
        config.tokenizer,
        cache=cache,
        emit=session.emit_or_stop,
        check=check or session.check_requests,
        expected_fingerprint=wanted,
        base=base,
        context=config.model.context,
    )
    try:
        return until_written(session, cache, build, "preparation")
    except StorageError as error:
        raise SeedbedError(error.message, f"{error.hint} {CACHE_HINT}") from error


def _how_to_relocate(session: Lifecycle) -> str:
    return f"If the text has moved, give its new place: `seedbed resume {session.run.id} --data SOURCE`."


def _tell(session: Lifecycle, text: str, kept: Dataset) -> None:
    """Emit the warning `text`, which says why prepared data is used instead of its source, and the messages about that data."""
    session.emit(
        Message(
            level="warning",
            code="data-from-cache",
            text=text,
            why=f"The run continues with the data prepared when it started, in {kept.folder}, so the text is the same.",
            hint=f"If the same text is now in another place, use `seedbed resume {session.run.id} --data SOURCE`. To train "
            f"the model on what has changed, start a new run: `seedbed train --from {session.run.id} --data SOURCE`.",
        )
    )
    replay_messages(kept.messages, session.emit)
    emit_contents(kept, session.emit)
