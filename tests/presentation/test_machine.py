"""The rows about the machine: shares, texts, and the reason for a missing figure."""

from __future__ import annotations

from typing import Any

from seedbed.presentation.machine import UNKNOWN, Gauge, gauges, shares, summary

GIB = 2**30
FIGURES: dict[str, Any] = {
    "cpu_fraction": 0.5,
    "cpu_cores": 8,
    "load_1m": 1.25,
    "ram_used_bytes": 4 * GIB,
    "ram_total_bytes": 16 * GIB,
    "missing": {"gpu_fraction": "no GPU"},
}


def row(figures: dict[str, Any], label: str) -> Gauge:
    return next(gauge for gauge in gauges(figures) if gauge.label == label)


def test_known_figures_are_shares_with_details() -> None:
    assert shares(FIGURES) == {"cpu": 0.5, "ram": 0.25}
    assert row(FIGURES, "CPU") == Gauge("CPU", 0.5, "8 cores, load 1.25", history="cpu")
    assert row(FIGURES, "RAM") == Gauge("RAM", 0.25, "4.0 GiB of 16.0 GiB", history="ram")
    assert summary(FIGURES) == "CPU 50% · RAM 4.0 GiB of 16.0 GiB · GPU n/a"


def test_missing_figures_have_a_reason() -> None:
    assert row(FIGURES, "GPU") == Gauge("GPU", reason="no GPU")
    assert row(FIGURES, "power") == Gauge("power", reason=UNKNOWN)
    assert row({}, "CPU") == Gauge("CPU", reason="not measured yet")


def test_the_job_has_a_row_only_where_its_figures_are_recorded() -> None:
    assert [gauge.label for gauge in gauges(FIGURES)] == ["CPU", "RAM", "GPU", "VRAM", "temp", "power"]
    assert row(FIGURES | {"rss_bytes": GIB, "process_cpu_fraction": 1.5}, "job").detail == "1.0 GiB resident, 1.5 cores"
    assert row(FIGURES | {"gpu_temperature_c": 0.0}, "temp") == Gauge("temp", detail="0 °C")
