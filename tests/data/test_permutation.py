"""`permute` is a permutation for any size, and each value depends only on its index and the key."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.data.permutation import key_of, permute, uniform_below

EDGE_SIZES = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 1000, 1023, 1024, 1025, 65537, 100_003]


@pytest.mark.parametrize("n", EDGE_SIZES)
def test_every_number_occurs_once(n):
    for key in (key_of("a"), key_of("b", 2)):
        assert np.array_equal(np.sort(permute(np.arange(n), n, key)), np.arange(n))


@settings(max_examples=200, deadline=None)
@given(n=st.integers(1, 3000), seed=st.integers(0, 2**63 - 1))
def test_every_number_occurs_once_for_any_size_and_seed(n, seed):
    assert np.array_equal(np.sort(permute(np.arange(n), n, key_of(seed))), np.arange(n))


@settings(max_examples=100, deadline=None)
@given(n=st.integers(1, 2**62), data=st.data())
def test_a_value_does_not_depend_on_the_other_indices(n, data):
    indices = np.array(data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=20)))
    key = key_of("k")
    together = permute(indices, n, key)
    alone = [int(permute(np.array([index]), n, key)[0]) for index in indices]
    assert together.tolist() == alone
    assert np.array_equal(permute(indices[::-1], n, key)[::-1], together)
    assert together.min() >= 0
    assert together.max() < n


def test_different_keys_give_different_orders():
    orders = {
        tuple(permute(np.arange(100), 100, key_of("data", seed, epoch)).tolist())
        for seed in range(20)
        for epoch in range(20)
    }
    assert len(orders) == 400


def test_a_key_depends_on_how_its_parts_are_divided():
    assert len({key_of("ab", "c"), key_of("a", "bc"), key_of("abc"), key_of("abc", ""), key_of("", "abc")}) == 5


def test_neighbours_are_scattered():
    """Against a uniform shuffle: mean distance of neighbours n/3, and no correlation of index and value."""
    n = 10_000
    values = permute(np.arange(n), n, key_of("x"))
    distance = np.abs(np.diff(values)).mean()
    assert abs(distance - n / 3) < 4 * n / np.sqrt(18 * n)
    assert abs(np.corrcoef(np.arange(n), values)[0, 1]) < 4 / np.sqrt(n)


def test_values_at_an_index_are_uniform_over_keys():
    """Chi-squared over 10 values and 4,000 keys: 99.99 % of uniform draws stay below 33.7."""
    counts = np.bincount([int(permute(np.array([3]), 10, key_of(seed))[0]) for seed in range(4000)], minlength=10)
    assert ((counts - 400) ** 2 / 400).sum() < 33.7


def test_the_order_is_the_same_in_every_version():
    """A resumed run of an earlier version must get the same batches as before."""
    assert permute(np.arange(10), 10, key_of("order", "fingerprint", 1337, 0)).tolist() == [
        4,
        2,
        6,
        7,
        9,
        0,
        8,
        1,
        5,
        3,
    ]
    assert permute(np.arange(3), 3_000_000_000, key_of("order", "fingerprint", 1337, 0)).tolist() == [
        2610843347,
        1243889663,
        1217185193,
    ]
    assert uniform_below(1_000_000, key_of("offset", "fingerprint", 1337, 0)) == 118489


@pytest.mark.parametrize("n", [0, -1, 2**62 + 1])
def test_a_size_out_of_range_is_refused(n):
    with pytest.raises(ValueError, match="n must be"):
        permute(np.arange(1), n, key_of("x"))


def test_an_index_out_of_range_is_refused():
    with pytest.raises(ValueError, match="outside"):
        permute(np.array([5]), 5, key_of("x"))
