"""Records the settings besides the config on which bit-exact results depend, and compares them on a resume."""

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
    """The settings that decide the order and precision of sums, as JSON values. Every checkpoint stores them."""
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


def warn_of_differences(saved: Mapping[str, Any], learner: Learner, emit: Emit) -> None:
    """Warn if the results of this session will not be bit-equal to those of the session that saved the settings `saved`.

    Settings that an older checkpoint lacks are not compared.
    """
    differing = {name: now for name, now in numerics(learner).items() if name in saved and saved[name] != now}
    if learner.device.type != "cpu":
        differing.pop("instructions", None)
    if not differing:
        return
    differences = ", ".join(f"{_NAMES[name]} {saved[name]} -> {now}" for name, now in differing.items())
    hint = " Set train.threads in a run's config to fix the thread count." if "threads" in differing else ""
    emit(
        Message(
            level="warning",
            code="not-bit-equal",
            text=f"This session differs from the session that saved the checkpoint: {differences}.",
            why="Sums are computed in another order or precision, so results are not bit-equal to the earlier session's.",
            hint=f"The run is fine.{hint}",
        )
    )
