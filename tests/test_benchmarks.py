"""The throughput benchmark measures only the precisions that are fast enough for training on this CPU."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from seedbed.hardware import cpu
from seedbed.hardware.cpu import Cpu

DUBIOUS = "fatal: detected dubious ownership in repository at '/x'"
BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("features", "modes"),
    [
        (("avx2",), ("fp32", "fp32-compile")),
        (("avx512f", "avx2"), ("fp32", "fp32-compile")),
        (("avx512_bf16", "avx2"), ("fp32", "fp32-compile", "bf16", "bf16-compile")),
        (("amx_bf16",), ("fp32", "fp32-compile", "bf16", "bf16-compile")),
    ],
)
def test_bf16_is_measured_only_where_the_cpu_is_fast_at_it(
    monkeypatch: pytest.MonkeyPatch, features: tuple[str, ...], modes: tuple[str, ...]
) -> None:
    monkeypatch.setattr(cpu, "probe", lambda: Cpu("a CPU", 2, features, {}))
    peer = script("throughput_peer")
    assert peer.sensible_modes() == modes
    assert set(modes) <= set(peer.MODES)


@pytest.mark.parametrize(
    ("said", "told"),
    [(DUBIOUS, "git config --global --add safe.directory {folder}$"), ("no module git", "no module git$")],
)
def test_what_a_peer_that_fails_says_is_shown_without_a_traceback(said: str, told: str, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nprintf %s "{said}" >&2\nexit 1\n')
    python.chmod(0o755)
    with pytest.raises(SystemExit, match=told.format(folder=tmp_path)):
        script("commits").peer(str(python), tmp_path, [])
