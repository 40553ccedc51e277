"""Open a cached dataset by its fingerprint, without its source."""

from __future__ import annotations

import weakref
from pathlib import Path

from seedbed import locks
from seedbed.data import shards
from seedbed.data.dataset_cache import find_folder
from seedbed.data.shards import Dataset
from seedbed.errors import SeedbedError


def find_prepared(cache: Path, fingerprint: str | None) -> Dataset | None:
    """The cached dataset with this fingerprint; None if the cache does not contain it or it cannot be opened.

    While the dataset is in use, a lock protects it from pruning.
    """
    folder = find_folder(cache, fingerprint) if fingerprint is not None else None
    release = locks.share_lock(folder / shards.MANIFEST) if folder is not None else None
    if folder is None or release is None:
        return None
    try:
        dataset = Dataset.open(folder)
    except SeedbedError:
        release()
        return None
    weakref.finalize(dataset, release)
    return dataset
