"""Finds the model from which a training starts (`base.model`, --from) and checks that it can be trained on. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from seedbed.actions.checks import free_memory_bytes
from seedbed.actions.model_references import resolve
from seedbed.actions.precision import training_precision
from seedbed.checkpoint.marker import complaint, is_named, step_of
from seedbed.config.base_model import BaseModel, OpenBase, read_base
from seedbed.config.schema import DataConfig
from seedbed.errors import SeedbedError, UsageError
from seedbed.hub.names import is_hub_reference
from seedbed.runs.base_names import short_name
from seedbed.runs.kinds import frozen_config
from seedbed.runs.store import RunDir, Store
from seedbed.text import quoted
from seedbed.tokenizer.model_check import usable_tokenizer

if TYPE_CHECKING:
    from seedbed.hub.download import Progress

OnProgress = Callable[["Progress"], object]


def base_opener(store: Store, on_progress: OnProgress | None = None) -> OpenBase:
    """The function with which `config.resolving.resolve` opens a base: runs are looked up in `store`.

    `on_progress` is called while a model on the Hub is downloaded.
    """
    return partial(open_base, store, on_progress=on_progress)


def base_opener_for_forms(store: Store) -> OpenBase:
    """As `base_opener`, for a form that resolves its config after every key: downloads nothing, and reads a model once."""
    return cache(partial(open_base, store, may_download=False))


def open_base(
    store: Store, reference: str, *, on_progress: OnProgress | None = None, may_download: bool = True
) -> BaseModel:
    """The model that a reference names: PATH, RUN[@STEP] or hub:NAME[@REVISION].

    Raises UsageError if nothing is found, SeedbedError if the model is incomplete, damaged, or of a family that Seedbed
    does not support.
    """
    if not reference.strip():
        raise UsageError("The base model is empty.", "Give a model folder, hub:NAME or RUN[@STEP] with --from.")
    if is_hub_reference(reference) and not may_download:
        raise UsageError(
            f"{quoted(reference)} is a model on the Hub, which a form does not download.",
            f"Use `seedbed train --from {reference}`, or download it and give its folder.",
        )
    found = resolve(store, reference, on_progress=on_progress)
    folder, exact = found.model_path(), found.reference()
    _refuse_damaged(folder)
    base = read_base(folder, exact, _name(found.run, folder, exact))
    _refuse_tokenizer(base)
    return base._replace(data=_data_of(found.run), free_bytes=free_memory_bytes, precision=training_precision)


def _name(run: RunDir | None, folder: Path, reference: str) -> str:
    if run is None:
        return short_name(reference)
    step = f"@{step_of(folder)}" if is_named(folder) else ""
    return f"{run.name()}{step}"


def _data_of(run: RunDir | None) -> DataConfig | None:
    """The data on which a run was trained; None if its config has none or cannot be read."""
    try:
        data = getattr(frozen_config(run), "data", None) if run is not None else None
    except SeedbedError:
        return None
    return data if isinstance(data, DataConfig) else None


def _refuse_damaged(folder: Path) -> None:
    """Raise SeedbedError for a checkpoint of Seedbed that is unfinished or damaged."""
    reason = complaint(folder) if is_named(folder) else None
    if reason is not None:
        raise SeedbedError(f"The checkpoint {quoted(folder)} cannot be used: {reason}.", "Use another checkpoint.")


def _refuse_tokenizer(base: BaseModel) -> None:
    """Raise SeedbedError if the tokenizer is missing or damaged, or has ids for which the embedding has no row."""
    ids = usable_tokenizer(base.folder).largest_id + 1
    if ids > base.vocab_rows:
        raise SeedbedError(
            f"The tokenizer in {quoted(base.folder)} has {ids:,} ids, but the model's embedding has only {base.vocab_rows:,} "
            "rows.",
            "Use the tokenizer that belongs to these weights.",
        )
