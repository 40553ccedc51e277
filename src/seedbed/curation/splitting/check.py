"""Measures which evaluation answers can be seen in training rows, for datasets that are split already."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seedbed.curation.record import Record, decode
from seedbed.curation.splitting.answers import Runs, Table, measured_answers, runs_of_answers
from seedbed.curation.splitting.containment import HALF
from seedbed.curation.splitting.gate import WORST
from seedbed.curation.splitting.ranges import read_parts
from seedbed.curation.splitting.split import EXCERPT, LeakedPair, where_of
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
    origins: list[tuple[int, int, int]] = []
    too_short = 0
    for part, offset, record in read_parts(evaluated, report):
        found, short = runs_of_answers(record)
        runs += found
        origins += [(part, offset, place) for place in range(len(found))]
        too_short += short
    sizes = np.array([len(each.hashes) for each in runs], np.int64)
    hashes = np.concatenate([np.empty(0, np.uint64), *(each.hashes for each in runs)])
    table = Table(runs)
    seen = np.zeros(len(table.hashes), bool)
    # The first training row that shows each run: enough to name a row that shows much of an answer.
    shower = np.full(len(table.hashes), -1, np.int64)
    for run, row in table.find(train, report, workers):
        new = run[~seen[run]]
        shower[new] = row[~seen[run]]
        seen[run] = True
    place = np.searchsorted(table.hashes, hashes)
    answer = np.repeat(np.arange(len(runs)), sizes)
    share = np.bincount(answer, weights=seen[place], minlength=len(runs)) / np.maximum(sizes, 1)
    worst = [int(each) for each in np.argsort(-share, kind="stable")[:WORST] if share[each] > 0]
    shown = {}
    for each in worst:
        rows = shower[place[answer == each]]
        shown[each] = int(np.bincount(rows[rows >= 0]).argmax())
    named = _numbered(train, set(shown.values()), report)
    pairs = []
    for each in worst:
        part, offset, which = origins[each]
        with evaluated[part].open("rb") as handle:
            handle.seek(offset)
            record = decode(handle.readline())
        pairs.append(
            LeakedPair(
                share=round(float(share[each]), 4),
                eval_row=where_of(record),
                train_row=where_of(named[shown[each]]),
                answer=shorten(measured_answers(record)[which], EXCERPT),
            )
        )
    return Visible(len(runs), too_short, int((share > HALF).sum()), tuple(pairs))


def _numbered(parts: Sequence[Path], numbers: set[int], report: Callable[[int], None]) -> dict[int, Record]:
    if not numbers:
        return {}
    return {n: record for n, (_, _, record) in enumerate(read_parts(parts, report)) if n in numbers}
