"""Rows that contain more than half of another, against a count of all pairs."""

from __future__ import annotations

import random
from itertools import combinations

import numpy as np

from seedbed.curation.splitting.containment import WIDESPREAD, Spool, contained_pairs


def pairs_of(rows: list[list[int]]) -> set[tuple[int, int]]:
    spool = Spool(None)
    for number, fingerprints in enumerate(rows):
        # Spread over all buckets, as hashes are.
        values = np.array(fingerprints, np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        spool.add(values, np.full(len(fingerprints), number, np.uint32))
    found = contained_pairs(spool, np.arange(len(rows)))
    spool.close()
    return {(min(a, b), max(a, b)) for a, b in zip(found.a.tolist(), found.b.tolist(), strict=True)}


def test_pairs_are_those_that_share_more_than_half_of_one_of_them() -> None:
    rng = random.Random(7)
    rows = []
    for _ in range(60):
        start, length = rng.randrange(400), rng.randrange(1, 60)
        rows.append([*range(start, start + length), *rng.sample(range(10_000, 99_000), rng.randrange(12))])
    expected = {
        (a, b)
        for a, b in combinations(range(len(rows)), 2)
        if len(set(rows[a]) & set(rows[b])) * 2 > min(len(rows[a]), len(rows[b]))
    }
    found = pairs_of(rows)
    assert expected  # some of them are
    # Fingerprints in more than eight rows do not compare all pairs, but no other pair is found.
    assert found <= expected
    assert len(found) > 0.9 * len(expected)


def test_many_equal_rows_are_tied_together() -> None:
    rows = [[*range(30)] for _ in range(100)]
    tied = {0}
    for a, b in sorted(pairs_of(rows)):
        if a in tied or b in tied:
            tied |= {a, b}
    assert tied == set(range(100))


def test_a_small_row_that_is_part_of_very_many_ties_nothing_together() -> None:
    rows = [[1, 2, 3], *([1, 2, 3, *range(100 * n, 100 * n + 60)] for n in range(1, WIDESPREAD + 30))]
    assert pairs_of(rows) == set()
    few = [[1, 2, 3], *([1, 2, 3, *range(100 * n, 100 * n + 60)] for n in range(1, 5))]
    assert pairs_of(few) == {(0, n) for n in range(1, 5)}
