"""Finds rows of which more than half is in another row, from their fingerprints, in bounded memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seedbed.files import explained

HALF = 0.5
"""An answer, or a row, of which more than this share is in another row is contained in it."""
ACT = 0.45
"""The split is changed at this share already: long answers are measured by a sample of their runs, which is a little off."""
BUCKETS = 16
FEW = 8
"""A fingerprint in at most this many rows compares all pairs of them; in more, each with the first and with the next."""
FREQUENT = 1000
"""A fingerprint in more rows than this is boilerplate, such as a licence header, and ignored."""
WIDESPREAD = 16
"""A row that is part of more other rows than this is boilerplate: it ties nothing together."""
_ENTRY = np.dtype([("hash", "<u8"), ("row", "<u4")])


class Contained(NamedTuple):
    """Pairs of rows of which one is more than half contained in the other, and what was ignored."""

    a: np.ndarray
    b: np.ndarray
    frequent: int
    """Fingerprints that are in too many rows."""
    widespread: int
    """Rows that are part of too many other rows."""


class Spool:
    """Fingerprints with their rows, in temporary files by ranges of hashes, so that each can be sorted in memory."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        with explained(folder or Path(tempfile.gettempdir())):
            self._files = [tempfile.TemporaryFile(dir=folder) for _ in range(BUCKETS)]  # noqa: SIM115

    def add(self, hashes: np.ndarray, rows: np.ndarray) -> None:
        """Add fingerprints, uint64 (F,), of rows, uint32 (F,)."""
        entries = np.empty(len(hashes), _ENTRY)
        entries["hash"], entries["row"] = hashes, rows
        bucket = (hashes >> np.uint64(60)).astype(np.uint8)
        order = np.argsort(bucket, kind="stable")
        bounds = np.searchsorted(bucket[order], np.arange(BUCKETS + 1))
        entries = entries[order]
        with explained(self._folder or Path(tempfile.gettempdir())):
            for number, handle in enumerate(self._files):
                handle.write(entries[bounds[number] : bounds[number + 1]].tobytes())

    def buckets(self) -> Iterator[np.ndarray]:
        """All entries, bucket by bucket."""
        for handle in self._files:
            handle.seek(0)
            yield np.frombuffer(handle.read(), _ENTRY)

    def close(self) -> None:
        """Remove the temporary files."""
        for handle in self._files:
            handle.close()


def contained_pairs(spool: Spool, order: np.ndarray) -> Contained:
    """The pairs of rows that share more than half of the fingerprints of one of them.

    `order`: the number of each row of the spool in the result, int64 (N,), a permutation. The pairs of frequent fingerprints
    are chosen by it, so that the order of reading does not matter.
    """
    sizes = np.zeros(len(order), np.int64)
    keys: list[np.ndarray] = []
    counts: list[np.ndarray] = []
    frequent = 0
    for entries in spool.buckets():
        hashes, ranks, ignored = _sorted(entries, order)
        frequent += ignored
        sizes += np.bincount(ranks, minlength=len(order))
        found, shared = np.unique(_pairs(hashes, ranks, len(order)), return_counts=True)
        keys.append(found)
        counts.append(shared)
    key, shared = _summed(np.concatenate(keys), np.concatenate(counts))
    low, high = key // len(order), key % len(order)
    in_high = shared > HALF * sizes[low]
    in_low = shared > HALF * sizes[high]
    # A part of very many rows says nothing about any of them, unless the other is as much a part of it.
    parents = np.bincount(low[in_high & ~in_low], minlength=len(order))
    parents += np.bincount(high[in_low & ~in_high], minlength=len(order))
    ties = (in_high & in_low) | (in_high & (parents[low] <= WIDESPREAD)) | (in_low & (parents[high] <= WIDESPREAD))
    return Contained(low[ties], high[ties], frequent, int((parents > WIDESPREAD).sum()))


def _sorted(entries: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Numbers of hashes and ranks of rows, by hash and then rank, each once, without frequent hashes; how many these are.

    A rank has fewer than 32 bits, so that a number and a rank fit into one integer, which sorts faster than pairs.
    """
    if not len(entries):
        return np.empty(0, np.uint64), np.empty(0, np.int64), 0
    sort = np.argsort(entries["hash"])
    hashes = entries["hash"][sort]
    key = np.cumsum(np.r_[False, hashes[1:] != hashes[:-1]], dtype=np.uint64) << np.uint64(32)
    key |= order[entries["row"]][sort].astype(np.uint64)
    key.sort()
    key = key[np.r_[True, key[1:] != key[:-1]]]
    hashes, ranks = key >> np.uint64(32), (key & np.uint64(0xFFFFFFFF)).astype(np.int64)
    lengths = np.bincount(hashes.astype(np.int64))
    kept = np.repeat(lengths <= FREQUENT, lengths)
    return hashes[kept], ranks[kept], int((lengths > FREQUENT).sum())


def _pairs(hashes: np.ndarray, ranks: np.ndarray, count: int) -> np.ndarray:
    """Pairs of ranks that share a hash, as low * count + high, one for each hash that they share."""
    if not len(hashes):
        return np.empty(0, np.int64)
    starts = np.flatnonzero(np.r_[True, hashes[1:] != hashes[:-1]])
    lengths = np.diff(np.r_[starts, len(hashes)])
    length = np.repeat(lengths, lengths)
    first = np.repeat(starts, lengths)
    found = []
    for step in range(1, FEW):
        a = np.flatnonzero(hashes[:-step] == hashes[step:])
        if step > 1:
            a = a[length[a] <= FEW]
        if not len(a):
            break
        found.append(ranks[a] * count + ranks[a + step])
    place = np.arange(len(hashes))
    star = np.flatnonzero((length > FEW) & (place > first + 1))
    found.append(ranks[first[star]] * count + ranks[star])
    return np.concatenate(found)


def _summed(keys: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if not len(keys):
        return keys, counts
    sort = np.argsort(keys, kind="stable")
    keys = keys[sort]
    starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
    return keys[starts], np.add.reduceat(counts[sort], starts)
