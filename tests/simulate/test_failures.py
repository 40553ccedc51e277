"""Failures of a simulated cluster agree with the published counts from which their rates come, and with others."""

from __future__ import annotations

import json
from collections import Counter
from itertools import takewhile
from pathlib import Path

import pytest

from seedbed.errors import UsageError
from seedbed.simulate.failures import DAY_S, Failure, Failures, Reliability, facts, published_components


def drawn(reliability: Reliability, nodes: int, days: float, seed: int) -> list[Failure]:
    source = Failures(reliability, nodes, seed)
    return list(takewhile(lambda each: each.t < days * DAY_S, iter(source.next, None)))


def test_a_run_like_llama_3_has_about_the_published_number_of_interruptions() -> None:
    published = 419  # 54 days on 2,048 nodes, arXiv 2407.21783 table 5
    assert Reliability().expected_failures(2048, 54) == pytest.approx(published, rel=0.4)
    counts = [len(drawn(Reliability(), 2048, 54, seed)) for seed in range(20)]
    assert sum(counts) / 20 == pytest.approx(Reliability().expected_failures(2048, 54), rel=0.05)
    assert all(abs(count - published) / published < 0.4 for count in counts)


def test_components_fail_in_the_published_proportion() -> None:
    found = Counter(each.component.name for seed in range(10) for each in drawn(Reliability(), 2048, 54, seed))
    total = sum(found.values())
    for name, count in (("gpu", 148), ("hbm", 72), ("software", 54), ("switch", 35)):
        assert found[name] / total == pytest.approx(count / 419, rel=0.15)
    assert sum(each.rate for each in published_components()) == pytest.approx(3.79, abs=0.005)


def test_bloom_lost_about_a_gpu_a_week() -> None:
    parts = ("gpu", "hbm", "sram", "gpu_processor", "thermal")
    rate = sum(each.rate for each in Reliability().components() if each.name in parts)
    assert 1 / (48 * rate / 1000 * 7) == pytest.approx(1, rel=0.4), "weeks between two failures of a GPU on 48 nodes"


def test_published_rates_give_the_printed_mean_times_between_failures() -> None:
    # HPCA 2025 (arXiv 2410.21680) projects 1.8 h at 16,384 GPUs and 0.23 h at 131,072 from 6.5 per 1,000 node-days.
    rates = Reliability(node_rate=6.5, job_rate=0.0)
    assert 1 / rates.failures_per_s(2048) / 3600 == pytest.approx(1.8, rel=0.02)
    assert 1 / rates.failures_per_s(16_384) / 3600 == pytest.approx(0.23, rel=0.03)


def test_new_hardware_fails_more_often_for_two_weeks() -> None:
    new = Reliability(early_life_factor=4.0, job_rate=0.0)
    found = [each.t / DAY_S for seed in range(20) for each in drawn(new, 1000, 28, seed)]
    early = sum(t < 14 for t in found)
    assert early / (len(found) - early) == pytest.approx(4, rel=0.1)
    assert len(found) / 20 == pytest.approx(new.expected_failures(1000, 28), rel=0.05)


def test_detection_takes_as_long_as_the_kind_of_failure_says() -> None:
    found = drawn(Reliability(), 2048, 54, 3)
    for each in found:
        if each.component.shows == "crash":
            assert 5 <= each.detection_s <= 30
        elif each.component.shows == "timeout":
            assert each.detection_s == 600
    assert len({each.slot for each in found}) > 300, "failures are spread over the nodes"
    assert drawn(Reliability(), 2048, 54, 3) == found


def test_rates_of_components_can_be_replaced() -> None:
    changed = Reliability(component_rates={"gpu": 10.0})
    assert next(each.rate for each in changed.components() if each.name == "gpu") == 10.0
    assert changed.total_rate() == pytest.approx(4.0 * (1 - 148 / 419) + 10.0)
    with pytest.raises(UsageError, match=r'"gpuu".*Did you mean gpu\?'):
        Reliability(component_rates={"gpuu": 1.0}).components()
    assert Failures(Reliability(node_rate=0, job_rate=0), 8, 1).next() is None


def test_every_default_is_a_figure_of_the_facts_file_with_a_source() -> None:
    for row in facts()["values"]:
        assert getattr(Reliability(), row["name"]) == row["value"], row["name"]
        assert row["kind"] in ("measured", "fitted", "assumed")
    for row in [*facts()["values"], *facts()["counts"], facts()["window"]]:
        assert row["source"]
        assert row["date"]
        assert row["trust"]


def test_the_facts_file_agrees_with_the_published_table(test_data: Path) -> None:
    published = test_data / "published_failures.json"
    if not published.exists():
        pytest.skip(f"{test_data} has no published_failures.json")
    rows = json.loads(published.read_text())
    table = next(row for row in rows if row["id"] == "llama3-405b-54d")
    assert sorted(row["count"] for row in facts()["counts"]) == sorted(table["breakdown"].values())
