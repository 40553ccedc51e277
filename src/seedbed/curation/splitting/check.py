"""Measures which evaluation answers can be seen in training rows, for datasets that are split already."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seedbed.curation.record import Record, decode
from seedbed.curation.splitting.answers import EVERYWHERE, measured_answers, runs_of_answers
from seedbed.curation.splitting.containment import HALF
from seedbed.curation.splitting.fingerprints import hash64
from seedbed.curation.splitting.gate import WORST
from seedbed.curation.splitting.ranges import read_parts
from seedbed.curation.splitting.split import EXCERPT, LeakedPair, row_name
from seedbed.curation.splitting.table import Runs, Table
from seedbed.text import shorten


class Visible(NamedTuple):
    """How many evaluation answers can be seen in training rows, by runs of 13 tokens."""

    answers: int
    """Answers that were measured."""
    too_short: int
    leaked: int
    """Answers that are more than half seen in training rows."""
    worst: tuple[LeakedPair, ...]

    @property
    def rate(self) -> float:
        """The share of measured answers that are more than half seen."""
        return self.leaked / max(self.answers, 1)


def visible_answers(
    train: Sequence[Path], evaluated: Sequence[Path], report: Callable[[int], None], workers: int | None = None
) -> Visible:
    """Measure the answers of the JSONL files `evaluated` in the files `train`. `report`: the bytes read since.

    Raises SeedbedError if a line is no record.
    """
    runs: list[Runs] = []
    origins: list[tuple[int, int, int, int]] = []
    too_short = 0
    for part, offset, record in read_parts(evaluated, report):
        found, short = runs_of_answers(record)
        runs += found
        origins += [(hash64(record.id), each.answer, part, offset) for each in found]
        too_short += short
    sizes = np.array([len(each.hashes) for each in runs], np.int64)
    hashes = np.concatenate([np.empty(0, np.uint64), *(each.hashes for each in runs)])
    table = Table(runs)
    seen = np.zeros(len(table.hashes), np.int64)
    found_run, found_row = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for run, row in table.find(train, report, workers):
        kept = (
            seen[run] <= EVERYWHERE
        )  # as the gate has it: a run in more rows does not say which of them shows the answer
        seen += np.bincount(run, minlength=len(seen))
        found_run.append(run[kept])
        found_row.append(row[kept])
    run, row = np.concatenate(found_run), np.concatenate(found_row)
    kept = seen[run] <= EVERYWHERE
    run, row = run[kept], row[kept]
    place = np.searchsorted(table.hashes, hashes)
    answer = np.repeat(np.arange(len(runs)), sizes)
    share = np.bincount(answer, weights=seen[place] > 0, minlength=len(runs)) / np.maximum(sizes, 1)
    order = sorted(np.flatnonzero(share).tolist(), key=lambda each: (-share[each], *origins[each]))
    shown = {each: _showing(place[answer == each], run, row) for each in order[: WORST * 4]}
    seen_first: dict[tuple[int, int, int, int], int] = {}
    for each in shown:
        if len(shown[each][0]):
            seen_first.setdefault(origins[each], each)  # by tokens or by words, whichever is seen more
    worst = list(seen_first.values())[:WORST]
    named = _first(train, {each: shown[each][0] for each in worst}, report)
    pairs = []
    for each in worst:
        _, which, part, offset = origins[each]
        with evaluated[part].open("rb") as handle:
            handle.seek(offset)
            record = decode(handle.readline())
        pairs.append(
            LeakedPair(
                share=round(float(share[each]), 4),
                train_share=round(shown[each][1] / int(sizes[each]), 4),
                eval_row=row_name(record),
                train_row=row_name(named[each]),
                answer=shorten(measured_answers(record)[which], EXCERPT),
            )
        )
    leaked = {origins[each] for each in np.flatnonzero(share > HALF).tolist()}
    return Visible(len(set(origins)), too_short, len(leaked), tuple(pairs))


def _showing(wanted: np.ndarray, run: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, int]:
    """The rows that show most of the runs `wanted`, and how many runs these are; `run` was seen in `row`."""
    distinct, times = np.unique(wanted, return_counts=True)
    here = np.isin(run, distinct)
    rows, which = np.unique(row[here], return_inverse=True)
    if not len(rows):
        return rows, 0
    counts = np.bincount(which, weights=times[np.searchsorted(distinct, run[here])])
    return rows[counts == counts.max()], int(counts.max())


def _first(parts: Sequence[Path], rows: dict[int, np.ndarray], report: Callable[[int], None]) -> dict[int, Record]:
    """For each answer, the first of its rows, numbered in order of reading, in the order that the split has."""
    owners: dict[int, list[int]] = {}
    for answer, numbers in rows.items():
        for number in numbers.tolist():
            owners.setdefault(number, []).append(answer)
    found: dict[int, Record] = {}
    for number, (_, _, record) in enumerate(read_parts(parts, report) if owners else ()):
        for answer in owners.get(number, ()):
            if answer not in found or hash64(record.id) < hash64(found[answer].id):
                found[answer] = record
    return found
