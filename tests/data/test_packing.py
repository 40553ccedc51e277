"""Packing loses no sample, overfills no row, and leaves little padding."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.data.packing import pack


@settings(max_examples=100, deadline=None)
@given(lengths=st.lists(st.integers(1, 40), max_size=200), window=st.integers(1, 80))
def test_each_sample_is_in_one_row_and_no_row_is_overfull(lengths, window):
    sizes = np.array(lengths, dtype=np.int64)
    plan = pack(sizes, 40, window=window)
    assert sorted(plan.members.tolist()) == list(range(len(lengths)))
    rows = [plan.members[a:b] for a, b in zip(plan.starts[:-1], plan.starts[1:], strict=True)]
    assert all(len(row) for row in rows)
    assert all(sizes[row].sum() <= 40 for row in rows)
    assert all(len(set((row // window).tolist())) == 1 for row in rows)  # a row is from one window


@settings(max_examples=60, deadline=None)
@given(lengths=st.lists(st.integers(1, 25), min_size=1, max_size=60))
def test_the_plan_is_that_of_best_fit_decreasing_done_by_search(lengths):
    rows: list[int] = []
    for length in sorted(lengths, reverse=True):
        fitting = [(free, -place) for place, free in enumerate(rows) if free >= length]
        if fitting:
            rows[-min(fitting)[1]] -= length
        else:
            rows.append(25 - length)
    sizes = np.array(lengths)
    plan = pack(sizes, 25)
    used = [int(sizes[plan.members[a:b]].sum()) for a, b in zip(plan.starts[:-1], plan.starts[1:], strict=True)]
    assert sorted(used) == sorted(25 - free for free in rows)


def test_lognormal_lengths_fill_the_rows_to_999_per_mille():
    lengths = np.clip(np.exp(np.random.default_rng(5).normal(6, 1, 100_000)).astype(int), 1, 4096)
    assert pack(lengths, 4096).fill(lengths, 4096) >= 0.999


def test_a_length_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"1 \.\. 10"):
        pack(np.array([3, 11]), 10)
    with pytest.raises(ValueError, match=r"1 \.\. 10"):
        pack(np.array([0]), 10)
    assert pack(np.zeros(0, dtype=np.int64), 10).num_rows == 0
