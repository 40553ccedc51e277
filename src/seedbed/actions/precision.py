"""The precision in which a training would run on this machine, as `train/device.py` chooses it, without torch."""

from __future__ import annotations

import sys
from functools import cache
from importlib import metadata

from seedbed.config.environment import env
from seedbed.config.schema import TrainConfig
from seedbed.hardware import cpu, gpu


def training_precision(train: TrainConfig) -> str:
    """The value of `train.precision`; for `auto`, what training chooses on the device that `train.device` names.

    A GPU is taken to compute bf16; those that do not train in fp16, which needs as much memory.
    """
    if train.precision != "auto":
        return train.precision
    wants_cpu = train.device.strip().lower() == "cpu"
    if not wants_cpu and sys.platform == "darwin":
        return "fp32"
    if cpu.probe().fast_bf16:
        return "bf16"
    return "bf16" if not wants_cpu and _has_gpu() else "fp32"


@cache
def _has_gpu() -> bool:
    """Whether there is a GPU that PyTorch can use. Asking for it can take seconds, so it is done once."""
    if env("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1"):
        return False
    try:
        if metadata.version("torch").endswith("+cpu"):
            return False
    except metadata.PackageNotFoundError:
        return False
    return bool(gpu.probe().found)
