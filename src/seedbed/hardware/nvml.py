"""Read the values of each GPU through NVML, the library of the NVIDIA driver."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

_T = TypeVar("_T")

NO_PACKAGE = "the package nvidia-ml-py is not installed (pip install 'seedbed[gpu]')"
NO_LIBRARY = "the driver's library libnvidia-ml is not installed: no NVIDIA driver is installed"
NO_GPU = "the NVIDIA driver lists no GPU"

# Values of nvmlReturn_t in nvml.h, the same in every version of the library.
UNINITIALIZED, NOT_SUPPORTED, NO_PERMISSION, DRIVER_NOT_LOADED = 1, 3, 4, 9
LIBRARY_NOT_FOUND, FUNCTION_NOT_FOUND, GPU_IS_LOST, RESET_REQUIRED, OPERATING_SYSTEM = 12, 13, 15, 16, 17
VERSION_MISMATCH, NO_DATA, GPU_NOT_FOUND = 18, 21, 28

_DESCRIPTIONS = {
    UNINITIALIZED: "the NVIDIA driver was restarted",
    NOT_SUPPORTED: "this GPU or its driver does not report it",
    NO_PERMISSION: "the driver denies this user permission to read it",
    DRIVER_NOT_LOADED: "the NVIDIA driver is not loaded",
    LIBRARY_NOT_FOUND: NO_LIBRARY,
    FUNCTION_NOT_FOUND: "this driver is too old to report it",
    GPU_IS_LOST: "the GPU is lost: it fell off the bus or stopped answering",
    RESET_REQUIRED: "the GPU needs a reset",
    OPERATING_SYSTEM: "the operating system or the container blocks the GPU",
    VERSION_MISMATCH: "the NVIDIA driver was updated, but the old version is still loaded: restart this machine",
    NO_DATA: "the driver has no measurement of it yet",
}
_LOST = {UNINITIALIZED, DRIVER_NOT_LOADED, GPU_IS_LOST, RESET_REQUIRED, VERSION_MISMATCH, GPU_NOT_FOUND}
"""Codes of NVML errors that concern the whole GPU or driver, not a single value."""
_MIG = "a GPU in MIG mode does not report it"
_NUM_CALLS = 4
"""Number of NVML calls that read the values of a GPU; a GPU that answers none of these calls counts as lost."""


class Gpu(NamedTuple):
    """The values of one GPU. `position` is its place in the list of nvidia-smi and NVML, ordered by PCI bus.

    An unknown value is None, with a reason in `missing`. `used_bytes` excludes memory reserved by the driver.
    """

    position: int
    name: str
    driver: str
    total_bytes: int | None
    used_bytes: int | None
    fraction: float | None
    temperature_c: float | None
    power_w: float | None
    missing: dict[str, str]
    uuid: str = ""


class Gpus(NamedTuple):
    """The GPUs found. If there are none, `reason` says why."""

    found: tuple[Gpu, ...]
    reason: str


class _Card(NamedTuple):
    """A GPU's NVML handle, and its values that do not change while NVML is open."""

    handle: Any
    position: int
    name: str
    uuid: str
    is_mig: bool


class Nvml:
    """NVML, opened by the first `read` and kept open, since opening it takes longer than all reads of a minute.

    `library` replaces the module pynvml in tests. Not thread-safe. No method raises an error: after a failure NVML is
    closed, and the next `read` opens it again.
    """

    def __init__(self, library: Any = None) -> None:
        self._library = library
        self._open = False
        self._cards: tuple[_Card, ...] = ()
        self._driver = ""
        self._failure = ""

    def read(self, uuid: str = "") -> Gpus:
        """Read the values of every GPU that answers, or, with `uuid`, only of that GPU."""
        if self._library is None:
            self._library = _library()
        if self._library is None:
            return Gpus((), NO_PACKAGE)
        try:
            if not self._open:
                self._enter()
        except self._library.NVMLError as error:
            self.close()
            return Gpus((), describe_error(error))
        reason, found = self._failure or NO_GPU, []
        for card in self._cards:
            if uuid not in ("", card.uuid):
                continue
            try:
                found.append(self._read(card))
            except self._library.NVMLError as error:
                reason = describe_error(error)
        if not found:
            self.close()
        return Gpus(tuple(found), "" if found else reason)

    def close(self) -> None:
        """Close the library; a later `read` opens it again."""
        if self._open:
            with contextlib.suppress(self._library.NVMLError):
                self._library.nvmlShutdown()
        self._open, self._cards = False, ()

    def _enter(self) -> None:
        """Open NVML and list the GPUs that this process may open (in a container, there may be others)."""
        self._library.nvmlInit()
        self._open = True
        self._driver = _text(self._library.nvmlSystemGetDriverVersion())
        self._failure = ""
        cards = []
        for position in range(self._library.nvmlDeviceGetCount()):
            try:
                cards.append(self._card(position))
            except self._library.NVMLError as error:
                self._failure = describe_error(error)
        self._cards = tuple(cards)

    def _card(self, position: int) -> _Card:
        handle = self._library.nvmlDeviceGetHandleByIndex(position)
        name = _text(self._library.nvmlDeviceGetName(handle))
        uuid = _text(self._library.nvmlDeviceGetUUID(handle))
        is_mig = False
        with contextlib.suppress(self._library.NVMLError):
            is_mig = bool(self._library.nvmlDeviceGetMigMode(handle)[0])
        return _Card(handle, position, name, uuid, is_mig)

    def _read(self, card: _Card) -> Gpu:
        """Read the values of one GPU. Raises NVMLError if the GPU is lost or reports no values."""
        library = self._library
        missing: dict[str, str] = {}

        def ask_for(name: str, call: Callable[[], _T]) -> _T | None:
            try:
                return call()
            except library.NVMLError as error:
                if error.value in _LOST or len(missing) == _NUM_CALLS - 1:
                    raise
                missing[name] = _MIG if card.is_mig and error.value == NOT_SUPPORTED else describe_error(error)
                return None

        fraction = ask_for("gpu_fraction", lambda: library.nvmlDeviceGetUtilizationRates(card.handle).gpu / 100)
        temperature_c = ask_for("gpu_temperature_c", lambda: float(library.nvmlDeviceGetTemperature(card.handle, 0)))
        power_w = ask_for("gpu_power_w", lambda: library.nvmlDeviceGetPowerUsage(card.handle) / 1000)
        memory = ask_for("gpu_used_bytes", lambda: self._memory(card.handle))
        if memory is None:
            missing["gpu_total_bytes"] = missing["gpu_used_bytes"]
        return Gpu(
            position=card.position,
            name=card.name,
            driver=self._driver,
            total_bytes=None if memory is None else memory[0],
            used_bytes=None if memory is None else memory[1],
            fraction=fraction,
            temperature_c=temperature_c,
            power_w=power_w,
            missing=missing,
            uuid=card.uuid,
        )

    def _memory(self, handle: Any) -> tuple[int, int]:
        """The total and used bytes of a GPU.

        The older NVML call, used here only if the newer one fails, counts memory reserved by the driver as used;
        nvidia-smi does not.
        """
        try:
            memory = self._library.nvmlDeviceGetMemoryInfo(handle, version=self._library.nvmlMemory_v2)
        except self._library.NVMLError as error:
            if error.value in _LOST:
                raise
            memory = self._library.nvmlDeviceGetMemoryInfo(handle)
        return int(memory.total), int(memory.used)


def _library() -> Any:
    """The module pynvml; None if it is not installed, or is too old (before 2022) to have the functions needed here."""
    try:
        import pynvml
    except ImportError:
        return None
    return pynvml if hasattr(pynvml, "nvmlMemory_v2") else None


def describe_error(error: Any) -> str:
    """The text to show for an NVMLError."""
    return _DESCRIPTIONS.get(error.value) or f"the NVIDIA driver says: {error}"


def _text(value: str | bytes) -> str:
    """A name from NVML as a string; older packages called pynvml return it as bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
