"""NVIDIA GPUs: NVML first, else nvidia-smi, else why there are none; and which one CUDA means. Knows no torch."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from seedbed.hardware.nvml import NO_LIBRARY, NO_PACKAGE, Gpu, Gpus, Nvml

__all__ = ["Gpu", "Gpus", "Nvml", "Physical", "Watch", "ask_smi", "parse_line", "physical", "probe"]

_QUERY = "index,name,driver_version,memory.total,memory.used,utilization.gpu,temperature.gpu,power.draw,uuid"
_TIMEOUT_S = 10.0
_RETRY_S = 30.0
"""How long a way of asking that failed is left alone: starting nvidia-smi each second to hear the same costs a core."""
_MACOS = "macOS tells no GPU figures to programs"
_NO_SMI = "nvidia-smi is not installed: no NVIDIA driver is here"
_MIXED = (
    "GPUs of several kinds are here, which CUDA numbers from fast to slow and nvidia-smi by bus: "
    "CUDA_DEVICE_ORDER=PCI_BUS_ID makes them agree"
)


class Physical(NamedTuple):
    """The GPU that a CUDA index means: its position in nvidia-smi's list, or None and the reason."""

    position: int | None
    uuid: str
    reason: str


def probe(command: str = "nvidia-smi", nvml: Nvml | None = None) -> Gpus:
    """Ask once, through NVML (some 30 ms) or nvidia-smi. Never raises: the reason is part of the answer."""
    if sys.platform == "darwin":
        return Gpus((), _MACOS)
    nvml = nvml or Nvml()
    told = nvml.look()
    nvml.close()
    if told.found:
        return told
    said = ask_smi(command)
    return said if said.found else Gpus((), _neither(told.reason, said.reason))


def _neither(nvml: str, smi: str) -> str:
    """One reason out of two: that of NVML where it was there to fail, since it knows more."""
    if nvml in (NO_PACKAGE, NO_LIBRARY):
        return smi
    return nvml if smi in (_NO_SMI, nvml) else f"{nvml}; {smi}"


def ask_smi(command: str = "nvidia-smi") -> Gpus:
    """Ask nvidia-smi once (some 20 to 50 ms where it is there, seconds where no process keeps the driver awake)."""
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
    # Lines count even where it fails in the end: one lost GPU should not hide the others.
    if found:
        return Gpus(found, "")
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip().splitlines()
        return Gpus((), f"nvidia-smi failed: {said[0] if said else f'exit status {done.returncode}'}")
    return Gpus((), "nvidia-smi lists no GPU")


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
        uuid=parts[8] if parts[8].startswith("GPU-") else "",
    )


def physical(index: int, visible: str, found: Sequence[Gpu], order: str = "") -> Physical:
    """The GPU among `found` that CUDA calls `index`.

    `visible` and `order` are the texts of CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER, empty where they are not set. An
    empty CUDA_VISIBLE_DEVICES hides every GPU, so whoever has an index to ask about has not set it so.
    Source: CUDA C++ Programming Guide, "CUDA Environment Variables".
    """
    entries = visible.split(",") if visible.strip() else [str(number) for number in range(len(found))]
    meant = Physical(None, "", f"there is no cuda:{index}: {_listed(visible, len(found))}")
    if not 0 <= index < len(entries):
        return meant
    # CUDA reads no further than the first entry that means nothing, so those before it count too.
    for entry in entries[: index + 1]:
        meant = _entry(entry.strip(), found, order)
        if meant.position is None:
            break
    return meant


def _listed(visible: str, count: int) -> str:
    if visible.strip():
        return f"CUDA_VISIBLE_DEVICES is {visible}"
    return f"the driver lists {count} GPU{'' if count == 1 else 's'}"


def _entry(entry: str, found: Sequence[Gpu], order: str) -> Physical:
    """The GPU that one entry of CUDA_VISIBLE_DEVICES means, or why it means none that can be told."""
    if entry.upper().startswith("MIG-"):
        return Physical(None, "", f"CUDA_VISIBLE_DEVICES names {entry}, a part of a GPU, and MIG is not followed")
    if entry.upper().startswith("GPU-"):
        named = [each for each in found if each.uuid.lower().startswith(entry.lower())]
        if len(named) == 1:
            return Physical(named[0].position, named[0].uuid, "")
        many = "more than one" if named else "no"
        return Physical(None, "", f"CUDA_VISIBLE_DEVICES names {entry}, which is {many} GPU here")
    # CUDA reads a number as C does: it stops at the first character that is no digit.
    number = re.match(r"\+?(\d+)", entry)
    if number is None:
        ends = f"CUDA_VISIBLE_DEVICES ends at {entry or 'an empty entry'}, which hides what comes after it"
        return Physical(None, "", ends)
    rank = int(number[1])
    if rank >= len(found):
        return Physical(None, "", f"CUDA_VISIBLE_DEVICES names GPU {rank}, and {_listed('', len(found))}")
    if order.strip().upper() != "PCI_BUS_ID" and len({each.name for each in found}) > 1:
        return Physical(None, "", _MIXED)
    # By rank among those that answer: in a container CUDA does not count a GPU that it may not open.
    meant = sorted(found, key=lambda each: each.position)[rank]
    return Physical(meant.position, meant.uuid, "")


class Watch:
    """One GPU, looked at again and again: through NVML, kept open, or nvidia-smi where that fails.

    `index` is a position in nvidia-smi's list; with the text of CUDA_VISIBLE_DEVICES as `visible`, maybe empty, and that
    of CUDA_DEVICE_ORDER as `order`, it is CUDA's. Once found, a GPU is known by its UUID, since a restart of the driver
    may number anew. Nothing raises; a way of asking that failed is tried again after half a minute.
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

    def look(self) -> Gpus:
        """The GPU under watch as it is now, alone in `found`; or none, and the reason."""
        if sys.platform == "darwin":
            return Gpus((), _MACOS)
        if self._failed and self._clock() < self._retry_s:
            return Gpus((), self._failed)
        seen = self._pick(self._ask())
        if seen.found:
            self._known, self._failed = seen.found[0], ""
        else:
            self._failed, self._retry_s = seen.reason, self._clock() + _RETRY_S
        return seen

    def close(self) -> None:
        """Let go of NVML."""
        self._nvml.close()

    def _ask(self) -> Gpus:
        if not self._nvml_failed or self._clock() >= self._nvml_retry_s:
            told = self._nvml.look(self._known.uuid if self._known else "")
            if told.found:
                self._nvml_failed = ""
                return told
            self._nvml_failed, self._nvml_retry_s = told.reason, self._clock() + _RETRY_S
        said = ask_smi(self._command)
        return said if said.found else Gpus((), _neither(self._nvml_failed, said.reason))

    def _pick(self, seen: Gpus) -> Gpus:
        """The GPU under watch among those seen."""
        if not seen.found:
            return seen
        if self._known is not None and self._known.uuid:
            chosen = [each for each in seen.found if each.uuid == self._known.uuid]
            gone = f"the {self._known.name} that was GPU {self._known.position} is no longer listed"
            return Gpus(tuple(chosen), "" if chosen else gone)
        position, reason = self._index, f"there is no GPU {self._index}: {_listed('', len(seen.found))}"
        if self._visible is not None:
            meant = physical(self._index, self._visible, seen.found, self._order)
            if meant.position is None:
                return Gpus((), meant.reason)
            position = meant.position
        chosen = [each for each in seen.found if each.position == position]
        return Gpus(tuple(chosen), "" if chosen else reason)
