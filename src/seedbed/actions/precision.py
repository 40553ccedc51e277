"""The precision in which a training would run on this machine, as `train/device.py` chooses it, without torch."""

from __future__ import annotations

import sys

from seedbed.config.schema import TrainConfig
from seedbed.hardware import cpu, gpu


def training_precision(train: TrainConfig) -> str:
    """The value of `train.precision`; for `auto`, what training chooses on the device that `train.device` names.

    A GPU is taken to compute bf16 fast; those that do not train in fp16, which needs as much memory.
    """
    if train.precision != "auto":
        return train.precision
    wants_cpu = train.device.strip().lower() == "cpu"
    if not wants_cpu and sys.platform == "darwin":
        return "fp32"
    on_gpu = not wants_cpu and bool(gpu.probe().found)
    return "bf16" if on_gpu or cpu.probe().fast_bf16 else "fp32"
