"""A GPU through NVML or nvidia-smi in its moods (there, absent, failing, silent, telling half), and which CUDA means."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from seedbed.hardware import gpu
from seedbed.hardware.nvml import NO_LIBRARY, NO_PACKAGE, Gpu, Gpus

pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no nvidia-smi")


class FakeNvml:
    """Answers one look after another from a list, and its last answer ever after. Counts what it is asked."""

    def __init__(self, *answers: Gpus) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.closed = 0

    def read(self, uuid: str = "") -> Gpus:
        self.asked.append(uuid)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        chosen = tuple(each for each in answer.found if uuid in ("", each.uuid))
        return Gpus(chosen, answer.reason if answer.found == chosen else "not listed")

    def close(self) -> None:
        self.closed += 1


class FakeClock:
    """Time that passes when it is told to."""

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
    path.write_text(f"#!/bin/sh\necho asked >> {folder}/asked\n{body}\n")
    path.chmod(0o755)
    return str(path)


def times_asked(folder: Path) -> int:
    asked = folder / "asked"
    return len(asked.read_text().splitlines()) if asked.exists() else 0


def test_figures_come_in_bytes_fractions_degrees_and_watts(tmp_path: Path) -> None:
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


def test_what_the_driver_does_not_tell_has_a_reason(tmp_path: Path) -> None:
    line = "0, Tesla M60, 470.1, 8192, 10, [N/A], 40, [Not Supported], GPU-1"
    found = gpu.ask_smi(fake_smi(tmp_path, f"echo '{line}'")).found[0]
    assert found.fraction is None
    assert found.missing == {
        "gpu_fraction": "the driver reports [N/A]",
        "gpu_power_w": "the driver reports [Not Supported]",
    }


def test_none_has_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "not installed" in gpu.ask_smi(str(tmp_path / "absent")).reason
    failing = fake_smi(tmp_path, 'echo "couldn\'t communicate with the NVIDIA driver" >&2; exit 9')
    assert "couldn't communicate" in gpu.ask_smi(failing).reason
    assert "exit status 3" in gpu.ask_smi(fake_smi(tmp_path, "exit 3")).reason
    assert "lists no GPU" in gpu.ask_smi(fake_smi(tmp_path, "echo 'No devices were found'")).reason
    monkeypatch.setattr(gpu, "_TIMEOUT_S", 0.2)
    assert "did not answer" in gpu.ask_smi(fake_smi(tmp_path, "exec sleep 5")).reason
    assert gpu.ask_smi("absent").found == ()


def test_nvml_spares_nvidia_smi(tmp_path: Path) -> None:
    nvml = FakeNvml(some(card(0)))
    assert gpu.probe(fake_smi(tmp_path, "exit 1"), nvml).found == (card(0),)
    assert times_asked(tmp_path) == 0
    assert nvml.closed == 1


@pytest.mark.parametrize("reason", [NO_PACKAGE, NO_LIBRARY, "the NVIDIA driver is not loaded"])
def test_nvidia_smi_stands_in_where_nvml_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    fake_smi(tmp_path, "echo '0, NVIDIA A30, 550, 24576, 1024, 37, 45, 112.50, GPU-5a4c'")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert gpu.probe(nvml=FakeNvml(none(reason))).found[0].uuid == "GPU-5a4c"


def test_where_both_fail_the_reason_is_of_the_one_that_knows(tmp_path: Path) -> None:
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
def test_a_cuda_index_means_the_gpu_that_the_list_names(visible: str, index: int, position: int) -> None:
    meant = gpu.resolve_index(index, visible, HERE)
    assert meant == (position, HERE[position].uuid, "")


@pytest.mark.parametrize(
    ("visible", "index", "said"),
    [
        ("", 3, "lists 3 GPUs"),
        ("", -1, "no cuda:-1"),
        ("1,2", 2, "CUDA_VISIBLE_DEVICES is 1,2"),
        ("1,-1,0", 2, "ends at -1"),
        ("-1", 0, "ends at -1"),
        ("0,,1", 2, "an empty entry"),
        ("none", 0, "ends at none"),
        ("7,0", 1, "names GPU 7"),
        ("GPU-a", 0, "more than one GPU"),
        ("GPU-ff", 0, "no GPU here"),
        ("MIG-GPU-aa11/1/0", 0, "a MIG part of a GPU"),
        ("MIG-5c89", 0, "a MIG part of a GPU"),
    ],
)
def test_a_cuda_index_that_means_no_gpu_says_why(visible: str, index: int, said: str) -> None:
    meant = gpu.resolve_index(index, visible, HERE)
    assert (meant.position, meant.uuid) == (None, "")
    assert said in meant.reason


def test_gpus_of_several_kinds_are_not_guessed_at() -> None:
    mixed = (card(0, name="NVIDIA T400"), card(1, name="NVIDIA A100"))
    for visible in ("", "0"):
        assert "CUDA_DEVICE_ORDER" in gpu.resolve_index(0, visible, mixed).reason
        assert gpu.resolve_index(0, visible, mixed, "PCI_BUS_ID").position == 0
    assert gpu.resolve_index(0, "GPU-1", mixed).position == 1


def test_a_container_counts_only_the_gpus_that_it_may_open() -> None:
    assert gpu.resolve_index(0, "", (card(3), card(2))).position == 2


def test_a_watch_follows_the_gpu_that_cuda_means_and_one_without_cuda_the_position() -> None:
    def seen(visible: str | None) -> int:
        return gpu.GpuMonitor(1, visible, nvml=FakeNvml(some(*HERE))).read().found[0].position

    assert seen(None) == 1
    assert seen("") == 1
    assert seen("1,2") == 2


def test_a_watch_reads_one_gpu_alone_once_it_knows_which() -> None:
    nvml = FakeNvml(some(*HERE))
    watch = gpu.GpuMonitor(0, "2", nvml=nvml)
    assert [watch.read().found[0].uuid for _ in range(3)] == ["GPU-ac33"] * 3
    assert nvml.asked == ["", "GPU-ac33", "GPU-ac33"]
    watch.close()
    assert nvml.closed == 1


def test_a_gpu_lost_between_two_looks_falls_back_and_comes_back(tmp_path: Path) -> None:
    command = fake_smi(tmp_path, "echo '0, NVIDIA A30, 550, 24576, 77, [GPU is lost], 45, 112.50, GPU-aa11'")
    nvml = FakeNvml(some(*HERE), none("the GPU is lost"), some(*HERE))
    clock = FakeClock()
    watch = gpu.GpuMonitor(0, nvml=nvml, command=command, clock=clock)
    assert watch.read().found[0].used_bytes == 1
    for _ in range(2):
        stand_in = watch.read().found[0]
        assert stand_in.used_bytes == 77 << 20
        assert stand_in.missing == {"gpu_fraction": "the driver reports [GPU is lost]"}
    assert len(nvml.asked) == 2
    clock.now_s += 31
    assert watch.read().found[0].used_bytes == 1


def test_what_failed_in_every_way_is_left_alone_for_half_a_minute(tmp_path: Path) -> None:
    command = fake_smi(tmp_path, "echo 'No way'; exit 9")
    nvml = FakeNvml(none("the NVIDIA driver is not loaded"), some(*HERE))
    clock = FakeClock()
    watch = gpu.GpuMonitor(0, nvml=nvml, command=command, clock=clock)
    for _ in range(3):
        said = watch.read()
        assert said.found == ()
        assert said.reason == "the NVIDIA driver is not loaded; nvidia-smi failed: No way"
    assert (len(nvml.asked), times_asked(tmp_path)) == (1, 1)
    clock.now_s += 31
    assert watch.read().found == (HERE[0],)
    assert watch.read().found == (HERE[0],)


def test_after_a_restart_of_the_driver_the_same_gpu_is_watched_under_its_new_number(tmp_path: Path) -> None:
    renumbered = some(card(0, "GPU-ab22"))
    watch = gpu.GpuMonitor(1, nvml=FakeNvml(some(*HERE), renumbered), command=str(tmp_path / "absent"))
    assert watch.read().found[0].uuid == "GPU-ab22"
    assert watch.read().found == renumbered.found


def test_another_gpu_under_the_old_number_is_not_taken_for_the_lost_one(tmp_path: Path) -> None:
    command = fake_smi(tmp_path, "echo '0, NVIDIA A30, 550, 24576, 77, 1, 45, 112.50, GPU-other'")
    watch = gpu.GpuMonitor(0, nvml=FakeNvml(some(HERE[0]), none("the GPU is lost")), command=command)
    assert watch.read().found
    gone = watch.read()
    assert gone.found == ()
    assert "no longer listed" in gone.reason


def test_a_gpu_that_is_not_there_is_a_reason(tmp_path: Path) -> None:
    watch = gpu.GpuMonitor(7, nvml=FakeNvml(some(*HERE)), command=str(tmp_path / "absent"))
    assert "no GPU 7" in watch.read().reason
