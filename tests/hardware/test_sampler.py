"""A look at the machine: each figure is there or has its reason."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from seedbed.events import Hardware, decode, encode
from seedbed.hardware.nvml import NO_PACKAGE, Gpu, Gpus
from seedbed.hardware.sampler import Sampler, sample

FIGURES = [name for name in Hardware.__struct_fields__ if name != "missing"]
THERE = Gpu(0, "A30", "550", 100, 40, 0.5, None, 30.0, {"gpu_temperature_c": "the driver reports [N/A]"}, "GPU-a")
OTHER = Gpu(1, "A30", "550", 100, 70, 0.9, 60.0, 90.0, {}, "GPU-b")

linux_only = pytest.mark.skipif(sys.platform == "darwin", reason="macOS reports no GPU values")


class FakeNvml:
    """Two GPUs; `reason` says why there are none."""

    def __init__(self, reason: str = "") -> None:
        self.reason = reason
        self.asked = self.closed = 0

    def read(self, uuid: str = "") -> Gpus:
        self.asked += 1
        found = () if self.reason else tuple(each for each in (THERE, OTHER) if uuid in ("", each.uuid))
        return Gpus(found, self.reason)

    def close(self) -> None:
        self.closed += 1


def assert_complete(looked: Hardware) -> None:
    missing = looked.missing or {}
    for name in FIGURES:
        assert (getattr(looked, name) is None) == (name in missing), name
    assert missing.keys() <= set(FIGURES)
    assert all(missing.values())


def busy(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_every_figure_is_there_or_has_its_reason() -> None:
    assert_complete(sample())


def test_cpu_use_is_known_from_the_second_look_on() -> None:
    sampler = Sampler(gpu_index=None)
    first = sampler.sample()
    assert {"cpu_fraction", "process_cpu_fraction"} <= (first.missing or {}).keys()
    time.sleep(0.05)
    second = sampler.sample()
    assert second.cpu_fraction is not None
    assert 0 <= second.cpu_fraction <= 1
    assert second.process_cpu_fraction is not None
    assert_complete(second)


def test_a_process_that_keeps_one_core_busy_uses_one_and_one_that_sleeps_none() -> None:
    sampler = Sampler(gpu_index=None)
    sampler.sample()
    began = time.monotonic()
    busy(0.2)
    wall_s = time.monotonic() - began
    looked = sampler.sample()
    assert looked.process_cpu_fraction == pytest.approx(0.2 / wall_s, rel=0.15)
    time.sleep(0.2)
    assert (sampler.sample().process_cpu_fraction or 0) < 0.3


def test_a_second_sampler_or_thread_does_not_take_the_figures_of_the_first() -> None:
    sampler, looks = Sampler(gpu_index=None), []
    sampler.sample()
    busy(0.1)
    Sampler(gpu_index=None).sample()
    thread = threading.Thread(target=lambda: looks.append(sampler.sample()))
    thread.start()
    thread.join()
    assert (looks[0].cpu_fraction or 0) > 0


def test_two_looks_within_a_tick_of_the_clock_are_no_figure_but_a_reason() -> None:
    sampler = Sampler(gpu_index=None)
    for _ in range(50):
        assert_complete(sampler.sample())


def test_memory_cores_and_load_are_plausible() -> None:
    looked = sample()
    assert looked.rss_bytes is not None
    assert looked.ram_total_bytes is not None
    assert 1 << 20 < looked.rss_bytes < looked.ram_total_bytes
    assert looked.cpu_cores is not None
    assert 1 <= looked.cpu_cores <= (os.cpu_count() or 1)
    assert looked.load_1m is not None
    assert looked.load_1m >= 0


def test_a_system_without_a_load_average_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def untold() -> tuple[float, float, float]:
        raise OSError

    monkeypatch.setattr(os, "getloadavg", untold)
    assert_complete(Sampler(None).sample())
    monkeypatch.delattr(os, "getloadavg")
    looked = Sampler(None).sample()
    assert looked.load_1m is None
    assert "load average" in (looked.missing or {})["load_1m"]


def test_a_run_without_gpu_says_so_and_asks_nobody() -> None:
    nvml = FakeNvml()
    missing = Sampler(None, "training runs on the CPU", nvml=nvml).sample().missing or {}
    assert missing["gpu_used_bytes"] == "training runs on the CPU"
    assert nvml.asked == 0


@linux_only
def test_a_gpu_that_is_there_is_read_each_time_and_let_go_in_the_end() -> None:
    nvml = FakeNvml()
    sampler = Sampler(0, nvml=nvml)
    for _ in range(2):
        looked = sampler.sample()
        assert (looked.gpu_used_bytes, looked.gpu_fraction, looked.gpu_power_w) == (40, 0.5, 30.0)
        assert (looked.missing or {})["gpu_temperature_c"] == "the driver reports [N/A]"
        assert_complete(looked)
    sampler.close()
    assert (nvml.asked, nvml.closed) == (2, 1)


@linux_only
def test_a_run_on_cuda_0_is_told_of_the_gpu_that_it_sees_and_no_other() -> None:
    assert Sampler(0, visible_devices="1", nvml=FakeNvml()).sample().gpu_used_bytes == 70
    assert Sampler(0, visible_devices="", nvml=FakeNvml()).sample().gpu_used_bytes == 40
    looked = Sampler(0, visible_devices="MIG-5c89", nvml=FakeNvml()).sample()
    assert "MIG" in (looked.missing or {})["gpu_fraction"]
    assert_complete(looked)


@linux_only
def test_a_gpu_that_is_not_there_is_asked_for_once() -> None:
    nvml = FakeNvml()
    sampler = Sampler(7, nvml=nvml)
    for _ in range(3):
        looked = sampler.sample()
        assert "no GPU 7" in (looked.missing or {})["gpu_fraction"]
        assert_complete(looked)
    assert nvml.asked == 1


@linux_only
def test_nvidia_smi_stands_in_and_its_figures_are_the_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho '0, Tesla M60, 470.1, 8192, 10, [N/A], 40, 33.5, GPU-1'\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    looked = Sampler(nvml=FakeNvml(NO_PACKAGE)).sample()
    assert (looked.gpu_used_bytes, looked.gpu_temperature_c, looked.gpu_power_w) == (10 << 20, 40.0, 33.5)
    assert (looked.missing or {})["gpu_fraction"] == "the driver reports [N/A]"
    assert_complete(looked)


def test_a_look_survives_the_event_log() -> None:
    looked = Sampler().sample()
    record = decode(encode(looked, 1, 2.0))
    assert record is not None
    assert record.event == looked
