"""The load of the machine as rows of label, share and text, which a front end draws as gauges (bars)."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from seedbed import text
from seedbed.presentation.run_list import counts
from seedbed.runs.statuses import WORKING
from seedbed.runs.watch import ListedRun

UNKNOWN = "unknown"


class Gauge(NamedTuple):
    """One row about the machine: a share from 0 to 1 to draw as a bar, or only a text.

    If both are missing, `reason` says why. A front end collects earlier shares under the key `history`.
    """

    label: str
    share: float | None = None
    detail: str = ""
    reason: str = ""
    history: str = ""


def shares(figures: Mapping[str, Any]) -> dict[str, float]:
    """The known shares by name (cpu, ram, gpu, vram). The name is also the `history` of the gauge for this share."""
    found = {
        "cpu": figures.get("cpu_fraction"),
        "ram": _share(figures, "ram"),
        "gpu": figures.get("gpu_fraction"),
        "vram": _share(figures, "gpu"),
    }
    return {name: float(share) for name, share in found.items() if isinstance(share, int | float)}


def gauges(figures: Mapping[str, Any]) -> list[Gauge]:
    """The rows about the machine. `figures` has the fields of a `hardware` event, none before the first sample."""
    missing = figures.get("missing") or {}
    share = shares(figures)

    def row(label: str, key: str, history: str = "", detail: str = "") -> Gauge:
        if history in share or (detail and not history):
            return Gauge(label, share.get(history), detail, history=history)
        return Gauge(label, reason=missing.get(key) or (UNKNOWN if figures else "not measured yet"))

    cores, load = figures.get("cpu_cores"), figures.get("load_1m")
    cpu = [text.plural(cores, "core") if cores else "", f"load {load:.2f}" if load is not None else ""]
    rows = [
        row("CPU", "cpu_fraction", "cpu", ", ".join(filter(None, cpu))),
        row("RAM", "ram_used_bytes", "ram", _used_of(figures, "ram")),
    ]
    resident, busy = figures.get("rss_bytes"), figures.get("process_cpu_fraction")
    if resident is not None:
        cores_used = f", {busy:.1f} cores" if busy is not None else ""
        rows.append(Gauge("job", detail=f"{text.size(resident)} resident{cores_used}"))
    temperature, power = figures.get("gpu_temperature_c"), figures.get("gpu_power_w")
    return [
        *rows,
        row("GPU", "gpu_fraction", "gpu"),
        row("VRAM", "gpu_used_bytes", "vram", _used_of(figures, "gpu")),
        row("temp", "gpu_temperature_c", detail="" if temperature is None else f"{temperature:.0f} °C"),
        row("power", "gpu_power_w", detail="" if power is None else f"{power:.0f} W"),
    ]


def summary(figures: Mapping[str, Any]) -> str:
    """The load of CPU, RAM and GPU in one line, such as `CPU 12% · RAM 3.1 GiB of 16.0 GiB · GPU n/a`."""
    cpu, gpu = figures.get("cpu_fraction"), figures.get("gpu_fraction")
    ram = _used_of(figures, "ram")
    parts = [
        f"CPU {cpu:.0%}" if cpu is not None else "CPU n/a",
        f"RAM {ram}" if ram else "RAM n/a",
        f"GPU {gpu:.0%}" if gpu is not None else "GPU n/a",
    ]
    return " · ".join(parts)


def free_disk(folder: Path) -> str:
    """The free space of the disk that a folder is on, or will be on, such as `80.0 GiB free of 500.0 GiB`."""
    place = folder.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        usage = shutil.disk_usage(place)
    except OSError as error:
        return f"n/a ({error.strerror})"
    return f"{text.size(usage.free)} free of {text.size(usage.total)}"


def measuring_run(live: Sequence[ListedRun], chosen: str | None) -> ListedRun | None:
    """The run whose job measures this machine, or None. The run `chosen` comes first, then the newest running one.

    The load that a simulated run reports is that of its cluster.
    """
    running = [each for each in live if each.status["status"] in WORKING and not each.status["simulated"]]
    first = [each for each in running if each.run.id == chosen]
    return next((each for each in [*first, *running] if each.hardware is not None), None)


def live_summary(live: Iterable[ListedRun]) -> str:
    """How many live runs (a process works on them, or they wait) have each status, and their total remaining time.

    The remaining time of simulated runs is on their own clocks, so it is not in the total.
    """
    live = list(live)
    if not live:
        return "No active runs."
    real = [each.status["remaining_s"] for each in live if not each.status["simulated"]]
    left = [each for each in real if each is not None]
    return ", ".join(counts(live)) + (f", {text.duration(sum(left))} left in total" if left else "")


def cluster_load(listed: ListedRun) -> str:
    """The load of the cluster of a live simulated run, such as `GPUs 97% 640 W`; "" for other runs."""
    figures = (listed.hardware or {}) if listed.status["simulated"] and listed.lives else {}
    busy, watts = figures.get("gpu_fraction"), figures.get("gpu_power_w")
    shown = [f"{busy:.0%}" if busy is not None else "", f"{watts:.0f} W" if watts is not None else ""]
    return f"GPUs {' '.join(filter(None, shown))}" if any(shown) else ""


def _share(figures: Mapping[str, Any], name: str) -> float | None:
    used, total = figures.get(f"{name}_used_bytes"), figures.get(f"{name}_total_bytes")
    return used / total if isinstance(used, int | float) and total else None


def _used_of(figures: Mapping[str, Any], name: str) -> str:
    used, total = figures.get(f"{name}_used_bytes"), figures.get(f"{name}_total_bytes")
    return f"{text.size(used)} of {text.size(total)}" if used is not None and total else ""
