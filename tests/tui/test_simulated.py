"""A simulated run on thousands of GPUs in the window: every panel says what is simulated, and what is of this machine."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

from tests.patience import until

from seedbed import actions
from seedbed.config.resolving import resolve
from seedbed.config.roots import SIMULATE
from seedbed.runs.kinds import KINDS
from seedbed.runs.status import status
from seedbed.runs.store import RunDir, Store

SETS = ("simulate.model=llama3-405b", "cluster.gpus=16384xH100", "simulate.tokens=15.6e12", "simulate.seed=7")


def simulate(store: Store, speed: float = 3000.0) -> RunDir:
    """Start a simulated run of about two months that has trained for some hours."""
    wanted = resolve(SIMULATE, sets=[*SETS, f"playback.speed={speed}"])
    run = actions.start_new_run(store, KINDS["simulate"], wanted, "huge", None, sys.argv).run
    until(lambda: status(run)["val_loss"])
    return run


async def test_the_panels_tell_the_simulated_cluster_from_this_machine(
    open_window: Callable[..., Any], empty_store: Store
) -> None:
    run = simulate(empty_store)
    async with open_window(empty_store, (160, 45)) as user:
        await user.see("SIMULATED huge", "measured by this window: no job is training")
        system = user.part_in_a_line("#system-text")
        assert "left in total" not in system, "the run's clock says nothing about this machine"
        assert re.search(r"left \(simulated\) GPUs \d+% \d+ W", system)
        await user.see_not("RAM   n/a")  # a cluster's sample has no figure of this machine
        await user.keys("w")
        await user.see_notification("is simulated: it has no weights to save.")
        await user.keys("enter", "5")
        await user.see("16,384 x H100-SXM-80GB", "A simulated run has no model, so it writes no samples.")
        await user.keys("escape", "s")
        await user.see("huge stops. You can resume it later.")
        await user.keys("y")
        await user.see_notification("huge stops.")
        await user.until(lambda: status(run)["status"] == "stopped", "the end")
        await user.until(lambda: user.cells("SIMULATED huge").get("STATUS") == "stopped", "its row")
        step = status(run)["step"]
        await user.keys("R")
        await user.see(f"huge (stopped) continues from step {step}.")
        await user.keys("escape")


async def test_a_completed_simulated_run_is_not_trained_further_in_the_window(
    open_window: Callable[..., Any], empty_store: Store
) -> None:
    wanted = resolve(SIMULATE, sets=["simulate.tokens=1e9"])
    actions.start_new_run(empty_store, KINDS["simulate"], wanted, "short", None, sys.argv).process.wait()
    async with open_window(empty_store) as user:
        await user.see("SIMULATED short", "completed")
        await user.keys("R")
        await user.see_notification("short is completed: all of its steps are simulated.")
