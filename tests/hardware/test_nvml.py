"""NVML when it works, reports only some figures, denies access, loses a GPU between two reads, or is not installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import patience
from seedbed.hardware import nvml
from seedbed.hardware.nvml import Nvml


class FakeError(Exception):
    """Like pynvml's NVMLError: `value` is the library's error code."""

    def __init__(self, value: int) -> None:
        super().__init__(f"code {value}")
        self.value = value


class FakeLibrary:
    """The pynvml functions that Seedbed calls, for two GPUs. `failing` maps a function's name to its error code.

    A name with the position of a GPU fails for that GPU alone: `nvmlDeviceGetPowerUsage 1`.
    """

    NVMLError = FakeError
    nvmlMemory_v2 = 0x02000028  # noqa: N815  # pynvml's name

    def __init__(self, **failing: int) -> None:
        self.failing = failing
        self.opened = self.closed = 0
        self.is_mig = False

    def _raise_if_failing(self, name: str, handle: int | None = None) -> None:
        for failing in (name, f"{name} {handle}"):
            if failing in self.failing:
                raise FakeError(self.failing[failing])

    def __getattr__(self, name: str) -> Callable[..., Any]:
        answers: dict[str, Callable[..., Any]] = {
            "nvmlSystemGetDriverVersion": lambda: "550.54.15",
            "nvmlDeviceGetCount": lambda: 2,
            "nvmlDeviceGetHandleByIndex": lambda position: position,
            "nvmlDeviceGetName": lambda handle: b"NVIDIA A30" if handle else "NVIDIA H100 PCIe",
            "nvmlDeviceGetUUID": lambda handle: f"GPU-{handle}",
            "nvmlDeviceGetMigMode": lambda handle: [int(self.is_mig), 0],
            "nvmlDeviceGetUtilizationRates": lambda handle: SimpleNamespace(gpu=37 + handle, memory=5),
            "nvmlDeviceGetTemperature": lambda handle, sensor: 45 + handle,
            "nvmlDeviceGetPowerUsage": lambda handle: 112_500 + handle,
        }
        if name not in answers:
            raise AttributeError(name)

        def answer(*arguments: int) -> Any:
            self._raise_if_failing(name, *arguments[:1])
            return answers[name](*arguments)

        return answer

    def nvmlInit(self) -> None:  # noqa: N802  # pynvml's name
        self._raise_if_failing("nvmlInit")
        self.opened += 1

    def nvmlShutdown(self) -> None:  # noqa: N802  # pynvml's name
        self.closed += 1
        self._raise_if_failing("nvmlShutdown")

    def nvmlDeviceGetMemoryInfo(self, handle: int, version: int | None = None) -> SimpleNamespace:  # noqa: N802
        self._raise_if_failing("nvmlDeviceGetMemoryInfo", handle)
        if version:
            self._raise_if_failing("nvmlDeviceGetMemoryInfo_v2", handle)
        return SimpleNamespace(total=24 << 30, used=(1 << 30) if version else (1 << 30) + (600 << 20))


def test_nvml_figures_are_in_bytes_fractions_degrees_and_watts() -> None:
    seen = Nvml(FakeLibrary()).read()
    assert seen.reason == ""
    first, second = seen.found
    assert (first.position, first.name, first.driver, first.uuid) == (0, "NVIDIA H100 PCIe", "550.54.15", "GPU-0")
    assert (first.total_bytes, first.used_bytes) == (24 << 30, 1 << 30)
    assert first.fraction == pytest.approx(0.37)
    assert (first.temperature_c, first.power_w) == (45.0, 112.5)
    assert first.missing == {}
    assert (second.position, second.name) == (1, "NVIDIA A30")


def test_nvml_is_opened_once_for_many_reads_and_closed_once() -> None:
    library = FakeLibrary()
    reader = Nvml(library)
    for _ in range(5):
        assert reader.read("GPU-1").found[0].position == 1
    assert (library.opened, library.closed) == (1, 0)
    reader.close()
    reader.close()
    assert library.closed == 1
    assert reader.read().found
    assert library.opened == 2


@pytest.mark.parametrize(
    ("failing", "names"),
    [
        ("nvmlDeviceGetPowerUsage", {"gpu_power_w"}),
        ("nvmlDeviceGetUtilizationRates", {"gpu_fraction"}),
        ("nvmlDeviceGetTemperature", {"gpu_temperature_c"}),
        ("nvmlDeviceGetMemoryInfo", {"gpu_used_bytes", "gpu_total_bytes"}),
    ],
)
@pytest.mark.parametrize("code", [nvml.NOT_SUPPORTED, nvml.NO_PERMISSION, nvml.NO_DATA, nvml.FUNCTION_NOT_FOUND, 999])
def test_a_missing_figure_has_a_reason_and_the_others_are_kept(failing: str, names: set[str], code: int) -> None:
    first = Nvml(FakeLibrary(**{failing: code})).read().found[0]
    figures = {
        "gpu_power_w": first.power_w,
        "gpu_fraction": first.fraction,
        "gpu_temperature_c": first.temperature_c,
        "gpu_used_bytes": first.used_bytes,
        "gpu_total_bytes": first.total_bytes,
    }
    assert {name for name, value in figures.items() if value is None} == names == set(first.missing)
    assert all(first.missing.values())


def test_the_reason_for_a_missing_figure_names_mig_on_a_split_gpu() -> None:
    library = FakeLibrary(nvmlDeviceGetUtilizationRates=nvml.NOT_SUPPORTED)
    assert "MIG" not in Nvml(library).read().found[0].missing["gpu_fraction"]
    library.is_mig = True
    assert "MIG" in Nvml(library).read().found[0].missing["gpu_fraction"]


def test_memory_is_read_from_an_old_driver() -> None:
    first = Nvml(FakeLibrary(nvmlDeviceGetMemoryInfo_v2=nvml.FUNCTION_NOT_FOUND)).read().found[0]
    assert first.total_bytes == 24 << 30
    assert "gpu_used_bytes" not in first.missing


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (nvml.LIBRARY_NOT_FOUND, "libnvidia-ml is not installed"),
        (nvml.DRIVER_NOT_LOADED, "driver is not loaded"),
        (nvml.NO_PERMISSION, "permission"),
        (nvml.VERSION_MISMATCH, "restart this machine"),
        (999, "code 999"),
    ],
)
def test_a_library_that_does_not_open_gives_the_reason(code: int, reason: str) -> None:
    library = FakeLibrary(nvmlInit=code)
    seen = Nvml(library).read()
    assert seen.found == ()
    assert reason in seen.reason
    assert library.closed == 0


def test_a_missing_or_foreign_pynvml_package_gives_the_extra_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert "seedbed[gpu]" in Nvml().read().reason
    # An old package with the same name but another content.
    monkeypatch.setitem(sys.modules, "pynvml", SimpleNamespace(NVMLError=FakeError))
    assert "seedbed[gpu]" in Nvml().read().reason


@pytest.mark.parametrize("code", [nvml.GPU_IS_LOST, nvml.UNINITIALIZED, nvml.DRIVER_NOT_LOADED, nvml.RESET_REQUIRED])
def test_a_lost_gpu_gives_the_reason_and_is_read_again_when_it_is_back(code: int) -> None:
    library = FakeLibrary()
    reader = Nvml(library)
    assert reader.read("GPU-0").found
    library.failing = {"nvmlDeviceGetUtilizationRates": code, "nvmlShutdown": nvml.UNINITIALIZED}
    lost = reader.read("GPU-0")
    assert lost.found == ()
    assert lost.reason
    assert library.closed == 1
    library.failing = {}
    assert reader.read("GPU-0").found
    assert library.opened == 2


def test_a_gpu_without_any_figure_counts_as_lost() -> None:
    functions = ("UtilizationRates", "Temperature", "PowerUsage", "MemoryInfo")
    library = FakeLibrary(**{f"nvmlDeviceGet{name} 0": 999 for name in functions})
    assert [each.position for each in Nvml(library).read().found] == [1]


def test_a_lost_or_blocked_gpu_does_not_hide_the_others() -> None:
    library = FakeLibrary(**{"nvmlDeviceGetUtilizationRates 0": nvml.GPU_IS_LOST})
    assert [each.position for each in Nvml(library).read().found] == [1]
    blocked = Nvml(FakeLibrary(**{"nvmlDeviceGetHandleByIndex 0": nvml.OPERATING_SYSTEM}))
    assert [each.position for each in blocked.read().found] == [1]
    assert "blocks" in blocked.read("GPU-0").reason


def test_error_codes_and_constants_equal_those_of_pynvml() -> None:
    pynvml = pytest.importorskip("pynvml", reason="the extra gpu is not installed")
    codes = {name: value for name, value in vars(nvml).items() if name.isupper() and isinstance(value, int)}
    named = {name: code for name, code in codes.items() if not name.startswith("_")}
    for name, code in named.items():
        real = name.replace("VERSION_MISMATCH", "LIB_RM_VERSION_MISMATCH")
        assert getattr(pynvml, f"NVML_ERROR_{real}") == code
    assert pynvml.NVML_TEMPERATURE_GPU == 0
    assert pynvml.nvmlMemory_v2 == FakeLibrary.nvmlMemory_v2
    assert issubclass(pynvml.NVMLError, Exception)
    assert nvml._library() is pynvml


# The part of nvml.h that Seedbed calls, for two GPUs, of which the second reports neither load nor power. FAKE_NVML is the
# code that nvmlInit returns.
C_LIBRARY = r"""
#include <stdlib.h>
#include <string.h>
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory_v2;
typedef struct { unsigned gpu, memory; } utilization;
static long at(void *device) { return (long)device - 100; }
int nvmlInitWithFlags(unsigned flags) { const char *code = getenv("FAKE_NVML"); return code ? atoi(code) : 0; }
int nvmlShutdown(void) { return 0; }
int nvmlSystemGetDriverVersion(char *to, unsigned n) { strncpy(to, "550.54.15", n); return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **device) { *device = (void *)(long)(100 + i); return 0; }
int nvmlDeviceGetName(void *d, char *to, unsigned n) { strncpy(to, at(d) ? "Tesla M60" : "NVIDIA A30", n); return 0; }
int nvmlDeviceGetUUID(void *d, char *to, unsigned n) { strncpy(to, at(d) ? "GPU-bb" : "GPU-aa", n); return 0; }
int nvmlDeviceGetMigMode(void *d, unsigned *now, unsigned *next) { *now = *next = 0; return 3; }
int nvmlDeviceGetMemoryInfo_v2(void *d, memory_v2 *m) {
  if (m->version != 0x02000028) return 25;
  m->total = 24ull << 30; m->reserved = 1 << 20; m->used = 3ull << 30; m->free = m->total - m->used - m->reserved;
  return 0;
}
int nvmlDeviceGetUtilizationRates(void *d, utilization *u) { u->gpu = 37; u->memory = 5; return at(d) ? 3 : 0; }
int nvmlDeviceGetTemperature(void *d, int sensor, unsigned *c) { *c = 45 + at(d); return sensor; }
int nvmlDeviceGetPowerUsage(void *d, unsigned *mw) { *mw = 112500; return at(d) ? 3 : 0; }
"""


@pytest.fixture(scope="module")
def library_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a fake libnvidia-ml, for the dynamic loader."""
    pytest.importorskip("pynvml", reason="the extra gpu is not installed")
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs Linux and a C compiler")
    folder = tmp_path_factory.mktemp("nvml")
    (folder / "nvml.c").write_text(C_LIBRARY)
    made = ["-shared", "-fPIC", "-w", "-o", str(folder / "libnvidia-ml.so.1"), str(folder / "nvml.c")]
    subprocess.run([compiler, *made], check=True, timeout=patience.HANG_S)
    return folder


def read_through_pynvml(folder: Path, **env: str) -> dict[str, Any]:
    code = (
        "import json; from seedbed.hardware.nvml import Nvml; nvml = Nvml(); nvml.read(); seen = nvml.read();"
        "nvml.close(); print(json.dumps({'reason': seen.reason, 'found': [each._asdict() for each in seen.found]}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "LD_LIBRARY_PATH": str(folder), **env},
        capture_output=True,
        text=True,
        timeout=patience.HANG_S,
        check=True,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_figures_are_read_through_the_real_pynvml_package(library_folder: Path) -> None:
    first, second = read_through_pynvml(library_folder)["found"]
    assert first == {
        "position": 0,
        "name": "NVIDIA A30",
        "driver": "550.54.15",
        "total_bytes": 24 << 30,
        "used_bytes": 3 << 30,
        "fraction": 0.37,
        "temperature_c": 45.0,
        "power_w": 112.5,
        "missing": {},
        "uuid": "GPU-aa",
    }
    assert (second["name"], second["temperature_c"]) == ("Tesla M60", 46.0)
    assert second["missing"].keys() == {"gpu_fraction", "gpu_power_w"}


@pytest.mark.parametrize(("code", "reason"), [("9", "driver is not loaded"), ("999", "Unknown Error")])
def test_the_real_pynvml_package_gives_the_reason_when_a_library_does_not_open(
    library_folder: Path, code: str, reason: str
) -> None:
    result = read_through_pynvml(library_folder, FAKE_NVML=code)
    assert result["found"] == []
    assert reason in result["reason"]
