"""Rates of a machine that nobody measured, for tests of the planner: every kind of operation has the same rate at all sizes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from seedbed.simulate.machine_rates import KINDS, VERSION, MachineRates, Point

RATE = 1e9
"""Work per second of each kind that a test does not name."""
OPERATION_S = 1e-9
"""The fixed cost of an operation: so short that it does not matter."""


def machine_rates(
    rates: Mapping[str, float] | None = None, rounds: tuple[float, ...] = (1.0,), **changes: Any
) -> MachineRates:
    """Rates of 1e9 a second, or of `rates`; in each round, everything takes so many times as long."""
    points = {}
    for name, kind in KINDS.items():
        rate = (rates or {}).get(name, RATE)
        points[name] = tuple(
            Point(sizes, tuple(factor * kind.work(sizes) / rate for factor in rounds)) for sizes in kind.grid
        )
    points["operation"] = (Point((1,), tuple(OPERATION_S for _ in rounds)),)
    values: dict[str, Any] = {
        "version": VERSION,
        "name": "A CPU",
        "device": "cpu",
        "threads": 2,
        "cores": 2,
        "precision": "fp32",
        "torch": "2.13.0",
        "compiler": True,
        "total_bytes": 16 << 30,
        "measured": time.time(),
        "elapsed_s": 8.0,
        "load": 0.0,
        "points": points,
    }
    return MachineRates(**{**values, **changes})
