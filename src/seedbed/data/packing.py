"""Pack samples of different lengths into rows of a fixed length, so that little padding is left.

Best-fit-decreasing (Johnson 1974): the samples are taken from the longest to the shortest, and each goes into the row whose
free space is the smallest that holds it. Rows with equal free space are kept together and the occupied sizes of free space are
the bits of one integer, so that the best row is found with a shift and not by a search.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

WINDOW = 100_000
"""Samples that are packed together, in the order of the dataset. Memory and time do not grow with the dataset."""


class Plan(NamedTuple):
    """Which samples each row holds: row r has the samples `members[starts[r] : starts[r + 1]]`, in this order."""

    members: np.ndarray
    """int64 [samples]: numbers of samples; each occurs once."""
    starts: np.ndarray
    """int64 [rows + 1], ascending from 0 to the number of samples."""

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return len(self.starts) - 1

    def fill(self, lengths: np.ndarray, capacity: int) -> float:
        """The share of all positions of the rows that samples occupy; `lengths` are those of all samples by number."""
        used = int(lengths[self.members].sum())
        return used / max(self.num_rows * capacity, 1)


def pack(lengths: np.ndarray, capacity: int, *, window: int = WINDOW) -> Plan:
    """Pack samples into rows of `capacity` positions; sample i occupies `lengths[i]` positions, 1 .. capacity.

    Every `window` samples in order are packed by themselves. The same lengths always give the same plan. Raises ValueError
    for a length outside the range.
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    if len(lengths) and not 1 <= int(lengths.min()) <= int(lengths.max()) <= capacity:
        raise ValueError(f"lengths must be 1 .. {capacity}, not {lengths.min()} .. {lengths.max()}")
    members: list[np.ndarray] = [np.zeros(0, dtype=np.int64)]
    sizes: list[np.ndarray] = [np.zeros(0, dtype=np.int64)]
    for first in range(0, len(lengths), window):
        part = lengths[first : first + window]
        order = np.argsort(-part, kind="stable")
        rows = _best_fit(part[order].tolist(), capacity)
        by_row = np.argsort(rows, kind="stable")
        members.append(order[by_row] + first)
        sizes.append(np.bincount(rows))
    return Plan(np.concatenate(members), np.concatenate(([0], np.cumsum(np.concatenate(sizes)))).astype(np.int64))


def _best_fit(descending: list[int], capacity: int) -> np.ndarray:
    """The row of each sample, int64; rows are numbered in the order in which they are opened."""
    with_free: list[list[int]] = [[] for _ in range(capacity + 1)]
    occupied = 0  # bit f is set if `with_free[f]` has a row
    rows: list[int] = []
    opened = 0
    for length in descending:
        fitting = occupied >> length
        if fitting:
            free = length + (fitting & -fitting).bit_length() - 1
            holders = with_free[free]
            row = holders.pop()
            if not holders:
                occupied ^= 1 << free
            free -= length
        else:
            row, free = opened, capacity - length
            opened += 1
        rows.append(row)
        if free:
            if not with_free[free]:
                occupied |= 1 << free
            with_free[free].append(row)
    return np.array(rows, dtype=np.int64)
