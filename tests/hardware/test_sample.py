"""A look at the machine: each figure is there or has its reason."""

from __future__ import annotations

import pytest

from seedbed.events import Hardware, decode, encode
from seedbed.hardware import gpu
from seedbed.hardware.sample import Sampler, sample

FIGURES = [name for name in Hardware.__struct_fields__ if name != "missing"]


def test_every_figure_is_there_or_has_its_reason() -> None:
    looked = sample()
    missing = looked.missing or {}
    for name in FIGURES:
        assert (getattr(looked, name) is None) == (name in missing), name
    assert all(missing.values())


def test_cpu_use_is_known_from_the_second_look_on() -> None:
    sampler = Sampler(gpu_index=None)
    assert "cpu_fraction" in (sampler.sample().missing or {})
    sum(range(200_000))
    second = sampler.sample()
    assert second.cpu_fraction is not None
    assert 0 <= second.cpu_fraction <= 1


def test_memory_is_plausible() -> None:
    looked = sample()
    assert looked.rss_bytes is not None
    assert looked.ram_total_bytes is not None
    assert 1 << 20 < looked.rss_bytes < looked.ram_total_bytes


def test_a_run_without_gpu_says_so_and_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "probe", lambda: pytest.fail("nvidia-smi was asked"))
    missing = Sampler(None, "training runs on the CPU").sample().missing or {}
    assert missing["gpu_used_bytes"] == "training runs on the CPU"


def test_a_gpu_that_is_there_is_read_and_one_that_is_not_is_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    there = gpu.Gpu(0, "A30", "550", 100, 40, 0.5, None, 30.0, {"gpu_temperature_c": "the driver says [N/A]"})

    def probe() -> gpu.Gpus:
        asked.append(1)
        return gpu.Gpus((there,), "")

    monkeypatch.setattr(gpu, "probe", probe)
    looked = Sampler(0).sample()
    assert (looked.gpu_used_bytes, looked.gpu_fraction, looked.gpu_power_w) == (40, 0.5, 30.0)
    assert (looked.missing or {})["gpu_temperature_c"] == "the driver says [N/A]"
    sampler = Sampler(7)
    asked.clear()
    assert "no GPU 7" in (sampler.sample().missing or {})["gpu_fraction"]
    sampler.sample()
    assert len(asked) == 1


def test_a_look_survives_the_event_log() -> None:
    looked = Sampler().sample()
    record = decode(encode(looked, 1, 2.0))
    assert record is not None
    assert record.event == looked
