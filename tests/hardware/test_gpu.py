"""nvidia-smi in its moods: there, absent, failing, silent, telling half."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from seedbed.hardware import gpu

pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no nvidia-smi")


def fake_smi(folder: Path, body: str) -> str:
    path = folder / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_figures_come_in_bytes_fractions_degrees_and_watts(tmp_path: Path) -> None:
    line = "0, NVIDIA A30, 550.54.15, 24576, 1024, 37, 45, 112.50"
    found = gpu.probe(fake_smi(tmp_path, f"echo '{line}'; echo '1, NVIDIA A30, 550.54.15, 24576, 0, 0, 30, 25'"))
    assert found.reason == ""
    first, second = found.found
    assert (first.position, first.name, first.driver) == (0, "NVIDIA A30", "550.54.15")
    assert first.total_bytes == 24576 << 20
    assert first.used_bytes == 1 << 30
    assert first.fraction == pytest.approx(0.37)
    assert (first.temperature_c, first.power_w) == (45.0, 112.5)
    assert first.missing == {}
    assert second.position == 1


def test_what_the_driver_does_not_tell_has_a_reason(tmp_path: Path) -> None:
    found = gpu.probe(fake_smi(tmp_path, "echo '0, Tesla M60, 470.1, 8192, 10, [N/A], 40, [Not Supported]'")).found[0]
    assert found.fraction is None
    assert found.missing == {
        "gpu_fraction": "the driver says [N/A]",
        "gpu_power_w": "the driver says [Not Supported]",
    }


def test_none_has_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "not installed" in gpu.probe(str(tmp_path / "absent")).reason
    failing = fake_smi(tmp_path, 'echo "couldn\'t communicate with the NVIDIA driver" >&2; exit 9')
    assert "couldn't communicate" in gpu.probe(failing).reason
    assert "exit status 3" in gpu.probe(fake_smi(tmp_path, "exit 3")).reason
    assert "lists no GPU" in gpu.probe(fake_smi(tmp_path, "echo 'No devices were found'")).reason
    monkeypatch.setattr(gpu, "_TIMEOUT_S", 0.2)
    assert "did not answer" in gpu.probe(fake_smi(tmp_path, "exec sleep 5")).reason
    for command in ("absent",):
        assert gpu.probe(command).found == ()
