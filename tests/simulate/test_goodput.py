"""The closed form of the effective time agrees with published figures and with the simulator."""

from __future__ import annotations

import math

import pytest

from seedbed.simulate.account import summary
from seedbed.simulate.cluster_run import ClusterRun
from seedbed.simulate.failures import Reliability
from seedbed.simulate.goodput import (
    Checkpointing,
    daly_s,
    effective_share,
    recommended_interval_s,
    recovered_s,
    waiting_share,
    young_s,
)
from simulated import CALM, llama_3, scenario

LLAMA_MTBF_S = 54 * 86_400 / 419


def test_intervals_are_those_of_young_and_daly() -> None:
    assert young_s(60, 24 * 3600) == pytest.approx(3220, abs=1)  # sqrt(2 * 60 * 86,400)
    # Daly (2006): sqrt(2 C M) (1 + sqrt(C / 2M) / 3 + (C / 2M) / 9) - C
    assert daly_s(60, 24 * 3600) == pytest.approx(3219.94 * (1 + 0.018634 / 3 + 0.00034722 / 9) - 60, abs=0.1)
    assert daly_s(1000, 400) == 400
    assert math.isinf(daly_s(60, math.inf))


@pytest.mark.parametrize(("blocking_s", "expected"), [(12, 0.906), (60, 0.85), (180, 0.79)])
def test_more_than_90_percent_on_16384_gpus_need_short_saves(blocking_s: float, expected: float) -> None:
    """One failure in 3.09 hours (arXiv 2407.21783) and 10 minutes of recovery; expected values: an own Monte Carlo."""
    given = Checkpointing(blocking_s, LLAMA_MTBF_S, 600)
    assert effective_share(young_s(blocking_s, LLAMA_MTBF_S), given) == pytest.approx(expected, abs=0.012)


def meta_ettr(interval_s: float, given: Checkpointing) -> float:
    """Expected effective-training-time ratio by Kokolis et al. (HPCA 2025): (1 - (R + T / 2) / M) / (1 + C / T)."""
    return max(1 - (given.recovery_s + interval_s / 2) / given.mtbf_s, 0.0) / (1 + given.blocking_s / interval_s)


def test_the_form_of_meta_is_close_to_ours() -> None:
    given = Checkpointing(12, LLAMA_MTBF_S, 300)
    assert meta_ettr(500, given) == pytest.approx(effective_share(500, given), abs=0.01)


def test_the_recommended_interval_is_the_best_one() -> None:
    given = Checkpointing(12, LLAMA_MTBF_S, 300)
    best = recommended_interval_s(given)
    assert all(
        effective_share(best, given) >= effective_share(best * factor, given) - 1e-3 for factor in (0.5, 0.8, 1.25, 2)
    )
    assert recommended_interval_s(given._replace(write_s=5000)) == 5000, (
        "a checkpoint is written before the next begins"
    )
    assert recommended_interval_s(given, step_s=9000) == 9000
    assert effective_share(3600, Checkpointing(0, math.inf, 0)) == 1


@pytest.mark.parametrize("blocking_s", [2.0, 30.0, 120.0])
@pytest.mark.parametrize("node_rate", [30.0, 120.0])
def test_the_simulator_agrees_with_the_closed_form(blocking_s: float, node_rate: float) -> None:
    shares, expected = [], 0.0
    for seed in range(8):
        given = scenario(
            seed=seed,
            steps=30_000,
            log_points=50,
            eval_every=0,
            eval_s=0.0,
            spare_nodes=128,
            checkpoint_blocking_s=blocking_s,
            spikes_per_step=0.0,
            reliability=Reliability(node_rate=node_rate, maintenance_rate=0.0, slow_rate=0.0),
        )
        run = ClusterRun(given)
        for _ in run.events():
            pass
        shares.append(run.account.training_s / run.t)
        expected = effective_share(given.interval_steps() * given.step_s, given.checkpointing())
    assert sum(shares) / len(shares) == pytest.approx(expected, abs=0.015)


def test_a_failure_during_a_restart_begins_it_again() -> None:
    # The mean time until no failure happens for 100 s, with one in 100 s on average: M (e - 1).
    assert recovered_s(Checkpointing(0, 100, 100, start_s=100)) == pytest.approx(100 * (math.e - 1))
    # What a failure cannot begin again, such as its detection, takes its time in each of e attempts.
    assert recovered_s(Checkpointing(0, 100, 130, start_s=100)) == pytest.approx(100 * (math.e - 1) + 30 * math.e)
    assert recovered_s(Checkpointing(0, 1e9, 130, start_s=100)) == pytest.approx(130)
    assert effective_share(60, Checkpointing(1, 100, 1e6, start_s=1e6)) == 0


def test_the_simulator_agrees_where_restarts_fail() -> None:
    # Something fails every 5.6 minutes, and a restart takes 10.7: it begins 6.7 times on average.
    shares, expected = [], 0.0
    for seed in range(6):
        given = scenario(
            seed=seed,
            steps=1_000,
            log_points=50,
            eval_every=0,
            eval_s=0.0,
            spare_nodes=4096,
            spikes_per_step=0.0,
            reliability=Reliability(node_rate=2_000.0, init_1024_s=600.0, maintenance_rate=0.0, slow_rate=0.0),
        )
        run = ClusterRun(given)
        for _ in run.events():
            pass
        shares.append(run.account.training_s / run.t)
        expected = effective_share(given.interval_steps() * given.step_s, given.checkpointing())
    assert expected == pytest.approx(0.08, abs=0.01)
    assert sum(shares) / len(shares) == pytest.approx(expected, abs=0.02)


def test_the_used_interval_is_the_recommended_one_unless_it_is_set() -> None:
    given = llama_3()
    assert given.interval_steps() == pytest.approx(daly_s(12, given.checkpointing().mtbf_s) / 4.66, abs=1)
    assert llama_3(checkpoint_every=500).interval_steps() == 500
    assert scenario(reliability=CALM).interval_steps() == 12_000, "one checkpoint at the end"


def test_the_job_waits_while_more_nodes_are_away_than_there_are_spares() -> None:
    assert waiting_share(1.0, 0) == pytest.approx(1 - math.exp(-1))  # Poisson distribution with mean 1
    assert waiting_share(1.0, 2) == pytest.approx(1 - 2.5 * math.exp(-1))
    assert waiting_share(100.0, 100) == pytest.approx(0.4734, abs=1e-4)
    assert waiting_share(0.0, 0) == 0
    # 100 nodes, a failure in 1,000 days each, two hours away: 100 / 1,000 / 12 are away on average.
    rates = Reliability(component_rates={"gpu": 1.0}, node_rate=0.0, slow_rate=0.0, maintenance_rate=0.0, repair_s=7200)
    assert rates.mean_away(100) == pytest.approx(100 / 1000 / 12)


@pytest.mark.parametrize(("nodes", "spare_nodes"), [(256, 0), (1024, 1)])
def test_the_expectation_has_the_waiting_for_nodes_if_there_are_few_spares(nodes: int, spare_nodes: int) -> None:
    shares, expected = [], 0.0
    for seed in range(6):
        given = scenario(
            seed=seed,
            steps=400_000,
            log_points=50,
            eval_every=0,
            eval_s=0.0,
            nodes=nodes,
            spare_nodes=spare_nodes,
            spikes_per_step=0.0,
            reliability=Reliability(slow_rate=0.0),
        )
        run = ClusterRun(given)
        for _ in run.events():
            pass
        shares.append(run.account.training_s / run.t)
        expected = effective_share(given.interval_steps() * given.step_s, given.checkpointing())
    assert expected < 0.9
    assert sum(shares) / len(shares) == pytest.approx(expected, abs=0.02)
    assert "cluster.spare_nodes" in " ".join(summary(given, run.account, run.t, 2.0, given.loss_curve()))
