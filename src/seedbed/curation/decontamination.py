"""Leaves out records that repeat items of evaluation sets, and says which items were found where.

A record is compared by its runs of words: of 13 words, as Brown et al. (2020, appendix C) compare prose, and of 10 words in
code, as the report on Qwen2.5-Coder (2024) does. Shorter items, from 8 words on, are compared as a whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from seedbed.curation.drops import Drops
from seedbed.curation.duplicates.content import is_code, place_of, whole_text
from seedbed.curation.duplicates.shingles import Hashes, shingles_by_size
from seedbed.curation.evaluation_sets import SKIPPED, Hit, Item, Overlap, Reading, SetFound, no_items
from seedbed.curation.record import Record

PROSE_WORDS, CODE_WORDS, FEWEST_WORDS = 13, 10, 8
_COMMON = 10
"""Runs that more items of one set share are left out: the preamble of all prompts says nothing about one of them."""
_BATCH_CHARACTERS, _BATCH_RECORDS = 1 << 20, 512
_FILTER_BITS = 22
_ITEM_BLOCK = 4096

_Owned = tuple[Hashes, npt.NDArray[np.int32]]
"""Hashes of runs, and the number of the item that each is from."""


@dataclass
class _Runs:
    """The runs of so many words of all items: sorted hashes, and the items that have each."""

    hashes: Hashes
    offsets: npt.NDArray[np.int64]
    items: npt.NDArray[np.int32]
    totals: npt.NDArray[np.int64]
    """How many different runs each item has."""
    possible: npt.NDArray[np.bool_]
    """For the upper bits of a hash, whether any run has them: this settles most words of most texts."""

    def find(self, hashes: Hashes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Which of some hashes are runs of items, and the place of each among the runs."""
        maybe = np.flatnonzero(self.possible[hashes >> np.uint64(64 - _FILTER_BITS)])
        places = np.minimum(np.searchsorted(self.hashes, hashes[maybe]), len(self.hashes) - 1)
        equal = self.hashes[places] == hashes[maybe]
        return maybe[equal], places[equal]


@dataclass
class EvaluationIndex:
    """The runs of words of evaluation items. Takes about 40 bytes for each of their words, and 200 while it is made."""

    names: list[Item]
    """The items, without their texts."""
    runs: dict[tuple[bool, int], _Runs]
    """By whether records of code are compared, and the number of words."""
    reading: Reading
    short: Counter[str]
    """Texts of fewer than 8 words, by set: they cannot be found."""
    common: int = 0
    """Runs that many items share, which are left out."""


def index_items(items: Iterable[Item], reading: Reading) -> EvaluationIndex:
    """The runs of words of all items. Raises SeedbedError if none is long enough."""
    index = EvaluationIndex([], {}, reading, Counter())
    collected: dict[tuple[bool, int], list[_Owned]] = {}
    block: list[Item] = []
    for item in items:
        block.append(item)
        if len(block) >= _ITEM_BLOCK:
            _collect(block, index, collected)
            block = []
    if block:
        _collect(block, index, collected)
    sets = _numbers(item.set_name for item in index.names)
    named = _numbers((item.set_name, item.item) for item in index.names)
    for key in sorted(collected):
        hashes = np.concatenate([part[0] for part in collected[key]])
        owners = np.concatenate([part[1] for part in collected.pop(key)])
        made, common = _runs(hashes, owners, sets, named)
        index.common += common
        if len(made.hashes):
            index.runs[key] = made
    if not index.runs:
        raise no_items(reading)
    return index


def _collect(block: list[Item], index: EvaluationIndex, collected: dict[tuple[bool, int], list[_Owned]]) -> None:
    """Add the runs of some items: of 13 words for prose and 10 for code, or of all their words if they have fewer."""
    texts = [item.text for item in block]
    made = shingles_by_size(texts, range(FEWEST_WORDS, PROSE_WORDS + 1))
    counts = made[PROSE_WORDS].words
    numbers = np.arange(len(index.names), len(index.names) + len(block))
    index.names += [Item(item.set_name, item.item, item.field, "") for item in block]
    index.short.update(
        item.set_name for item, count in zip(block, counts.tolist(), strict=True) if count < FEWEST_WORDS
    )
    for code, most in ((False, PROSE_WORDS), (True, CODE_WORDS)):
        for words in range(FEWEST_WORDS, most + 1):
            runs = np.diff(made[words].offsets)
            wanted = np.repeat(counts >= words if words == most else counts == words, runs)
            owners = np.repeat(numbers, runs).astype(np.int32)
            if wanted.any():
                collected.setdefault((code, words), []).append((made[words].hashes[wanted], owners[wanted]))


def _numbers(names: Iterable[Hashable]) -> npt.NDArray[np.int64]:
    """The number of each name among the different names."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int64)


def _runs(
    hashes: Hashes, owners: npt.NDArray[np.int32], sets: npt.NDArray[np.int64], named: npt.NDArray[np.int64]
) -> tuple[_Runs, int]:
    """The different runs with their items, and how many were left out because too many items of a set share them."""
    order = np.lexsort((owners, hashes))
    hashes, owners = hashes[order], owners[order]
    new = np.ones(len(hashes), bool)
    new[1:] = (hashes[1:] != hashes[:-1]) | (owners[1:] != owners[:-1])
    hashes, owners = hashes[new], owners[new]
    run = np.unique(hashes, return_inverse=True)[1]
    set_count, name_count = int(sets.max()) + 1, int(named.max()) + 1
    of_item = np.unique((run * set_count + sets[owners]) * name_count + named[owners])
    of_set, sharing = np.unique(of_item // name_count, return_counts=True)
    common = np.zeros(int(run.max()) + 1, bool)
    common[of_set[sharing > _COMMON] // set_count] = True
    specific = ~common[run]
    hashes, owners = hashes[specific], owners[specific]
    unique, begins = np.unique(hashes, return_index=True)
    possible = np.zeros(1 << _FILTER_BITS, bool)
    possible[unique >> np.uint64(64 - _FILTER_BITS)] = True
    totals = np.bincount(owners, minlength=len(sets))
    return _Runs(unique, np.append(begins, len(hashes)), owners, totals, possible), int(common.sum())


class Decontaminate:
    """The step that leaves out records which repeat items of evaluation sets."""

    name = "decontaminate"
    version = 1

    def __init__(self, index: EvaluationIndex, overlap: Overlap | None = None) -> None:
        self._index = index
        self._overlap = overlap or Overlap()
        self._hits: dict[int, Hit] = {}
        self._dropped: Counter[str] = Counter()

    def __call__(self, records: Iterator[Record], drops: Drops) -> Iterator[Record]:
        """Yield the records that are not contaminated, in order; a batch of about 1 MB is in memory at a time."""
        for set_name, count in self._index.short.items():
            drops.note(self.name, f"too short to be found, of {set_name}", count)
        for (set_name, reason), count in self._index.reading.skipped.items():
            drops.note(self.name, f"{SKIPPED}{set_name}: {reason}", count)
        batch: list[Record] = []
        characters = 0
        for record in records:
            batch.append(record)
            characters += sum(map(len, _texts(record)))
            if characters >= _BATCH_CHARACTERS or len(batch) >= _BATCH_RECORDS:
                yield from self._clean(batch, drops)
                batch, characters = [], 0
        yield from self._clean(batch, drops)

    def hits(self) -> list[Hit]:
        """Every item of which runs were found so far, sorted by set, item and field."""
        return sorted(self._hits.values(), key=lambda hit: (hit.set_name, hit.item, hit.field))

    def sets(self) -> list[SetFound]:
        """What was found of each set so far, in the order of reading."""
        hits = self.hits()
        return [
            SetFound(
                name=name,
                items=items,
                too_short=self._index.short[name],
                found=len({hit.item for hit in hits if hit.set_name == name}),
                repeated=len({hit.item for hit in hits if hit.set_name == name and hit.dropped}),
                dropped=self._dropped[name],
            )
            for name, items in self._index.reading.items.items()
        ]

    def _clean(self, batch: list[Record], drops: Drops) -> Iterator[Record]:
        texts = [text for record in batch for text in _texts(record)]
        owners = np.repeat(np.arange(len(batch)), [len(_texts(record)) for record in batch])
        code = np.array([is_code(record) for record in batch], bool)
        hashed = shingles_by_size(texts, sorted({words for _, words in self._index.runs}))
        found: dict[int, _Found] = {}
        for (of_code, words), runs in self._index.runs.items():
            made = hashed[words]
            at, places = runs.find(made.hashes)
            rows = owners[np.searchsorted(made.offsets, at, "right") - 1]
            for row in np.unique(rows[code[rows] == of_code]).tolist():
                first, last = np.searchsorted(owners, [row, row + 1])
                runs_of_row = len(np.unique(made.hashes[made.offsets[first] : made.offsets[last]]))
                self._compare(runs, np.unique(places[rows == row]), runs_of_row, found.setdefault(row, _Found()))
        for row, record in enumerate(batch):
            if row not in found or not self._is_contaminated(record, found[row], drops):
                yield record

    def _compare(self, runs: _Runs, places: npt.NDArray[np.int64], runs_of_row: int, found: _Found) -> None:
        """Add the share of each item that a record has, and the items of which it has enough."""
        spans = [runs.items[runs.offsets[place] : runs.offsets[place + 1]] for place in places.tolist()]
        items, counts = np.unique(np.concatenate(spans), return_counts=True)
        smaller = np.minimum(runs.totals[items], runs_of_row)
        for item, count, total in zip(items.tolist(), counts.tolist(), smaller.tolist(), strict=True):
            found.shares[item] = max(found.shares.get(item, 0), count / total)
            if count / total >= self._overlap.share or count >= self._overlap.runs:
                found.enough.add(item)

    def _is_contaminated(self, record: Record, found: _Found, drops: Drops) -> bool:
        place = place_of(record)
        for item, share in found.shares.items():
            name = self._index.names[item]
            hit = self._hits.setdefault(item, Hit(set_name=name.set_name, item=name.item, field=name.field))
            if item in found.enough:
                hit.dropped += 1
            else:
                hit.kept += 1
            if share > hit.share:
                hit.share, hit.example = share, place
        if not found.enough:
            drops.note(self.name, "kept with a few runs of an evaluation item")
            return False
        worst = self._index.names[max(found.enough, key=lambda item: (found.shares[item], -item))]
        where = f"{place}, {worst.field} of {worst.item} in {worst.set_name}"
        drops.drop(self.name, f"repeats {worst.set_name}", where, whole_text(record))
        self._dropped[worst.set_name] += 1
        return True


@dataclass
class _Found:
    """The greatest share of each item that one record has, and the items of which it has enough."""

    shares: dict[int, float] = field(default_factory=dict)
    enough: set[int] = field(default_factory=set)


def _texts(record: Record) -> list[str]:
    """The texts of a record within which runs are looked for."""
    return [whole_text(record), *(each.text for each in record.context or ())]
