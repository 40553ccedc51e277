"""NVIDIA GPUs as nvidia-smi sees them, or why there are none. Knows no torch, which may see fewer."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import NamedTuple

_QUERY = "index,name,driver_version,memory.total,memory.used,utilization.gpu,temperature.gpu,power.draw"
_TIMEOUT_S = 10.0


class Gpu(NamedTuple):
    """One GPU, by its position in nvidia-smi's list. A figure that is not told is None, its reason in `missing`."""

    position: int
    name: str
    driver: str
    total_bytes: int | None
    used_bytes: int | None
    fraction: float | None
    temperature_c: float | None
    power_w: float | None
    missing: dict[str, str]


class Gpus(NamedTuple):
    """The GPUs found; `reason` says why there are none."""

    found: tuple[Gpu, ...]
    reason: str


def probe(command: str = "nvidia-smi") -> Gpus:
    """Ask nvidia-smi once (some 20 to 50 ms where it is there). Never raises: the reason is part of the answer."""
    if sys.platform == "darwin":
        return Gpus((), "macOS tells no GPU figures to programs")
    path = shutil.which(command)
    if path is None:
        return Gpus((), "nvidia-smi is not installed: no NVIDIA driver is here")
    try:
        done = subprocess.run(
            [path, f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Gpus((), f"nvidia-smi did not answer within {_TIMEOUT_S:.0f} seconds")
    except OSError as error:
        return Gpus((), f"nvidia-smi cannot be run: {error.strerror}")
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip().splitlines()
        return Gpus((), f"nvidia-smi failed: {said[0] if said else f'exit status {done.returncode}'}")
    found = tuple(gpu for line in done.stdout.splitlines() if (gpu := parse_line(line)) is not None)
    return Gpus(found, "" if found else "nvidia-smi lists no GPU")


def parse_line(line: str) -> Gpu | None:
    """One line of nvidia-smi's csv as a Gpu; None for a line that is none."""
    parts = [part.strip() for part in line.split(",")]
    if len(parts) != len(_QUERY.split(",")) or not parts[0].isdigit():
        return None
    missing: dict[str, str] = {}

    def figure(position: int, name: str, scale: float) -> float | None:
        try:
            return float(parts[position]) * scale
        except ValueError:
            missing[name] = f"the driver says {parts[position] or 'nothing'}"
            return None

    total, used = figure(3, "gpu_total_bytes", 2**20), figure(4, "gpu_used_bytes", 2**20)
    return Gpu(
        position=int(parts[0]),
        name=parts[1],
        driver=parts[2],
        total_bytes=None if total is None else int(total),
        used_bytes=None if used is None else int(used),
        fraction=figure(5, "gpu_fraction", 0.01),
        temperature_c=figure(6, "gpu_temperature_c", 1.0),
        power_w=figure(7, "gpu_power_w", 1.0),
        missing=missing,
    )
