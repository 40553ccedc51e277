"""The samples of one split of a prepared dataset: token ids, each with a mark of whether the loss counts it."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from seedbed.data.shards import Dataset, Split, map_file


class Tokens(NamedTuple):
    """Tokens of several samples, one sample after the other."""

    ids: np.ndarray
    """int64 [tokens]"""
    trained: np.ndarray
    """bool [tokens]: whether the loss counts the token as a target."""


class Samples(Split):
    """The samples of a split in all its shards, by number. A sample of n tokens occupies n - 1 positions of a row.

    Its last token is only a target, and its first token only an input.
    """

    def __init__(self, folder: Path, name: str, manifest: dict[str, Any]) -> None:
        super().__init__(folder, name, manifest)
        shards = manifest["splits"][name]["shards"]
        self._masks = [map_file(folder / f"{shard['file']}.loss", np.dtype(np.uint8)) for shard in shards]

    @classmethod
    def of(cls, dataset: Dataset, name: Literal["train", "validation"]) -> Samples:
        """The samples of a split of a dataset that `has_samples`."""
        return cls(dataset.folder, name, dataset.manifest)

    @cached_property
    def _begins(self) -> np.ndarray:
        return np.concatenate((np.zeros(1, dtype=np.int64), self.document_ends))[:-1]

    @cached_property
    def positions(self) -> np.ndarray:
        """How many positions of a row each sample occupies: int64 [samples]."""
        lengths: np.ndarray = self.document_ends - self._begins - 1
        return lengths

    @cached_property
    def targets(self) -> np.ndarray:
        """How many tokens of each sample the loss counts: int64 [samples]. Its first token is never one of them."""
        ends = np.concatenate((np.zeros(1, dtype=np.int64), self.document_ends))
        counts = [np.zeros(0, dtype=np.int64)]
        for mask, offset in zip(self._masks, self._offsets, strict=False):
            inside = ends[(ends >= offset) & (ends <= offset + len(mask))] - offset
            if len(inside) > 1:
                total = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(mask != 0)))
                counts.append(np.diff(total[inside]) - (mask[inside[:-1]] != 0))
        return np.concatenate(counts)

    def tokens(self, samples: np.ndarray) -> Tokens:
        """The tokens of samples, given by their numbers, one sample after the other."""
        begins, sizes = self._begins[samples], self.positions[samples] + 1
        after = np.cumsum(sizes)
        total = int(after[-1]) if len(after) else 0
        places = np.arange(total) + np.repeat(begins - (after - sizes), sizes)
        ids, trained = np.empty(total, dtype=np.int64), np.empty(total, dtype=bool)
        offsets = np.array(self._offsets)
        shards = np.repeat(np.searchsorted(offsets, begins, side="right") - 1, sizes)
        for shard in np.unique(shards).tolist():
            here = shards == shard
            within = places[here] - self._offsets[shard]
            ids[here] = self._shards[shard][within]
            trained[here] = self._masks[shard][within] != 0
        return Tokens(ids, trained)
