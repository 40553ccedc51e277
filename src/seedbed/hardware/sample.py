"""One look at how busy the machine is, as an event, a reason beside each missing figure. Knows no run."""

from __future__ import annotations

import os
import time
from typing import Self

import psutil

from seedbed.events import Hardware
from seedbed.hardware import cpu, memory
from seedbed.hardware.gpu import Gpu, Nvml, Watch

_GPU_FIGURES = ("gpu_fraction", "gpu_used_bytes", "gpu_total_bytes", "gpu_temperature_c", "gpu_power_w")
_FIRST = "CPU use is measured between two looks, and this is the first"
_STILL = "CPU use is measured between two looks, and the clock stood still since the last"


class _Use:
    """How much of the time that passed between two looks was used."""

    def __init__(self) -> None:
        self._before: tuple[float, float] | None = None

    def look(self, name: str, used_s: float, passed_s: float, missing: dict[str, str]) -> float | None:
        """Given both counters as they stand now: used seconds per second, or None, with the reason under `name`."""
        if self._before is None:
            self._before, missing[name] = (used_s, passed_s), _FIRST
            return None
        used_before_s, passed_before_s = self._before
        # The kernel counts a machine's time in ticks of some 10 ms, so there may be nothing to divide by yet.
        if passed_s <= passed_before_s:
            missing[name] = _STILL
            return None
        self._before = used_s, passed_s
        return max(0.0, (used_s - used_before_s) / (passed_s - passed_before_s))


class Sampler:
    """Looks at the machine each time it is asked. CPU use is the average since the look before.

    `gpu_index` is the position of the GPU to watch in nvidia-smi's list; None watches none, for the reason in `no_gpu`.
    With `visible_devices`, the text of CUDA_VISIBLE_DEVICES (empty where it is not set), it is the index that CUDA uses;
    `device_order` is then the text of CUDA_DEVICE_ORDER. The GPU's library stays open until `close`.
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
        self._watch = None if gpu_index is None else Watch(gpu_index, visible_devices, device_order, nvml=nvml)
        self._machine, self._process = _Use(), _Use()

    def begin(self) -> None:
        """Measure CPU use from now on, so that the first look has it too."""
        self._machine.look("", *_machine_times_s(), {})
        self._process.look("", time.process_time(), time.monotonic(), {})

    def going_on_from(self, other: Sampler) -> Self:
        """Measure CPU use since the other's last look."""
        self._machine, self._process = other._machine, other._process
        return self

    def sample(self) -> Hardware:
        """CPU, memory and GPU figures of this moment, with reasons for those that are missing."""
        missing: dict[str, str] = {}
        cpu_fraction = self._machine.look("cpu_fraction", *_machine_times_s(), missing)
        process_times_s = time.process_time(), time.monotonic()
        total, available = memory.total_bytes(), memory.available_bytes()
        watched = self._watched_gpu(missing)
        return Hardware(
            cpu_fraction=None if cpu_fraction is None else min(1.0, cpu_fraction),
            process_cpu_fraction=self._process.look("process_cpu_fraction", *process_times_s, missing),
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
        """Let go of the GPU's library."""
        if self._watch is not None:
            self._watch.close()

    def _watched_gpu(self, missing: dict[str, str]) -> Gpu | None:
        if self._watch is None:
            missing |= dict.fromkeys(_GPU_FIGURES, self._no_gpu)
            return None
        seen = self._watch.look()
        if not seen.found:
            missing |= dict.fromkeys(_GPU_FIGURES, seen.reason)
            return None
        missing |= seen.found[0].missing
        return seen.found[0]


def _machine_times_s() -> tuple[float, float]:
    """Seconds that all cores together were busy so far, and seconds in all."""
    # Not psutil's cpu_percent: it remembers the look before per thread, and another sampler's as if it were ours.
    times = psutil.cpu_times()
    # Linux counts a guest's time a second time, within that of its user.
    total_s = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return total_s - times.idle - getattr(times, "iowait", 0.0), total_s


def _load_1m(missing: dict[str, str]) -> float | None:
    if not hasattr(os, "getloadavg"):
        missing["load_1m"] = "this system keeps no load average"
        return None
    try:
        return os.getloadavg()[0]
    except OSError:
        missing["load_1m"] = "this system does not tell its load average"
        return None


def sample() -> Hardware:
    """A single look at this machine."""
    sampler = Sampler()
    try:
        return sampler.sample()
    finally:
        sampler.close()
