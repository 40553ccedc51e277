"""The precision that training would choose here, found without torch."""

from __future__ import annotations

import sys

import pytest

from seedbed.actions import precision
from seedbed.actions.precision import training_precision
from seedbed.config.schema import TrainConfig
from seedbed.hardware import cpu, gpu
from seedbed.hardware.nvml import Gpu, Gpus

GPU = Gpu(0, "NVIDIA A30", "", 24 << 30, 0, None, None, None, {})


@pytest.mark.parametrize(
    ("asked", "device", "features", "gpus", "expected"),
    [
        ("auto", "auto", ("amx_bf16",), (), "bf16"),
        ("auto", "cuda", ("avx2",), (), "fp32"),
        ("auto", "auto", ("avx2",), (GPU,), "bf16"),
        ("auto", "cpu", ("avx2",), (GPU,), "fp32"),
        ("fp32", "auto", ("amx_bf16",), (GPU,), "fp32"),
        ("fp16", "auto", ("avx2",), (), "fp16"),
    ],
)
def test_the_precision_depends_on_the_device_that_trains(
    asked: str,
    device: str,
    features: tuple[str, ...],
    gpus: tuple[Gpu, ...],
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(precision.metadata, "version", lambda _: "2.13.0")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    precision._has_gpu.cache_clear()
    monkeypatch.setattr(precision.cpu, "probe", lambda: cpu.Cpu("a CPU", 2, features, {}))
    monkeypatch.setattr(precision.gpu, "probe", lambda: gpu.Gpus(gpus, "") if gpus else Gpus((), "none"))
    assert training_precision(TrainConfig(precision=asked, device=device)) == expected  # type: ignore[arg-type]
    precision._has_gpu.cache_clear()


@pytest.mark.parametrize(("visible", "version"), [("", "2.13.0"), ("-1", "2.13.0"), ("0", "2.13.0+cpu")])
def test_a_gpu_that_pytorch_cannot_use_does_not_count(
    visible: str, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(precision.cpu, "probe", lambda: cpu.Cpu("a CPU", 2, ("avx2",), {}))
    monkeypatch.setattr(precision.gpu, "probe", lambda: gpu.Gpus((GPU,), ""))
    monkeypatch.setattr(precision.metadata, "version", lambda _: version)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    precision._has_gpu.cache_clear()
    assert training_precision(TrainConfig()) == "fp32"
    precision._has_gpu.cache_clear()


def test_apple_gpus_train_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert training_precision(TrainConfig()) == "fp32"
