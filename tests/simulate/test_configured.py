"""From the config of a simulated run to its scenario."""

from __future__ import annotations

import math

from seedbed.config.simulation import FailuresConfig
from seedbed.simulate.configured import reliability_of


def test_a_rate_of_zero_turns_off_everything_that_is_not_set() -> None:
    calm = reliability_of(FailuresConfig(rate=0))
    assert (calm.failures_per_s(1000), calm.maintenance_rate, calm.slow_rate) == (0, 0, 0)
    some = reliability_of(FailuresConfig(rate=0, job_rate=0.5, components=("gpu=3",)))
    assert math.isclose(some.failures_per_s(1000), 0.5 / 3600 + 1000 * 3 / 1000 / 86400)
    assert (some.maintenance_rate, some.slow_rate) == (0, 0)


def test_other_rates_leave_the_published_ones_of_jobs_maintenance_and_slow_nodes() -> None:
    for rate in (4.0, 0.001):
        usual = reliability_of(FailuresConfig(rate=rate))
        assert (usual.job_rate, usual.maintenance_rate, usual.slow_rate) == (0.005, 0.425, 0.1)  # facts/failures.json
