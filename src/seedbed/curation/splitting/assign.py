"""Decides which groups are evaluated: by a salted hash of their names, so that the choice stays when data is added."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np

from seedbed.curation.splitting.groups import Groups
from seedbed.curation.splitting.scan import NO_TIME, Rows

TRAIN, EVAL, DROPPED = 0, 1, 2
OVERSHOOT = 1.5
"""The evaluation rows may be this many times the wanted number, if groups are large."""
CANDIDATES = 1.25
"""Newest rows that are tried for evaluation, as a multiple of the wanted number, since those that leak go back."""


class Wanted(NamedTuple):
    """How large the evaluation split is meant to be, in rows."""

    rows: int
    most: int


def wanted(count: int, eval_fraction: float, eval_rows: int) -> Wanted:
    """How many of `count` rows are to be evaluated: at most half of them, and at most `eval_rows`, unless that is 0."""
    aim = round(count * eval_fraction)
    most = max(round(aim * OVERSHOOT), 1)
    if eval_rows:
        aim, most = min(aim, eval_rows), min(most, eval_rows)
    half = count // 2
    return Wanted(min(max(aim, 1), half), min(max(most, 1), half))


def lot(salt: str, keys: np.ndarray) -> np.ndarray:
    """A number in [0, 1) for each key, uint64 (N,), by a salted hash: the same for the same salt and key."""
    unique, where = np.unique(keys, return_inverse=True)
    drawn = np.empty(len(unique))
    person = hashlib.blake2b(salt.encode(), digest_size=16).digest()
    for place, key in enumerate(unique.tolist()):
        digest = hashlib.blake2b(key.to_bytes(8, "big"), key=person, digest_size=8).digest()
        drawn[place] = int.from_bytes(digest, "big") / 2**64
    return drawn[where]


def assigned(
    rows: Rows, groups: Groups, size: Wanted, salt: str, old: np.ndarray, barred: np.ndarray, continues: bool = False
) -> np.ndarray:
    """The split of each row, uint8 (N,). `old`, bool (N,): rows whose groups are evaluated; `barred`: those that are not.

    Groups with an old row are evaluated, before others. Then come groups whose lot is below the wanted share, by their lot,
    as long as they fit; then further ones, if less than half of what was wanted is reached. In a divided group, the newest
    rows come first. If the split `continues` an earlier one, whose training rows are barred, the lot alone decides, so that
    of little data that was added, too, the wanted share is evaluated.
    """
    split = np.full(rows.count, TRAIN, np.uint8)
    split[groups.prefix] = DROPPED
    kept = ~groups.prefix
    names, where = np.unique(groups.group, return_inverse=True)
    sizes = np.bincount(where[kept], minlength=len(names))
    chosen = np.zeros(len(names), bool)
    chosen[where[old]] = True
    chosen &= sizes > 0
    open_sizes = sizes.copy()
    open_sizes[where[barred]] = 0
    timed = np.zeros(len(names), bool)
    timed[where[groups.timed]] = True
    first = np.zeros(len(names), np.int64)
    first[where] = np.arange(rows.count)
    drawn = lot(salt, groups.key[first])
    if continues:
        _choose_below(drawn, open_sizes, chosen, size, size.rows / max(int(sizes.sum()), 1))
        split[kept & chosen[where]] = EVAL
        return split
    if timed.any():
        _choose_newest(rows, where, timed, open_sizes, chosen, size)
    _choose_by_lot(drawn, np.where(timed, 0, open_sizes), chosen, size, int(sizes[~timed].sum()), int(sizes.sum()))
    if not chosen.any():
        # At least one group, if there are two: the lot decides among those with at most half of the rows.
        small = np.flatnonzero((open_sizes > 0) & (sizes <= sizes.sum() / 2))
        if len(small) and (sizes > 0).sum() > 1:
            chosen[small[np.argmin(drawn[small])]] = True
    split[kept & chosen[where]] = EVAL
    return split


def _choose_by_lot(
    drawn: np.ndarray, sizes: np.ndarray, chosen: np.ndarray, size: Wanted, here: int, total: int
) -> None:
    """Choose groups in the order of their lots; `here` of `total` rows are chosen from, so that share of what is wanted."""
    if not here or not size.rows:
        return
    share = here / total
    aim, most = max(round(size.rows * share), 1), max(round(size.most * share), 1)
    reached = int(sizes[chosen].sum())
    below = min(size.rows / total, 1.0)
    for place in np.argsort(drawn, kind="stable"):
        group_rows = int(sizes[place])
        if chosen[place] or not group_rows:
            continue
        if drawn[place] >= below and reached * 2 >= aim:
            break
        if reached + group_rows <= (most if drawn[place] < below else aim):
            chosen[place] = True
            reached += group_rows


def _choose_below(drawn: np.ndarray, sizes: np.ndarray, chosen: np.ndarray, size: Wanted, share: float) -> None:
    """Choose the groups whose lot is below the share, as long as they fit."""
    reached = int(sizes[chosen].sum())
    for place in np.argsort(drawn, kind="stable"):
        if drawn[place] >= share:
            break
        if sizes[place] and not chosen[place] and reached + sizes[place] <= size.most:
            chosen[place] = True
            reached += int(sizes[place])


def _choose_newest(
    rows: Rows, where: np.ndarray, timed: np.ndarray, sizes: np.ndarray, chosen: np.ndarray, size: Wanted
) -> None:
    """Choose the newest groups of those that a time divides, more than wanted, since some of them will leak."""
    newest = np.zeros(len(sizes), np.int64)
    known = rows.time != NO_TIME
    np.maximum.at(newest, where[known], rows.time[known].astype(np.int64))
    here = int(sizes[timed].sum())
    aim = round(size.rows * here / max(int(sizes.sum()), 1) * CANDIDATES)
    aim = min(aim, size.most, here // 2)
    reached = int(sizes[chosen & timed].sum())
    for place in np.argsort(-newest, kind="stable"):
        if not timed[place] or chosen[place] or not sizes[place]:
            continue
        if reached + sizes[place] > aim:
            break
        chosen[place] = True
        reached += int(sizes[place])
