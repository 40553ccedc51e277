"""The load of single GPUs of the show."""

from __future__ import annotations

import msgspec
import pytest

from seedbed.events import Hardware
from seedbed.simulate.scenario import Scenario
from seedbed.simulate.show.gpus import GpuLoads
from seedbed.simulate.telemetry import Telemetry

SCENARIO = Scenario(
    parameters=10**10,
    vocab=32000,
    steps=100,
    tokens_per_step=10**6,
    sequences_per_step=256,
    step_s=5.0,
    nodes=16,
    gpu_memory_bytes=80 << 30,
    gpu_used_bytes=60 << 30,
    gpu_idle_w=100.0,
    gpu_power_w=700.0,
)
TELEMETRY = Telemetry(SCENARIO)


def training() -> Hardware:
    found = TELEMETRY.training(1, 10.0)[0]
    assert isinstance(found, Hardware)
    return found


def loads(*changes: tuple[float, Hardware]) -> GpuLoads:
    found = GpuLoads(SCENARIO)
    for at_s, hardware in changes:
        found.hear(at_s, hardware)
    return found


def test_no_two_gpus_are_alike() -> None:
    values = loads((0.0, training())).many(range(SCENARIO.gpus), 100.0)
    assert len({each.used_bytes for each in values}) == len(values)
    assert len({each.celsius for each in values}) == len(values)
    assert len({each.watts for each in values}) > 0.99 * len(values)


def test_the_mean_of_the_gpus_is_that_of_the_cluster() -> None:
    values = loads((0.0, training())).many(range(SCENARIO.gpus), 100.0)
    count = len(values)
    assert sum(each.watts for each in values) / count == pytest.approx(training().gpu_power_w, rel=0.02)
    assert sum(each.fraction for each in values) / count == pytest.approx(training().gpu_fraction, abs=0.02)


def test_all_gpus_dip_together_while_the_job_restarts() -> None:
    found = loads((0.0, training()), (50.0, TELEMETRY.idle(60.0)))
    assert all(each.fraction == 0 and each.watts < 130 for each in found.many(range(SCENARIO.gpus), 51.0))


def test_a_hung_collective_shows_full_utilisation_at_low_power() -> None:
    found = loads((0.0, training()), (50.0, TELEMETRY.hanging(60.0)))
    for each in found.many(range(SCENARIO.gpus), 55.0):
        assert each.fraction == 1
        assert each.watts < 0.35 * SCENARIO.gpu_power_w


def test_the_temperature_follows_the_power_with_a_lag() -> None:
    found = loads((0.0, training()), (50.0, TELEMETRY.idle(60.0)))
    hot, later, cold = (found.gpu(3, at_s) for at_s in (50.0, 54.0, 200.0))
    assert hot.watts < 130
    assert hot.celsius > later.celsius + 2 > cold.celsius + 4
    assert hot.celsius - cold.celsius == pytest.approx(0.055 * (training().gpu_power_w or 0) - 0.055 * 100, rel=0.15)


def test_the_first_stage_of_a_pipeline_uses_most_memory() -> None:
    found = GpuLoads(SCENARIO, pipeline_stages=4)
    found.hear(0.0, training())
    values = found.many(range(SCENARIO.gpus), 10.0)
    stage = SCENARIO.gpus // 4
    means = [sum(each.used_bytes for each in values[at : at + stage]) for at in range(0, SCENARIO.gpus, stage)]
    assert means == sorted(means, reverse=True)


def test_values_depend_on_the_seed_the_gpu_and_the_time_alone() -> None:
    one, other = loads((0.0, training())), loads((0.0, training()))
    other.gpu(7, 3.0)
    assert one.many(range(64), 20.0) == other.many(range(64), 20.0)


def test_a_small_cluster_has_no_row_for_the_rest() -> None:
    small = GpuLoads(msgspec.structs.replace(SCENARIO, nodes=1))
    table = small.table(0.0)
    assert (len(table.rows), table.rest, table.rest_gpus) == (8, None, 0)
