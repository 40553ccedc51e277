"""One look at how busy the machine is, as an event, a reason beside each missing figure. Knows no run."""

from __future__ import annotations

import psutil

from seedbed.events import Hardware
from seedbed.hardware import gpu, memory

_GPU_FIGURES = ("gpu_fraction", "gpu_used_bytes", "gpu_total_bytes", "gpu_temperature_c", "gpu_power_w")


class Sampler:
    """Looks at the machine each time it is asked. CPU use is the average since the look before.

    `gpu_index` names the GPU to watch; None watches none, for the reason given in `no_gpu`.
    """

    def __init__(self, gpu_index: int | None = 0, no_gpu: str = "no GPU is in use") -> None:
        self._gpu_index = gpu_index
        self._gpu_reason = no_gpu if gpu_index is None else ""
        self._looked = False

    def sample(self) -> Hardware:
        """CPU, memory and GPU figures of this moment, with reasons for those that are missing."""
        missing: dict[str, str] = {}
        cpu_percent = float(psutil.cpu_percent(interval=None))
        if not self._looked:
            missing["cpu_fraction"] = "CPU use is measured between two looks, and this is the first"
        total, available = memory.total_bytes(), memory.available_bytes()
        watched = self._watched_gpu(missing)
        event = Hardware(
            cpu_fraction=cpu_percent / 100 if self._looked else None,
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
        self._looked = True
        return event

    def _watched_gpu(self, missing: dict[str, str]) -> gpu.Gpu | None:
        """The GPU under watch. Where there is none, it is not looked for again."""
        if not self._gpu_reason:
            gpus = gpu.probe()
            for each in gpus.found:
                if each.position == self._gpu_index:
                    missing |= each.missing
                    return each
            self._gpu_reason = gpus.reason or f"there is no GPU {self._gpu_index}"
        missing |= dict.fromkeys(_GPU_FIGURES, self._gpu_reason)
        return None


def sample() -> Hardware:
    """A single look at this machine."""
    return Sampler().sample()
