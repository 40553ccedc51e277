"""Read NVIDIA GPUs through NVML, or nvidia-smi if NVML fails, and map CUDA indices to GPUs. Imports no torch."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from seedbed.hardware.nvml import NO_LIBRARY, NO_PACKAGE, Gpu, Gpus, Nvml

__all__ = ["Gpu", "GpuMonitor", "Gpus", "Nvml", "ResolvedGpu", "ask_smi", "parse_line", "probe", "resolve_index"]

_QUERY = "index,name,driver_version,memory.total,memory.used,utilization.gpu,temperature.gpu,power.draw,uuid"
_TIMEOUT_S = 10.0
_RETRY_S = 30.0
"""Seconds before NVML or nvidia-smi is tried again after a failure: nvidia-smi every second would use a whole core."""
_MACOS = "macOS reports no GPU values to programs"
_NO_SMI = "nvidia-smi is not installed: no NVIDIA driver is installed"
_MIXED = (
    "this machine has different GPUs, which CUDA numbers by speed and nvidia-smi by bus: "
    "set CUDA_DEVICE_ORDER=PCI_BUS_ID, so that both use the same numbers"
)


class ResolvedGpu(NamedTuple):
    """The GPU with a CUDA index: its position in nvidia-smi's list and its UUID; or None, "" and why there is none."""

    position: int | None
    uuid: str
    reason: str


def probe(command: str = "nvidia-smi", nvml: Nvml | None = None) -> Gpus:
    """Read the values of all GPUs once, through NVML (about 30 ms) or nvidia-smi. Never raises an error.

    If no GPU is found, the result has the reason.
    """
    if sys.platform == "darwin":
        return Gpus((), _MACOS)
    nvml = nvml or Nvml()
    from_nvml = nvml.read()
    nvml.close()
    if from_nvml.found:
        return from_nvml
    from_smi = ask_smi(command)
    return from_smi if from_smi.found else Gpus((), _combined_reason(from_nvml.reason, from_smi.reason))


def _combined_reason(nvml: str, smi: str) -> str:
    """Combine the reasons why NVML and nvidia-smi found no GPU.

    NVML's comes first if NVML is installed, since it is more precise.
    """
    if nvml in (NO_PACKAGE, NO_LIBRARY):
        return smi
    return nvml if smi in (_NO_SMI, nvml) else f"{nvml}; {smi}"


def ask_smi(command: str = "nvidia-smi") -> Gpus:
    """Read the values of all GPUs by running nvidia-smi once.

    That takes 20 to 50 ms, or seconds if no process keeps the driver loaded.
    """
    path = shutil.which(command)
    if path is None:
        return Gpus((), _NO_SMI)
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
    found = tuple(gpu for line in done.stdout.splitlines() if (gpu := parse_line(line)) is not None)
    # Use the lines even if nvidia-smi failed after them: one lost GPU should not hide the others.
    if found:
        return Gpus(found, "")
    if done.returncode != 0:
        output = (done.stdout + done.stderr).strip().splitlines()
        return Gpus((), f"nvidia-smi failed: {output[0] if output else f'exit status {done.returncode}'}")
    return Gpus((), "nvidia-smi lists no GPU")


def parse_line(line: str) -> Gpu | None:
    """Parse one line of nvidia-smi's CSV output, which has the values of one GPU; None for any other line."""
    parts = [part.strip() for part in line.split(",")]
    if len(parts) != len(_QUERY.split(",")) or not parts[0].isdigit():
        return None
    missing: dict[str, str] = {}

    def figure(position: int, name: str, scale: float) -> float | None:
        try:
            return float(parts[position]) * scale
        except ValueError:
            missing[name] = f"the driver reports {parts[position] or 'nothing'}"
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
        uuid=parts[8] if parts[8].startswith("GPU-") else "",
    )


def resolve_index(index: int, visible: str, found: Sequence[Gpu], order: str = "") -> ResolvedGpu:
    """The GPU among `found` with CUDA index `index`.

    `visible` and `order` are the values of CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER, empty if they are not set. (If
    CUDA_VISIBLE_DEVICES is set but empty, CUDA has no GPU and no index.)
    Source: CUDA C++ Programming Guide, "CUDA Environment Variables".
    """
    entries = visible.split(",") if visible.strip() else [str(number) for number in range(len(found))]
    resolved = ResolvedGpu(None, "", f"there is no cuda:{index}: {_listed(visible, len(found))}")
    if not 0 <= index < len(entries):
        return resolved
    # CUDA ignores everything after the first invalid entry, so earlier entries are checked, too.
    for entry in entries[: index + 1]:
        resolved = _entry(entry.strip(), found, order)
        if resolved.position is None:
            break
    return resolved


def _listed(visible: str, count: int) -> str:
    if visible.strip():
        return f"CUDA_VISIBLE_DEVICES is {visible}"
    return f"the driver lists {count} GPU{'' if count == 1 else 's'}"


def _entry(entry: str, found: Sequence[Gpu], order: str) -> ResolvedGpu:
    """The GPU among `found` that one entry of CUDA_VISIBLE_DEVICES names, or the reason why there is none."""
    if entry.upper().startswith("MIG-"):
        return ResolvedGpu(None, "", f"CUDA_VISIBLE_DEVICES contains {entry}, a MIG instance, which is not supported")
    if entry.upper().startswith("GPU-"):
        named = [each for each in found if each.uuid.lower().startswith(entry.lower())]
        if len(named) == 1:
            return ResolvedGpu(named[0].position, named[0].uuid, "")
        many = "more than one" if named else "no"
        return ResolvedGpu(None, "", f"CUDA_VISIBLE_DEVICES contains {entry}, which matches {many} GPU here")
    # CUDA parses a number as C does: up to the first character that is not a digit.
    number = re.match(r"\+?(\d+)", entry)
    if number is None:
        ignored = f"CUDA_VISIBLE_DEVICES contains {entry or 'an empty entry'}: CUDA ignores it and all later entries"
        return ResolvedGpu(None, "", ignored)
    rank = int(number[1])
    if rank >= len(found):
        return ResolvedGpu(None, "", f"CUDA_VISIBLE_DEVICES contains GPU {rank}, but {_listed('', len(found))}")
    if order.strip().upper() != "PCI_BUS_ID" and len({each.name for each in found}) > 1:
        return ResolvedGpu(None, "", _MIXED)
    # Count only the GPUs that answer: in a container, CUDA does not count GPUs that it may not open.
    resolved = sorted(found, key=lambda each: each.position)[rank]
    return ResolvedGpu(resolved.position, resolved.uuid, "")


class GpuMonitor:
    """Reads one GPU repeatedly, through NVML, which stays open, or through nvidia-smi if NVML fails.

    `index` is a position in nvidia-smi's list. If `visible` (the value of CUDA_VISIBLE_DEVICES, possibly empty) is
    given, `index` is a CUDA index, and `order` is the value of CUDA_DEVICE_ORDER. After the first read, the GPU is
    identified by its UUID, since a restart of the driver may change positions. No method raises an error. NVML or
    nvidia-smi is tried again half a minute after it failed.
    """

    def __init__(
        self,
        index: int,
        visible: str | None = None,
        order: str = "",
        *,
        nvml: Nvml | None = None,
        command: str = "nvidia-smi",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._index, self._visible, self._order = index, visible, order
        self._nvml = nvml or Nvml()
        self._command = command
        self._clock = clock
        self._known: Gpu | None = None
        self._nvml_failed = ""
        self._nvml_retry_s = 0.0
        self._failed = ""
        self._retry_s = 0.0

    def read(self) -> Gpus:
        """Read the current values of the GPU: `found` has only this GPU, or nothing, with the reason in `reason`."""
        if sys.platform == "darwin":
            return Gpus((), _MACOS)
        if self._failed and self._clock() < self._retry_s:
            return Gpus((), self._failed)
        gpus = self._pick(self._ask())
        if gpus.found:
            self._known, self._failed = gpus.found[0], ""
        else:
            self._failed, self._retry_s = gpus.reason, self._clock() + _RETRY_S
        return gpus

    def close(self) -> None:
        """Close NVML."""
        self._nvml.close()

    def _ask(self) -> Gpus:
        if not self._nvml_failed or self._clock() >= self._nvml_retry_s:
            from_nvml = self._nvml.read(self._known.uuid if self._known else "")
            if from_nvml.found:
                self._nvml_failed = ""
                return from_nvml
            self._nvml_failed, self._nvml_retry_s = from_nvml.reason, self._clock() + _RETRY_S
        from_smi = ask_smi(self._command)
        return from_smi if from_smi.found else Gpus((), _combined_reason(self._nvml_failed, from_smi.reason))

    def _pick(self, gpus: Gpus) -> Gpus:
        """The result for the monitored GPU, selected from the result for all GPUs."""
        if not gpus.found:
            return gpus
        if self._known is not None and self._known.uuid:
            chosen = [each for each in gpus.found if each.uuid == self._known.uuid]
            gone = f"the {self._known.name} that was GPU {self._known.position} is no longer listed"
            return Gpus(tuple(chosen), "" if chosen else gone)
        position, reason = self._index, f"there is no GPU {self._index}: {_listed('', len(gpus.found))}"
        if self._visible is not None:
            resolved = resolve_index(self._index, self._visible, gpus.found, self._order)
            if resolved.position is None:
                return Gpus((), resolved.reason)
            position = resolved.position
        chosen = [each for each in gpus.found if each.position == position]
        return Gpus(tuple(chosen), "" if chosen else reason)
