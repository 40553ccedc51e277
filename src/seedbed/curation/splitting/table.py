"""Finds runs of tokens in the rows of files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seedbed.curation.splitting.content import shown_of
from seedbed.curation.splitting.fingerprints import Sought, Tokens, tokens_of
from seedbed.curation.splitting.ranges import Range, computed

BATCH_CHARACTERS = 1 << 18
"""Characters that are hashed at once: more does not fit into the caches of a processor."""


class Runs(NamedTuple):
    """The runs of one answer: their hashes, uint64 (R,), and how many tokens each has; see `fingerprints.WORDS`."""

    hashes: np.ndarray
    length: int
    answer: int = 0
    """Which answer of its record it is: one has runs of tokens and, if it is long enough, of words."""


class Table:
    """The distinct runs of answers, to be found in rows."""

    def __init__(self, runs: Sequence[Runs]) -> None:
        self.hashes = np.unique(joined([each.hashes for each in runs]))
        """The distinct hashes, sorted, uint64 (H,)."""
        lengths = sorted({each.length for each in runs})
        self._lengths = {
            length: np.unique(joined([each.hashes for each in runs if each.length == length])) for length in lengths
        }

    def sought(self) -> Sought:
        """These runs, to be found in tokens."""
        return Sought(self.hashes, self._lengths)

    def find(
        self, parts: Sequence[Path], report: Callable[[int], None], workers: int | None = 1
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield which hashes are seen in which rows, each pair once: positions in `hashes`, and numbers of rows, int64.

        Rows are numbered in order of reading. All pairs of a row are in one item. `report` and `workers` as in
        `ranges.computed`.
        """
        if not len(self.hashes):
            return
        base = 0
        for run, row, count in computed(parts, _Finder(self), report, workers):
            yield run, row + base
            base += count


@dataclass(frozen=True)
class _Finder:
    """Finds the runs of a table in the rows of a range."""

    table: Table

    def __call__(self, lines: Range) -> tuple[np.ndarray, np.ndarray, int]:
        """Which hashes are seen in which rows, counted from 0, and the number of rows."""
        sought, found = self.table.sought(), Seen()
        texts: list[str] = []
        owners: list[int] = []
        waiting, count = 0, 0
        for _, record in lines.records():
            for text in shown_of(record):
                texts.append(text)
                owners.append(count)
                waiting += len(text)
            count += 1
            if waiting >= BATCH_CHARACTERS:
                found.add(sought, tokens_of(texts), owners)
                texts, owners, waiting = [], [], 0
        if texts:
            found.add(sought, tokens_of(texts), owners)
        return *found.pairs(), count


class Seen:
    """Which hashes are seen in which rows, each pair once."""

    def __init__(self) -> None:
        self._runs, self._rows = [np.empty(0, np.int64)], [np.empty(0, np.int64)]

    def add(self, sought: Sought, tokens: Tokens, owners: Sequence[int]) -> None:
        """Look into a batch of texts, which has all texts of its rows; `owners`: the row of each text, in order."""
        owner = np.array(owners, np.int64)
        place, text = sought.find(tokens)
        base, width = int(owner[0]), int(owner[-1] - owner[0]) + 1
        pairs = np.unique(place * width + owner[text] - base)
        self._runs.append(pairs // width)
        self._rows.append(pairs % width + base)

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """The positions of the hashes, and the rows, int64."""
        return np.concatenate(self._runs), np.concatenate(self._rows)


def joined(hashes: Sequence[np.ndarray]) -> np.ndarray:
    """All of these hashes, uint64."""
    return np.concatenate([np.empty(0, np.uint64), *hashes])
