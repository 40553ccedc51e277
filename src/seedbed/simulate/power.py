"""Power of the machines that a training runs on: their GPUs, what is around them, and the losses of power supplies."""

from __future__ import annotations

import math

from seedbed.simulate.hardware_facts import Gpu

SERVER_POWER = 1.5
"""Power of a busy server for each watt of its GPUs' power limits (8.4 kW for 8 x 700 W at most, arXiv 2412.08602)."""
COOLING_POWER = 1.2
"""Power of the building for each watt of its servers (assumed; large data centres report 1.1 to 1.4)."""
DESKTOP_W = 120.0
"""Power of a desktop without its GPUs: a few busy cores, memory, board, disks, fans (assumed; makers of power supplies
count 200 W at most)."""
LAPTOP_W = 35.0
"""Power of a laptop without its GPU: processor, memory and screen (assumed)."""
SUPPLY_SHARE = 0.88
"""Share of the power from the socket that a power supply passes on (assumed: 80 PLUS Gold, 87 to 90 %)."""


def power_w(gpu: Gpu, num_gpus: int) -> float | None:
    """Power from the socket of all machines, with GPUs at their power limits, in watts; None if the limit is not known."""
    limits = num_gpus * gpu.power_w
    if not limits:
        return None
    if gpu.machine == "server":
        return limits * SERVER_POWER * COOLING_POWER
    machines = math.ceil(num_gpus / gpu.gpus_per_node)
    return (limits + machines * (DESKTOP_W if gpu.machine == "desktop" else LAPTOP_W)) / SUPPLY_SHARE
