"""Seeds of several samples, derived from one seed."""

from __future__ import annotations

import pytest

from seedbed.model.generate import Sampling
from seedbed.train.seed import offset_seed


@pytest.mark.parametrize("seed", [0, 1, 2**62, 2**63 - 1, (2**63 - 1) * 1_000_003])
def test_offset_seeds_are_distinct_and_valid_for_sampling(seed: int) -> None:
    seeds = [offset_seed(seed, offset) for offset in range(5)]
    assert len(set(seeds)) == 5
    for each in seeds:
        Sampling(seed=each)


def test_an_offset_seed_is_the_plain_sum_if_it_fits() -> None:
    assert offset_seed(1337, 60) == 1397
