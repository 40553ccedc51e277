"""The loss of a simulated run follows a published law, starts at ln(vocabulary), and has noise and rare spikes."""

from __future__ import annotations

import math
import statistics
from itertools import pairwise
from typing import Any

import pytest

from seedbed.config.schema import ScheduleConfig
from seedbed.optim.schedule import multiplier
from seedbed.simulate.loss import BESIROGLU, Law, LossCurve, Schedule

STEPS = 100_000
HOFFMANN = Law(1.69, 406.4, 410.7, 0.34, 0.28)
"""As printed by Hoffmann et al. (arXiv 2203.15556, 2022, approach 3)."""


def curve(seed: int = 1, **changes: Any) -> LossCurve:
    schedule = Schedule(STEPS, warmup_steps=2000, floor=0.0)
    wanted: dict[str, Any] = {
        "parameters": 8.03e9,
        "vocab": 128_256,
        "tokens_per_step": 4_194_304,
        "sequences_per_step": 512,
        "schedule": schedule,
    }
    return LossCurve(seed=seed, **(wanted | changes))


@pytest.mark.parametrize(
    ("law", "parameters", "tokens", "expected"),
    [
        # E + A / N^alpha + B / D^beta with the constants printed in arXiv 2203.15556 and 2404.10102.
        (HOFFMANN, 8.03e9, 15e12, 1.948),
        (HOFFMANN, 405e9, 15.6e12, 1.819),
        (BESIROGLU, 8.03e9, 15e12, 2.022),
        (BESIROGLU, 405e9, 15.6e12, 1.893),
        # Chinchilla itself: 70B parameters, 1.4T tokens; the paper's law gives 1.94.
        (HOFFMANN, 70e9, 1.4e12, 1.937),
    ],
)
def test_the_law_gives_known_losses(law: Any, parameters: float, tokens: float, expected: float) -> None:
    assert law.loss(parameters, tokens) == pytest.approx(expected, abs=0.0015)


def test_a_run_starts_at_the_log_of_its_vocabulary_and_ends_at_the_law() -> None:
    for seed in range(20):
        made = curve(seed)
        assert made.at(1).loss == pytest.approx(math.log(128_256), abs=0.1)
        assert 5 < made.mean(200) < 7, "the first hundreds of steps fall to about 6"
        last = statistics.fmean(made.mean(step) for step in range(STEPS - 50, STEPS))
        assert last == pytest.approx(BESIROGLU.loss(8.03e9, STEPS * 4_194_304), rel=0.03)
        assert made.at(STEPS).loss == pytest.approx(made.at_law(), rel=0.03)


def test_no_step_jumps_except_in_a_spike() -> None:
    made = curve(spikes_per_step=0)
    losses = [made.at(step).loss for step in [*range(1, 4000), *range(60_000, 61_000)]]
    jumps = [abs(after - before) for before, after in pairwise(losses)]
    del jumps[3998]  # between the two ranges
    assert max(jumps) < 0.2
    assert max(losses) <= math.log(128_256)


@pytest.mark.parametrize("kind", ["cosine", "linear", "wsd", "constant"])
def test_the_annealing_gap_closes_with_the_learning_rate(kind: Any) -> None:
    decayed = curve(schedule=Schedule(STEPS, kind=kind, warmup_steps=2000, floor=0.0), spikes_per_step=0)
    stable = curve(schedule=Schedule(STEPS, kind="constant", warmup_steps=2000), spikes_per_step=0)
    closed = stable.mean(STEPS) - decayed.mean(STEPS)
    assert closed == pytest.approx(0.0 if kind == "constant" else 0.045, abs=0.001)
    assert stable.mean(10_000) - decayed.mean(10_000) < 0.01


def test_schedules_have_their_shapes() -> None:
    cosine = Schedule(1000, 1.0, "cosine", 100, floor=0.1)
    assert cosine.lr(1) == pytest.approx(1 / 101)
    assert cosine.lr(101) == 1.0
    assert cosine.lr(551) == pytest.approx(0.1 + 0.9 * 0.5)
    assert cosine.lr(1000) == pytest.approx(0.1, abs=0.001)
    wsd = Schedule(1000, 1.0, "wsd", 100, decay=0.2, floor=0.0)
    assert wsd.lr(800) == 1.0
    assert wsd.lr(901) == pytest.approx(0.5)
    assert Schedule(1000, 1.0, "linear", 0, floor=0.0).lr(501) == pytest.approx(0.5)
    assert Schedule(10, 1.0, "constant").lr(10) == 1.0


@pytest.mark.parametrize("kind", ["cosine", "linear", "wsd", "constant"])
def test_schedules_are_those_of_real_training(kind: Any) -> None:
    config = ScheduleConfig(kind=kind, warmup=0.1, decay=0.3, floor=0.05)
    simulated = Schedule(1000, 1.0, kind, 100, decay=0.3, floor=0.05)
    assert [simulated.lr(step) for step in range(1, 1001)] == pytest.approx(
        [multiplier(config, step, 1000) for step in range(1000)]
    )


def test_spikes_are_rare_recover_and_show_in_the_gradient_norm_first() -> None:
    counts = []
    for seed in range(40):
        made = curve(seed)
        found = list(made.spikes())
        counts.append(len(found))
        for spike in found[:2]:
            calm = curve(seed, spikes_per_step=0)
            extra = [made.at(step).loss - calm.at(step).loss for step in range(spike.step - 5, spike.step + 3)]
            assert max(extra[:5]) < 0.02
            assert max(extra) == pytest.approx(spike.height, abs=0.02)
            warned = made.at(spike.step - 1).grad_norm / calm.at(spike.step - 1).grad_norm
            assert warned > 1.5
            assert 1 <= spike.lead <= 3
            recovered = spike.step + 1000
            assert made.at(recovered).loss - calm.at(recovered).loss < 0.05
            assert made.at(spike.step + 1, skipped={each.step for each in found}) == calm.at(spike.step + 1)
            assert made.at(spike.step + 1).loss <= math.log(128_256)
    assert statistics.fmean(counts) == pytest.approx(STEPS / 20_000, rel=0.25)


def test_the_noise_falls_with_the_batch_and_is_autocorrelated() -> None:
    made = curve(spikes_per_step=0)
    noise = [made.at(step).loss - made.mean(step - 1) for step in range(50_000, 54_000)]
    assert statistics.stdev(noise) == pytest.approx(0.35 / math.sqrt(512), rel=0.1)
    assert statistics.correlation(noise[1:], noise[:-1]) == pytest.approx(0.35 / 2, abs=0.06)


def test_validation_has_its_own_smoother_noise_and_is_slightly_higher() -> None:
    gaps = []
    for seed in range(30):
        made = curve(seed)
        own = [made.validation(90_000 + 100 * i, i) - made.mean(90_000 + 100 * i) for i in range(50)]
        gaps.append(statistics.fmean(own))
        assert statistics.stdev(own) < 0.01
    assert 0 < statistics.fmean(gaps) < 0.04
    assert max(gaps) < 0.06


def test_values_depend_only_on_seed_and_step() -> None:
    assert curve(5).at(777) == curve(5).at(777)
    assert curve(5).at(777) != curve(6).at(777)


def test_a_vocabulary_too_small_for_the_law_stays_at_its_log() -> None:
    made = curve(parameters=1e4, vocab=65)
    assert made.at(STEPS).loss <= math.log(65)
    assert made.at_law() == math.log(65)
