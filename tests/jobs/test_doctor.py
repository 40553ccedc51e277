"""The doctor: a report on this machine, with a fix for each problem."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import patience
from seedbed.cli.doctor import describe
from seedbed.hardware import gpu
from seedbed.jobs import doctor


@pytest.fixture(scope="module")
def machine_report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The report of a doctor process, as the window gets it."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "seedbed.jobs",
            "doctor",
            "--device",
            "cpu",
            "--folder",
            str(tmp_path_factory.mktemp("d")),
        ],
        capture_output=True,
        text=True,
        timeout=patience.HANG_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def test_the_report_is_one_json_object_with_what_training_needs(machine_report: dict[str, dict[str, object]]) -> None:
    assert machine_report["packages"]["torch"]
    assert machine_report["packages"]["tokenizers"]
    assert machine_report["cpu"]["cores"]
    assert machine_report["gpus"] or machine_report["no_gpu"]
    assert machine_report["device"]["torch_device"] == "cpu"
    assert machine_report["cache"]["writable"] is True


def test_the_training_probe_lowers_the_loss(machine_report: dict[str, dict[str, float]]) -> None:
    assert machine_report["probe"]["ok"] is True
    # The loss of an untrained model with 256 tokens is ln 256.
    assert machine_report["probe"]["first_loss"] == pytest.approx(5.545, abs=0.1)
    assert machine_report["probe"]["last_loss"] < machine_report["probe"]["first_loss"]


def test_matmul_rates_are_plausible(machine_report: dict[str, dict[str, float]]) -> None:
    assert 1e8 < machine_report["matmul"]["fp32_flops_per_s"] < 1e15


def test_each_extra_has_its_install_command() -> None:
    lines = [
        "torch<2.14,>=2.11",
        'datasets>=4; extra == "data"',
        "seedbed[data]; extra == 'all'",
        'No_Such-Thing; extra=="x"',
    ]
    assert doctor.requirements(lines) == [("torch", ""), ("datasets", "data"), ("no_such-thing", "x")]
    _, extras, problems = doctor.installed()
    assert problems == []
    data = next(extra for extra in extras if extra["name"] == "data")
    assert data["install"] == "pip install 'seedbed[data]'"


def test_a_cache_that_cannot_be_written_is_a_problem_with_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path / "file" / "cache"))
    about, problems = doctor._cache()
    assert about["writable"] is False
    assert problems[0].level == "error"
    assert problems[0].fix.startswith("export SEEDBED_CACHE=/")


def test_without_a_home_directory_the_doctor_says_which_variable_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(user: object) -> None:
        raise KeyError("uid not found")

    for name in ("HOME", "XDG_CACHE_HOME", "SEEDBED_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.setattr(
        doctor, "_torch_part", lambda *_: {"torch": None, "device": None, "matmul": None, "probe": None}
    )
    found = doctor.report("cpu")
    (problem,) = [each for each in found["problems"] if "HOME" in each["what"]]
    assert problem["level"] == "error"
    assert problem["fix"].startswith("export SEEDBED_CACHE=/")
    assert any("export SEEDBED_CACHE=/" in line for line in describe(found))


def test_a_gpu_that_torch_cannot_use_is_a_problem_with_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    problems: list[doctor.Problem] = []
    seen = gpu.Gpus((gpu.Gpu(0, "NVIDIA A30", "550", 1, 1, 0.0, 1.0, 1.0, {}),), "")
    doctor._torch_part("cpu", problems, seen)
    assert "NVIDIA A30" in problems[0].what
    assert problems[0].fix.startswith("pip install")


def test_a_missing_device_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    found = doctor.report(device="no such chip")
    fixes = [problem["fix"] for problem in found["problems"] if "no such chip" in problem["what"]]
    assert fixes == ["seedbed doctor --device auto"]


def test_a_failed_training_probe_has_a_reason() -> None:
    import torch

    from seedbed.train.device import Device

    probe = doctor.training_probe(Device(torch.device("meta"), "nowhere", "cpu"), "fp32")
    assert probe["ok"] is False
    assert probe["reason"]


def test_full_memory_does_not_suggest_reinstalling_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def refused(*_: object, **__: object) -> None:
        torch.empty(1 << 45)

    monkeypatch.setattr("seedbed.model.decoder.Decoder.__init__", refused)
    problems: list[doctor.Problem] = []
    monkeypatch.setattr(doctor, "matmul_rates", lambda _: {"fp32_flops_per_s": 1e11, "bf16_flops_per_s": 1e9})
    doctor._torch_part("cpu", problems, gpu.Gpus((), "none"))
    assert ["is full" in problem.what for problem in problems] == [True]
    assert "pip" not in problems[0].fix


def test_a_folder_that_cannot_be_written_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        doctor, "_torch_part", lambda *_: {"torch": None, "device": None, "matmul": None, "probe": None}
    )
    (tmp_path / "file").write_text("")
    found = doctor.report("cpu", tmp_path / "file")
    assert any("Nothing can be written in" in problem["what"] for problem in found["problems"])


def test_the_compiler_command_uses_the_installed_package_manager(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sys.platform == "darwin":
        pytest.skip("macOS has one way to install a compiler")
    dnf = tmp_path / "dnf"
    dnf.write_text("#!/bin/sh\n")
    dnf.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor.compiler_command() == "sudo dnf install -y gcc-c++"


@pytest.mark.parametrize("with_gpu", [False, True])
def test_a_torch_with_cuda_on_a_machine_without_a_gpu_is_noted(monkeypatch: pytest.MonkeyPatch, with_gpu: bool) -> None:
    import torch

    found = (gpu.Gpu(0, "NVIDIA A30", "550", 1, 1, 0.0, 1.0, 1.0, {}),) if with_gpu else ()
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    problems: list[doctor.Problem] = []
    doctor._torch_part("cpu", problems, gpu.Gpus(found, ""))
    notes = [problem for problem in problems if problem.level == "note"]
    assert len(notes) == (0 if with_gpu else 1)
    if notes:
        assert "CUDA 13.0" in notes[0].what
        assert "https://download.pytorch.org/whl/cpu 'torch" in notes[0].fix


def test_a_note_is_not_counted_as_a_problem(machine_report: dict[str, Any]) -> None:
    note = doctor.without_cuda("13.0")._asdict()
    lines = describe({**machine_report, "problems": [note]})
    assert any("No problems found" in line for line in lines)
    assert any(line.startswith("note: ") and "no GPU" in line for line in lines)
    lines = describe({**machine_report, "problems": [{**note, "level": "warning"}]})
    assert not any("No problems found" in line for line in lines)
