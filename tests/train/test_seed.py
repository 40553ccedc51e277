"""Seeds of many texts made from one."""

from __future__ import annotations

import pytest

from seedbed.model.generate import Sampling
from seedbed.train.seed import offset_seed


@pytest.mark.parametrize("seed", [0, 1, 2**62, 2**63 - 1, (2**63 - 1) * 1_000_003])
def test_every_following_seed_is_one_that_sampling_takes(seed: int) -> None:
    seeds = [offset_seed(seed, offset) for offset in range(5)]
    assert len(set(seeds)) == 5
    for each in seeds:
        Sampling(seed=each)


def test_a_following_seed_is_the_plain_sum_as_long_as_that_fits() -> None:
    assert offset_seed(1337, 60) == 1397
