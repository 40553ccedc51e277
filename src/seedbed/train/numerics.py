"""What the last bits of a run's numbers depend on beside its config, and whether a resume has the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from seedbed.events import Emit, Message
from seedbed.hardware import cpu
from seedbed.optim.newton_schulz import fast_dtype
from seedbed.train.learner import Learner

_NAMES = {
    "threads": "threads",
    "device_type": "device",
    "torch": "torch",
    "processor": "processor",
    "instructions": "instruction set",
    "muon_dtype": "Muon's dtype",
    "precision": "precision",
    "compile": "compiled",
}


def numerics(learner: Learner) -> dict[str, Any]:
    """What decides in which order, and in which precision, sums are taken here; JSON-able, kept in every checkpoint."""
    device = learner.device
    here = cpu.probe()
    return {
        "threads": torch.get_num_threads(),
        "device_type": device.type,
        "torch": str(torch.__version__),
        "processor": torch.cuda.get_device_name(device) if device.type == "cuda" else here.name,
        "instructions": " ".join([torch.backends.cpu.get_cpu_capability(), *here.features]),
        "muon_dtype": str(fast_dtype(device)).removeprefix("torch."),
        "precision": learner.precision,
        "compile": learner.compiled,
    }


def tell_differences(saved: Mapping[str, Any], learner: Learner, emit: Emit) -> None:
    """Warn where the numbers of this session are not bit-equal to those of the one that saved.

    What an older checkpoint does not tell is not compared.
    """
    differing = {name: now for name, now in numerics(learner).items() if name in saved and saved[name] != now}
    if learner.device.type != "cpu":
        differing.pop("instructions", None)
    if not differing:
        return
    told = ", ".join(f"{_NAMES[name]} {saved[name]} -> {now}" for name, now in differing.items())
    keep = " Set train.threads in a run's config to keep the thread count." if "threads" in differing else ""
    emit(
        Message(
            level="warning",
            code="not-bit-equal",
            text=f"This session differs from the one that saved: {told}.",
            why="Sums are taken in another order or precision, so the numbers are no longer equal to the last bit.",
            hint=f"Nothing is wrong with the run.{keep}",
        )
    )
