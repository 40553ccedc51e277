"""Hardware samples: each figure has a value or a reason."""

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

FIGURES = [name for name in Hardware.__struct_fields__ if name not in ("missing", "gpu_count")]
"""What the sampler of a machine measures; the number of GPUs is given by simulated clusters only."""
THERE = Gpu(0, "A30", "550", 100, 40, 0.5, None, 30.0, {"gpu_temperature_c": "the driver reports [N/A]"}, "GPU-a")
OTHER = Gpu(1, "A30", "550", 100, 70, 0.9, 60.0, 90.0, {}, "GPU-b")

linux_only = pytest.mark.skipif(sys.platform == "darwin", reason="macOS reports no GPU values")


class FakeNvml:
    """Two GPUs; `reason` says why there are none."""

    def __init__(self, reason: str = "") -> None:
        self.reason = reason
        self.queries = self.closed = 0

    def read(self, uuid: str = "") -> Gpus:
        self.queries += 1
        found = () if self.reason else tuple(each for each in (THERE, OTHER) if uuid in ("", each.uuid))
        return Gpus(found, self.reason)

    def close(self) -> None:
        self.closed += 1


def assert_complete(sampled: Hardware) -> None:
    missing = sampled.missing or {}
    for name in FIGURES:
        assert (getattr(sampled, name) is None) == (name in missing), name
    assert missing.keys() <= set(FIGURES)
    assert all(missing.values())


def busy(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_every_figure_has_a_value_or_a_reason() -> None:
    assert_complete(sample())


def test_cpu_use_is_known_from_the_second_sample_on() -> None:
    sampler = Sampler(gpu_index=None)
    first = sampler.sample()
    assert {"cpu_fraction", "process_cpu_fraction"} <= (first.missing or {}).keys()
    time.sleep(0.05)
    second = sampler.sample()
    assert second.cpu_fraction is not None
    assert 0 <= second.cpu_fraction <= 1
    assert second.process_cpu_fraction is not None
    assert_complete(second)


def test_process_cpu_use_follows_its_cpu_time_and_is_low_while_it_sleeps() -> None:
    sampler = Sampler(gpu_index=None)
    for _ in range(20):  # a busy machine may stop this process between a sample and the measurement here
        sampler.sample()
        began = time.monotonic()
        busy(0.2)
        expected = 0.2 / (time.monotonic() - began)
        while_busy = sampler.sample().process_cpu_fraction
        time.sleep(0.2)
        asleep = sampler.sample().process_cpu_fraction or 0
        if while_busy == pytest.approx(expected, rel=0.15) and asleep < 0.3:
            break
    assert while_busy == pytest.approx(expected, rel=0.15)
    assert asleep < 0.3


def test_a_second_sampler_or_thread_does_not_reset_the_figures_of_the_first() -> None:
    sampler, samples = Sampler(gpu_index=None), []
    sampler.sample()
    busy(0.1)
    Sampler(gpu_index=None).sample()
    thread = threading.Thread(target=lambda: samples.append(sampler.sample()))
    thread.start()
    thread.join()
    assert (samples[0].cpu_fraction or 0) > 0


def test_samples_within_one_clock_tick_have_a_reason_for_each_missing_figure() -> None:
    sampler = Sampler(gpu_index=None)
    for _ in range(50):
        assert_complete(sampler.sample())


def test_memory_cores_and_load_are_plausible() -> None:
    sampled = sample()
    assert sampled.rss_bytes is not None
    assert sampled.ram_total_bytes is not None
    assert 1 << 20 < sampled.rss_bytes < sampled.ram_total_bytes
    assert sampled.cpu_cores is not None
    assert 1 <= sampled.cpu_cores <= (os.cpu_count() or 1)
    assert sampled.load_1m is not None
    assert sampled.load_1m >= 0


def test_a_missing_load_average_has_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> tuple[float, float, float]:
        raise OSError

    monkeypatch.setattr(os, "getloadavg", fail)
    assert_complete(Sampler(None).sample())
    monkeypatch.delattr(os, "getloadavg")
    sampled = Sampler(None).sample()
    assert sampled.load_1m is None
    assert "load average" in (sampled.missing or {})["load_1m"]


def test_a_sampler_without_a_gpu_gives_the_reason_and_does_not_query_nvml() -> None:
    nvml = FakeNvml()
    missing = Sampler(None, "training runs on the CPU", nvml=nvml).sample().missing or {}
    assert missing["gpu_used_bytes"] == "training runs on the CPU"
    assert nvml.queries == 0


@linux_only
def test_the_gpu_is_read_for_every_sample_and_nvml_is_closed() -> None:
    nvml = FakeNvml()
    sampler = Sampler(0, nvml=nvml)
    for _ in range(2):
        sampled = sampler.sample()
        assert (sampled.gpu_used_bytes, sampled.gpu_fraction, sampled.gpu_power_w) == (40, 0.5, 30.0)
        assert (sampled.missing or {})["gpu_temperature_c"] == "the driver reports [N/A]"
        assert_complete(sampled)
    sampler.close()
    assert (nvml.queries, nvml.closed) == (2, 1)


@linux_only
def test_a_sampler_reads_the_gpu_that_cuda_visible_devices_lists() -> None:
    assert Sampler(0, visible_devices="1", nvml=FakeNvml()).sample().gpu_used_bytes == 70
    assert Sampler(0, visible_devices="", nvml=FakeNvml()).sample().gpu_used_bytes == 40
    sampled = Sampler(0, visible_devices="MIG-5c89", nvml=FakeNvml()).sample()
    assert "MIG" in (sampled.missing or {})["gpu_fraction"]
    assert_complete(sampled)


@linux_only
def test_a_gpu_that_does_not_exist_is_queried_once() -> None:
    nvml = FakeNvml()
    sampler = Sampler(7, nvml=nvml)
    for _ in range(3):
        sampled = sampler.sample()
        assert "no GPU 7" in (sampled.missing or {})["gpu_fraction"]
        assert_complete(sampled)
    assert nvml.queries == 1


@linux_only
def test_gpu_figures_come_from_nvidia_smi_when_nvml_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho '0, Tesla M60, 470.1, 8192, 10, [N/A], 40, 33.5, GPU-1'\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    sampled = Sampler(nvml=FakeNvml(NO_PACKAGE)).sample()
    assert (sampled.gpu_used_bytes, sampled.gpu_temperature_c, sampled.gpu_power_w) == (10 << 20, 40.0, 33.5)
    assert (sampled.missing or {})["gpu_fraction"] == "the driver reports [N/A]"
    assert_complete(sampled)


def test_a_sample_survives_a_round_trip_through_the_event_log() -> None:
    sampled = Sampler().sample()
    record = decode(encode(sampled, 1, 2.0))
    assert record is not None
    assert record.event == sampled
