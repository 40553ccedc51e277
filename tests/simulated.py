"""Scenarios for the tests of the simulator."""

from __future__ import annotations

from typing import Any

from seedbed.simulate.failures import Reliability
from seedbed.simulate.scenario import Collective, Scenario

CALM = Reliability(node_rate=0.0, job_rate=0.0, maintenance_rate=0.0, slow_rate=0.0)
"""Nothing ever fails."""


def scenario(**changes: Any) -> Scenario:
    """An 8B model on 128 nodes for about 15 hours, on which nodes fail about once an hour."""
    wanted: dict[str, Any] = {
        "parameters": 8_030_000_000,
        "vocab": 128_256,
        "steps": 12_000,
        "tokens_per_step": 4_194_304,
        "sequences_per_step": 512,
        "step_s": 4.5,
        "nodes": 128,
        "spare_nodes": 4,
        "peak_flops": 989e12,
        "gpu_memory_bytes": 80 << 30,
        "gpu_used_bytes": 61 << 30,
        "gpu_idle_w": 90.0,
        "gpu_power_w": 700.0,
        "checkpoint_bytes": 112_000_000_000,
        "checkpoint_blocking_s": 5.0,
        "checkpoint_write_s": 40.0,
        "load_s": 30.0,
        "eval_every": 1000,
        "eval_tokens": 10_000_000,
        "eval_s": 20.0,
        "warmup_steps": 500,
        "floor": 0.0,
        "log_points": 400,
        "collectives": (Collective("all_reduce", 1 << 30, 0.3),),
        "reliability": Reliability(node_rate=120.0),
    }
    return Scenario(**(wanted | changes))


def llama_3(**changes: Any) -> Scenario:
    """The run of 405B parameters on 16,384 GPUs whose failures were published, over 54 days."""
    wanted: dict[str, Any] = {
        "model": "llama3-405b",
        "gpu": "H100",
        "parameters": 405_850_000_000,
        "vocab": 128_256,
        "steps": 920_000,
        "tokens_per_step": 16_777_216,
        "sequences_per_step": 2048,
        "step_s": 4.66,
        "nodes": 2048,
        "spare_nodes": 64,
        "checkpoint_blocking_s": 12.0,
        "checkpoint_write_s": 30.0,
        "load_s": 60.0,
        "warmup_steps": 8000,
        "eval_every": 5000,
        "eval_tokens": 10_000_000,
        "eval_s": 20.0,
    }
    return Scenario(**(wanted | changes))
