"""GPU figures from NVML or nvidia-smi (working, absent, failing, hanging, incomplete), and the GPU of a CUDA index."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from seedbed.hardware import gpu
from seedbed.hardware.nvml import NO_LIBRARY, NO_PACKAGE, Gpu, Gpus

pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no nvidia-smi")


class FakeNvml:
    """Returns its answers in order, then repeats the last one. Records the queries."""

    def __init__(self, *answers: Gpus) -> None:
        self.answers = list(answers)
        self.queries: list[str] = []
        self.closed = 0

    def read(self, uuid: str = "") -> Gpus:
        self.queries.append(uuid)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        chosen = tuple(each for each in answer.found if uuid in ("", each.uuid))
        return Gpus(chosen, answer.reason if answer.found == chosen else "not listed")

    def close(self) -> None:
        self.closed += 1


class FakeClock:
    """A clock that the tests set."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def card(position: int, uuid: str = "", name: str = "NVIDIA A30", used_bytes: int = 1) -> Gpu:
    return Gpu(position, name, "550", 10, used_bytes, 0.5, 40.0, 90.0, {}, uuid or f"GPU-{position}")


def some(*found: Gpu) -> Gpus:
    return Gpus(found, "")


def none(reason: str) -> Gpus:
    return Gpus((), reason)


def fake_smi(folder: Path, body: str) -> str:
    path = folder / "nvidia-smi"
    path.write_text(f"#!/bin/sh\necho queries >> {folder}/queries\n{body}\n")
    path.chmod(0o755)
    return str(path)


def count_queries(folder: Path) -> int:
    queries = folder / "queries"
    return len(queries.read_text().splitlines()) if queries.exists() else 0


def test_nvidia_smi_figures_are_in_bytes_fractions_degrees_and_watts(tmp_path: Path) -> None:
    lines = [
        "0, NVIDIA A30, 550.54.15, 24576, 1024, 37, 45, 112.50, GPU-5a4c",
        "1, NVIDIA A30, 550.54.15, 24576, 0, 0, 30, 25, GPU-77",
    ]
    found = gpu.ask_smi(fake_smi(tmp_path, "; ".join(f"echo '{line}'" for line in lines)))
    assert found.reason == ""
    first, second = found.found
    assert (first.position, first.name, first.driver, first.uuid) == (0, "NVIDIA A30", "550.54.15", "GPU-5a4c")
    assert first.total_bytes == 24576 << 20
    assert first.used_bytes == 1 << 30
    assert first.fraction == pytest.approx(0.37)
    assert (first.temperature_c, first.power_w) == (45.0, 112.5)
    assert first.missing == {}
    assert second.position == 1


def test_a_value_that_the_driver_does_not_report_has_a_reason(tmp_path: Path) -> None:
    line = "0, Tesla M60, 470.1, 8192, 10, [N/A], 40, [Not Supported], GPU-1"
    found = gpu.ask_smi(fake_smi(tmp_path, f"echo '{line}'")).found[0]
    assert found.fraction is None
    assert found.missing == {
        "gpu_fraction": "the driver reports [N/A]",
        "gpu_power_w": "the driver reports [Not Supported]",
    }


def test_a_failed_nvidia_smi_query_has_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "not installed" in gpu.ask_smi(str(tmp_path / "absent")).reason
    failing = fake_smi(tmp_path, 'echo "couldn\'t communicate with the NVIDIA driver" >&2; exit 9')
    assert "couldn't communicate" in gpu.ask_smi(failing).reason
    assert "exit status 3" in gpu.ask_smi(fake_smi(tmp_path, "exit 3")).reason
    assert "lists no GPU" in gpu.ask_smi(fake_smi(tmp_path, "echo 'No devices were found'")).reason
    monkeypatch.setattr(gpu, "_TIMEOUT_S", 0.2)
    assert "did not answer" in gpu.ask_smi(fake_smi(tmp_path, "exec sleep 600")).reason
    assert gpu.ask_smi("absent").found == ()


def test_nvidia_smi_is_not_called_when_nvml_works(tmp_path: Path) -> None:
    nvml = FakeNvml(some(card(0)))
    assert gpu.probe(fake_smi(tmp_path, "exit 1"), nvml).found == (card(0),)
    assert count_queries(tmp_path) == 0
    assert nvml.closed == 1


@pytest.mark.parametrize("reason", [NO_PACKAGE, NO_LIBRARY, "the NVIDIA driver is not loaded"])
def test_nvidia_smi_is_used_when_nvml_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    fake_smi(tmp_path, "echo '0, NVIDIA A30, 550, 24576, 1024, 37, 45, 112.50, GPU-5a4c'")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert gpu.probe(nvml=FakeNvml(none(reason))).found[0].uuid == "GPU-5a4c"


def test_when_both_fail_the_more_specific_reason_is_given(tmp_path: Path) -> None:
    absent = str(tmp_path / "absent")
    assert "nvidia-smi is not installed" in gpu.probe(absent, FakeNvml(none(NO_PACKAGE))).reason
    assert "nvidia-smi is not installed" in gpu.probe(absent, FakeNvml(none(NO_LIBRARY))).reason
    assert gpu.probe(absent, FakeNvml(none("the GPU is lost"))).reason == "the GPU is lost"
    failing = fake_smi(tmp_path, "echo 'No way'; exit 9")
    both = gpu.probe(failing, FakeNvml(none("the GPU is lost"))).reason
    assert both == "the GPU is lost; nvidia-smi failed: No way"


HERE = (card(0, "GPU-aa11"), card(1, "GPU-ab22"), card(2, "GPU-ac33"))


# Expected positions are those of torch.cuda._parse_visible_devices and of NVIDIA's documentation.
@pytest.mark.parametrize(
    ("visible", "index", "position"),
    [
        ("", 0, 0),
        ("", 2, 2),
        ("2,0", 0, 2),
        ("2,0", 1, 0),
        (" 1 , 2 ", 1, 2),
        ("1gpu,+2", 0, 1),
        ("1gpu,+2", 1, 2),
        ("GPU-ab22", 0, 1),
        ("GPU-AB", 0, 1),
        ("GPU-ac,GPU-aa", 1, 0),
        ("1,-1,0", 0, 1),
        ("2,7", 0, 2),
    ],
)
def test_a_cuda_index_selects_the_gpu_that_cuda_visible_devices_lists(visible: str, index: int, position: int) -> None:
    resolved = gpu.resolve_index(index, visible, HERE)
    assert resolved == (position, HERE[position].uuid, "")


@pytest.mark.parametrize(
    ("visible", "index", "reason"),
    [
        ("", 3, "lists 3 GPUs"),
        ("", -1, "no cuda:-1"),
        ("1,2", 2, "CUDA_VISIBLE_DEVICES is 1,2"),
        ("1,-1,0", 2, "contains -1: CUDA ignores it"),
        ("-1", 0, "contains -1: CUDA ignores it"),
        ("0,,1", 2, "an empty entry"),
        ("none", 0, "contains none: CUDA ignores it"),
        ("7,0", 1, "contains GPU 7"),
        ("GPU-a", 0, "more than one GPU"),
        ("GPU-ff", 0, "no GPU here"),
        ("MIG-GPU-aa11/1/0", 0, "a MIG instance"),
        ("MIG-5c89", 0, "a MIG instance"),
    ],
)
def test_a_cuda_index_without_a_gpu_gives_the_reason(visible: str, index: int, reason: str) -> None:
    resolved = gpu.resolve_index(index, visible, HERE)
    assert (resolved.position, resolved.uuid) == (None, "")
    assert reason in resolved.reason


def test_a_cuda_index_needs_pci_bus_order_on_gpus_of_several_models() -> None:
    mixed = (card(0, name="NVIDIA T400"), card(1, name="NVIDIA A100"))
    for visible in ("", "0"):
        assert "CUDA_DEVICE_ORDER" in gpu.resolve_index(0, visible, mixed).reason
        assert gpu.resolve_index(0, visible, mixed, "PCI_BUS_ID").position == 0
    assert gpu.resolve_index(0, "GPU-1", mixed).position == 1


def test_cuda_indices_count_only_the_gpus_that_a_container_lists() -> None:
    assert gpu.resolve_index(0, "", (card(3), card(2))).position == 2


def test_a_monitor_reads_the_gpu_of_the_cuda_index_or_without_cuda_of_the_position() -> None:
    def seen(visible: str | None) -> int:
        return gpu.GpuMonitor(1, visible, nvml=FakeNvml(some(*HERE))).read().found[0].position

    assert seen(None) == 1
    assert seen("") == 1
    assert seen("1,2") == 2


def test_after_the_first_read_a_monitor_queries_only_its_own_gpu() -> None:
    nvml = FakeNvml(some(*HERE))
    monitor = gpu.GpuMonitor(0, "2", nvml=nvml)
    assert [monitor.read().found[0].uuid for _ in range(3)] == ["GPU-ac33"] * 3
    assert nvml.queries == ["", "GPU-ac33", "GPU-ac33"]
    monitor.close()
    assert nvml.closed == 1


def test_a_lost_gpu_is_read_through_nvidia_smi_until_nvml_is_tried_again(tmp_path: Path) -> None:
    command = fake_smi(tmp_path, "echo '0, NVIDIA A30, 550, 24576, 77, [GPU is lost], 45, 112.50, GPU-aa11'")
    nvml = FakeNvml(some(*HERE), none("the GPU is lost"), some(*HERE))
    clock = FakeClock()
    monitor = gpu.GpuMonitor(0, nvml=nvml, command=command, clock=clock)
    assert monitor.read().found[0].used_bytes == 1
    for _ in range(2):
        fallback = monitor.read().found[0]
        assert fallback.used_bytes == 77 << 20
        assert fallback.missing == {"gpu_fraction": "the driver reports [GPU is lost]"}
    assert len(nvml.queries) == 2
    clock.now_s += 31
    assert monitor.read().found[0].used_bytes == 1


def test_when_both_fail_a_monitor_tries_again_after_half_a_minute(tmp_path: Path) -> None:
    command = fake_smi(tmp_path, "echo 'No way'; exit 9")
    nvml = FakeNvml(none("the NVIDIA driver is not loaded"), some(*HERE))
    clock = FakeClock()
    monitor = gpu.GpuMonitor(0, nvml=nvml, command=command, clock=clock)
    for _ in range(3):
        seen = monitor.read()
        assert seen.found == ()
        assert seen.reason == "the NVIDIA driver is not loaded; nvidia-smi failed: No way"
    assert (len(nvml.queries), count_queries(tmp_path)) == (1, 1)
    clock.now_s += 31
    assert monitor.read().found == (HERE[0],)
    assert monitor.read().found == (HERE[0],)


def test_a_monitor_follows_its_gpu_to_a_new_position(tmp_path: Path) -> None:
    renumbered = some(card(0, "GPU-ab22"))
    monitor = gpu.GpuMonitor(1, nvml=FakeNvml(some(*HERE), renumbered), command=str(tmp_path / "absent"))
    assert monitor.read().found[0].uuid == "GPU-ab22"
    assert monitor.read().found == renumbered.found


def test_another_gpu_at_the_old_position_is_not_mistaken_for_the_lost_gpu(tmp_path: Path) -> None:
    command = fake_smi(tmp_path, "echo '0, NVIDIA A30, 550, 24576, 77, 1, 45, 112.50, GPU-other'")
    monitor = gpu.GpuMonitor(0, nvml=FakeNvml(some(HERE[0]), none("the GPU is lost")), command=command)
    assert monitor.read().found
    gone = monitor.read()
    assert gone.found == ()
    assert "no longer listed" in gone.reason


def test_a_gpu_that_does_not_exist_gives_the_reason(tmp_path: Path) -> None:
    monitor = gpu.GpuMonitor(7, nvml=FakeNvml(some(*HERE)), command=str(tmp_path / "absent"))
    assert "no GPU 7" in monitor.read().reason
