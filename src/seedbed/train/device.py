"""Chooses the device and the precision of a run from the config and the hardware."""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from seedbed.config.device_names import FORMS, may_name_gpu
from seedbed.config.schema import TrainConfig
from seedbed.errors import SeedbedError, UsageError
from seedbed.events import Message
from seedbed.hardware import cpu, gpu, memory

_BF16_CAPABILITY = (8, 0)
# malloc.h's M_MMAP_THRESHOLD, M_TRIM_THRESHOLD and M_TOP_PAD, in bytes.
_ALLOCATOR = ((-3, 64 << 20), (-1, 256 << 20), (-2, 16 << 20))


class Device(NamedTuple):
    """A device to train on: torch's device, the name of the hardware, and the kind (cpu, cuda or mps)."""

    torch_device: torch.device
    name: str
    kind: str

    def multiplies_fast(self, precision: str) -> bool:
        """Whether matrix products in `precision` are fast: on a GPU, or in bf16 on a CPU (see `choose_precision`)."""
        return self.kind != "cpu" or precision == "bf16"


class AvailableDevices(NamedTuple):
    """The devices that torch can use on this machine. `no_cuda` is the reason why there is no CUDA GPU."""

    cpu: cpu.Cpu
    cuda_names: tuple[str, ...] = ()
    cuda_capabilities: tuple[tuple[int, int], ...] = ()
    mps: bool = False
    no_cuda: str = ""


def available_devices() -> AvailableDevices:
    """Detect the devices that torch can use."""
    names: tuple[str, ...] = ()
    capabilities: tuple[tuple[int, int], ...] = ()
    reason = ""
    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        names = tuple(torch.cuda.get_device_name(index) for index in range(count))
        capabilities = tuple(torch.cuda.get_device_capability(index) for index in range(count))
    elif torch.version.cuda is None:
        reason = f"this torch ({torch.__version__}) is built without CUDA"
    else:
        seen = gpu.probe()
        reason = (
            seen.reason or f"torch {torch.__version__} cannot use the {seen.found[0].name}; its driver may be too old"
        )
    return AvailableDevices(cpu.probe(), names, capabilities, torch.backends.mps.is_available(), reason)


def choose_device(
    asked: str, strict: bool, warn: Callable[[Message], None], here: AvailableDevices | None = None
) -> Device:
    """The device that `asked` names: auto, cpu, gpu (the best one), cuda, cuda:N, mps, or part of a GPU's name.

    If this machine lacks it: SeedbedError if `strict`, else a warning and the best device.
    Raises UsageError for a text that cannot be a device.
    """
    here = available_devices() if here is None else here
    wanted = asked.strip().lower()
    if wanted in ("", "auto"):
        return _best(here)
    if wanted == "cpu":
        return _cpu(here)
    found, problem = _find(wanted, asked, here)
    if found is not None:
        return found
    best = _best(here)
    if strict:
        others = ", ".join(f"{device.torch_device} ({device.name})" for device in _all_devices(here))
        raise SeedbedError(
            f"{problem} Available: {others}.", "Choose one of these with --device, or remove --strict-device."
        )
    warn(
        Message(
            level="warning",
            code="device",
            text=f"{problem} Training runs on {best.name} ({best.torch_device}) instead.",
            why="The requested device is not available, and train.strict_device is off.",
            hint="Set train.device to an available device, or use --strict-device to fail instead.",
        )
    )
    return best


def choose_precision(asked: str, device: Device, here: AvailableDevices | None = None) -> str:
    """The precision to train in: fp32, bf16 or fp16, as `asked`.

    `auto` is bf16 if the device computes it fast, fp16 on older CUDA GPUs, else fp32. Raises SeedbedError if the device
    does not support the requested precision.
    """
    here = available_devices() if here is None else here
    if device.kind == "cuda":
        capability = here.cuda_capabilities[device.torch_device.index or 0]
        if asked == "auto":
            return "bf16" if capability >= _BF16_CAPABILITY else "fp16"
        if asked == "bf16" and capability < _BF16_CAPABILITY:
            raise SeedbedError(
                f"{device.name} has no bf16: its compute capability is {capability[0]}.{capability[1]}, and 8.0 is needed.",
                "Set train.precision to fp16, fp32 or auto.",
            )
        return asked
    if device.kind == "mps":
        return "fp32" if asked == "auto" else asked
    if asked == "auto":
        return "bf16" if here.cpu.fast_bf16 and _onednn() else "fp32"
    if asked == "fp16":
        raise SeedbedError(
            "Training in fp16 is for GPUs; this run is on a CPU.", "Set train.precision to fp32, bf16 or auto."
        )
    return asked


def warn_of_software_bf16(
    precision: str, device: Device, warn: Callable[[Message], None], here: AvailableDevices | None = None
) -> None:
    """Call `warn` if bf16 is emulated in software, on a CPU without bf16 instructions."""
    processor = (here or available_devices()).cpu
    if device.kind != "cpu" or precision != "bf16" or not processor.emulates_bf16:
        return
    warn(
        Message(
            level="warning",
            code="precision",
            text=f"{processor.name} has no bf16 instructions, so bf16 is emulated in software.",
            why="That is less accurate than fp32, and slower: up to 100 times on a CPU with only AVX2.",
            hint="Start a new run with train.precision = 'fp32' or 'auto'.",
        )
    )


def decide_device(
    options: TrainConfig, recorded: Callable[[str, str], Any], emit: Callable[[Message], None]
) -> tuple[Device, str]:
    """Choose the device and precision of a training job, and set its threads.

    `recorded(name, device_type)` returns the precision or the threads that an earlier session chose on a device of this
    type, or None.
    """
    device = choose_device(options.device, options.strict_device, emit)
    kind = device.torch_device.type
    if kind == "cpu":
        reuse_freed_memory()
    torch.set_num_threads(options.threads or recorded("threads", kind) or default_threads())
    precision = recorded("precision", kind) or choose_precision(options.precision, device)
    warn_of_software_bf16(precision, device, emit)
    return device, precision


def default_threads() -> int:
    """The default number of threads: torch's choice, limited by a container's CPU quota."""
    return min(torch.get_num_threads(), cpu.usable_cores())


def free_memory_bytes(device: Device) -> int:
    """Free memory on the device, in bytes."""
    if device.kind == "cuda":
        return int(torch.cuda.mem_get_info(device.torch_device)[0])
    # An Apple GPU shares the machine's memory.
    return memory.available_bytes()


def reuse_freed_memory() -> bool:
    """Make glibc keep freed memory for the tensors of the next step; returns whether the C library supports it.

    By default, glibc returns every larger buffer to the system, which has to clear its pages for the next step; that took
    11-16 % of a training step on two cores. The kept memory is bounded: the peak grew by 2 %. See mallopt(3).
    """
    library = ctypes.CDLL(None)
    if not sys.platform.startswith("linux") or not hasattr(library, "mallopt"):
        return False
    return all(library.mallopt(option, value) == 1 for option, value in _ALLOCATOR)


def _onednn() -> bool:
    """Whether torch has oneDNN, which bf16 on CPUs needs to be fast."""
    return bool(torch.backends.mkldnn.is_available())


def _find(wanted: str, asked: str, here: AvailableDevices) -> tuple[Device | None, str]:
    """Find the device that `wanted` names; else None, and a sentence that says why there is none."""
    if wanted == "mps":
        return (_mps(here), "") if here.mps else (None, "This machine has no Apple GPU (mps).")
    if wanted == "gpu":
        best = _best(here)
        return (best, "") if best.kind != "cpu" else (None, f"No GPU is available: {here.no_cuda or 'none was found'}.")
    cuda = re.fullmatch(r"cuda(?::(\d+))?", wanted)
    if cuda:
        if not here.cuda_names:
            return None, f"No CUDA GPU is available: {here.no_cuda}."
        index = int(cuda[1] or 0)
        if index >= len(here.cuda_names):
            return None, f"There is no {wanted}: the last CUDA GPU is cuda:{len(here.cuda_names) - 1}."
        return _cuda(index, here), ""
    if not may_name_gpu(wanted):
        raise UsageError(f"{asked!r} is not a device.", f"Use {FORMS}.")
    for index, name in enumerate(here.cuda_names):
        if wanted in name.lower():
            return _cuda(index, here), ""
    if here.mps and wanted in here.cpu.name.lower():
        return _mps(here), ""
    reason = f" ({here.no_cuda})" if here.no_cuda else ""
    return None, f"No GPU of this machine has {asked!r} in its name{reason}."


def _best(here: AvailableDevices) -> Device:
    return _all_devices(here)[0]


def _all_devices(here: AvailableDevices) -> list[Device]:
    """All devices of this machine, the best first."""
    gpus = [_cuda(index, here) for index in range(len(here.cuda_names))]
    return [*gpus, *([_mps(here)] if here.mps else []), _cpu(here)]


def _cuda(index: int, here: AvailableDevices) -> Device:
    return Device(torch.device("cuda", index), here.cuda_names[index], "cuda")


def _mps(here: AvailableDevices) -> Device:
    return Device(torch.device("mps"), f"{here.cpu.name} GPU", "mps")


def _cpu(here: AvailableDevices) -> Device:
    return Device(torch.device("cpu"), here.cpu.name, "cpu")
