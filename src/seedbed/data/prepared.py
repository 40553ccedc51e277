"""Prepared data found by what is in it, when its source is not at hand. Refuses to know how it is made."""

from __future__ import annotations

import weakref
from pathlib import Path

from seedbed import files
from seedbed.data import shards
from seedbed.data.cached import folder_of
from seedbed.data.shards import Dataset
from seedbed.errors import SeedbedError


def find_prepared(cache: Path, fingerprint: str | None) -> Dataset | None:
    """The dataset of this fingerprint, held for as long as it is read; None where the cache has none that is whole."""
    folder = folder_of(cache, fingerprint) if fingerprint is not None else None
    let_go = files.share_lock(folder / shards.MANIFEST) if folder is not None else None
    if folder is None or let_go is None:
        return None
    try:
        dataset = Dataset.open(folder)
    except SeedbedError:
        let_go()
        return None
    weakref.finalize(dataset, let_go)
    return dataset
