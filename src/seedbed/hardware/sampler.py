"""Measure the load of the machine as a `hardware` event, with a reason for each missing value."""

from __future__ import annotations

import os
import time
from typing import Self

import psutil

from seedbed.events import Hardware
from seedbed.hardware import cpu, memory
from seedbed.hardware.gpu import Gpu, GpuMonitor, Nvml

_GPU_FIGURES = ("gpu_fraction", "gpu_used_bytes", "gpu_total_bytes", "gpu_temperature_c", "gpu_power_w")
_FIRST = "CPU use is measured between two samples, and this is the first sample"
_STILL = "CPU use is measured between two samples, and no time has passed since the previous sample"


class _Use:
    """Measures the CPU time that was used between two calls, as a share of the time that passed."""

    def __init__(self) -> None:
        self._before: tuple[float, float] | None = None

    def read(self, name: str, used_s: float, passed_s: float, missing: dict[str, str]) -> float | None:
        """The share of time used since the last call; if unknown, None, with the reason in `missing[name]`."""
        if self._before is None:
            self._before, missing[name] = (used_s, passed_s), _FIRST
            return None
        used_before_s, passed_before_s = self._before
        # The kernel counts time in ticks of about 10 ms, so the difference may be 0.
        if passed_s <= passed_before_s:
            missing[name] = _STILL
            return None
        self._before = used_s, passed_s
        return max(0.0, (used_s - used_before_s) / (passed_s - passed_before_s))


class Sampler:
    """Measures the load of the machine on request. CPU use is the average since the previous sample.

    `gpu_index` is the position of a GPU in nvidia-smi's list; None means no GPU, with the reason in `no_gpu`. If
    `visible_devices` (the value of CUDA_VISIBLE_DEVICES, empty if not set) is given, `gpu_index` is a CUDA index, and
    `device_order` is the value of CUDA_DEVICE_ORDER. NVML stays open until `close`.
    """

    def __init__(
        self,
        gpu_index: int | None = 0,
        no_gpu: str = "no GPU is in use",
        *,
        visible_devices: str | None = None,
        device_order: str = "",
        nvml: Nvml | None = None,
    ) -> None:
        self._no_gpu = no_gpu
        self._watch = None if gpu_index is None else GpuMonitor(gpu_index, visible_devices, device_order, nvml=nvml)
        self._machine, self._process = _Use(), _Use()

    def begin(self) -> None:
        """Start measuring CPU use, so that the first sample includes it."""
        self._machine.read("", *_machine_times_s(), {})
        self._process.read("", time.process_time(), time.monotonic(), {})

    def continue_from(self, other: Sampler) -> Self:
        """Measure CPU use from the last sample of another sampler on. Returns this sampler."""
        self._machine, self._process = other._machine, other._process
        return self

    def sample(self) -> Hardware:
        """Measure CPU, memory and GPU now. The result has a reason for each missing value."""
        missing: dict[str, str] = {}
        cpu_fraction = self._machine.read("cpu_fraction", *_machine_times_s(), missing)
        process_times_s = time.process_time(), time.monotonic()
        total, available = memory.total_bytes(), memory.available_bytes()
        watched = self._watched_gpu(missing)
        return Hardware(
            cpu_fraction=None if cpu_fraction is None else min(1.0, cpu_fraction),
            process_cpu_fraction=self._process.read("process_cpu_fraction", *process_times_s, missing),
            cpu_cores=cpu.usable_cores(),
            load_1m=_load_1m(missing),
            rss_bytes=memory.resident_bytes(),
            ram_used_bytes=max(0, total - available),
            ram_total_bytes=total,
            gpu_fraction=watched.fraction if watched else None,
            gpu_used_bytes=watched.used_bytes if watched else None,
            gpu_total_bytes=watched.total_bytes if watched else None,
            gpu_temperature_c=watched.temperature_c if watched else None,
            gpu_power_w=watched.power_w if watched else None,
            missing=missing or None,
        )

    def close(self) -> None:
        """Close NVML, the library that reads the GPU."""
        if self._watch is not None:
            self._watch.close()

    def _watched_gpu(self, missing: dict[str, str]) -> Gpu | None:
        if self._watch is None:
            missing |= dict.fromkeys(_GPU_FIGURES, self._no_gpu)
            return None
        seen = self._watch.read()
        if not seen.found:
            missing |= dict.fromkeys(_GPU_FIGURES, seen.reason)
            return None
        missing |= seen.found[0].missing
        return seen.found[0]


def _machine_times_s() -> tuple[float, float]:
    """Busy seconds and total seconds of all cores together since boot."""
    # Not psutil's cpu_percent: it keeps the previous sample per thread, so samplers would share it.
    times = psutil.cpu_times()
    # Linux counts guest time twice: also as part of user time.
    total_s = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return total_s - times.idle - getattr(times, "iowait", 0.0), total_s


def _load_1m(missing: dict[str, str]) -> float | None:
    if not hasattr(os, "getloadavg"):
        missing["load_1m"] = "this system has no load average"
        return None
    try:
        return os.getloadavg()[0]
    except OSError:
        missing["load_1m"] = "this system does not report its load average"
        return None


def sample() -> Hardware:
    """Measure this machine once."""
    sampler = Sampler()
    try:
        return sampler.sample()
    finally:
        sampler.close()
