"""The window shows the runs and the machine while jobs train, end and are killed."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from typing import Any

import pytest
from tests.patience import HANG_S, limit

from seedbed import actions
from seedbed.events import Hardware
from seedbed.runs.status import read_state, status
from seedbed.tui.curve import Curve
from seedbed.tui.details import Details
from seedbed.tui.runs import RunsPanel
from seedbed.tui.system import SystemPanel

FOREVER = "100000000"
GIB = 2**30


def events(run: Any, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in run.events.read_bytes().splitlines() if line.endswith(b"}")]
    return [line for line in lines if line["kind"] == kind]


def steps(cells: dict[str, str]) -> int:
    """The steps done according to a row; -1 if it shows none, or none yet."""
    done = cells.get("STEP", "").partition("/")[0]
    return int(done) if done.isdecimal() else -1


# Runs ----------------------------------------------------------------------------------------------------------------


async def test_a_running_run_is_shown_live(open_window: Any, store: Any, job: Any) -> None:
    """Steps, losses, device and remaining time are those that the job writes, and they are updated."""
    async with open_window(store, (200, 60)) as user:
        run = job(store, "maple", train__steps=FOREVER).run
        await user.until(lambda: steps(user.cells("maple")) > 0, "the first step")
        first = steps(user.cells("maple"))
        await user.until(lambda: steps(user.cells("maple")) > first, "later steps")
        await user.until(lambda: user.cells("maple").get("VAL", "-") != "-", "a validation")
        await user.until(lambda: user.cells("maple").get("LEFT", "-") != "-", "the remaining time")
        cells = user.cells("maple")
        assert cells["STATUS"] == "running"
        assert cells["STEP"].endswith("/100M")
        assert cells["DEVICE"] == "cpu"
        assert cells["GPU"] == "n/a"
        assert cells["LOSS"] in {f"{step['loss']:.4f}" for step in events(run, "step")}
        assert cells["VAL"] in {f"{each['loss']:.4f}" for each in events(run, "eval")}
        assert re.fullmatch(r"[\d.]+s", cells["ELAPSED"])
        # Running runs come first.
        assert user.window.panel(RunsPanel).table.ids[0] == run.id
        assert "1 running" in user.row("1 Runs ")
        assert "no active runs" not in user.text


async def test_no_run_one_run_and_many_runs_are_shown(
    open_window: Any, empty_store: Any, store: Any, many_runs: Any, find_run: Any
) -> None:
    """An empty store shows what to do; one run and 200 runs are listed with their status."""
    async with open_window(empty_store, (80, 24)) as user:
        await user.see("no active runs", "No runs yet: press 3 to start one.")
        await user.keys("enter", "p", "s", "R", "w", "e", "A", "D", "space", "j", "k", "G", "plus", "x")
        await user.see_notification("No run is selected.")
    for run in store.all():
        if run.name() != "elm":
            actions.delete(run)
    async with open_window(store, (80, 24)) as user:
        await user.until(lambda: user.cells("elm").get("STATUS") == "failed")
        # The reason for the missing curve is shown in full.
        await user.see("1 failed", "The folder ")
        await user.until(
            lambda: '[bold]notext[/]"isempty.' in "".join(user.part("#curve").split()), "the path and its end"
        )
    store.root = many_runs
    async with open_window(store, (80, 24)) as user:
        assert len(user.window.panel(RunsPanel).table.ids) == 200
        await user.until(lambda: user.cells("cedar 197").get("STATUS") == "lost")
        assert "80 completed · 40 failed · 40 lost · 40 stopped" in user.row("1 Runs ")


async def test_details_show_curve_log_config_differences_and_samples(
    open_window: Any, store: Any, find_run: Any
) -> None:
    """The five tabs show what the job wrote into the run's folder."""
    fir, oak = find_run(store, "fir"), find_run(store, "oak")
    fir.log.write_text("\n".join(f"line {number} of the log" for number in range(1000)))
    async with open_window(store, (80, 24)) as user:
        await user.keys("space", "enter")
        await user.until(lambda: isinstance(user.screen, Details))
        found = status(fir)
        await user.see("fir", "completed", f"loss {found['loss']:.4f}", f"val {found['val_loss']:.4f}", "step 55/55")
        curve = user.screen.query_one("#big-curve", Curve)
        await user.until(lambda: "⣿ train ⠒ validation" in user.text and curve.shown, "the curve")
        # The curve marks the start of the second session.
        await user.see("↻", "▴", "▲")
        await user.see("◇ validated ▴ saved ▲ best ↻ resumed")
        await user.keys("x")
        await user.see("x: tokens")
        await user.keys("y", "m")
        await user.see("x: tokens · log · EMA 0.6")
        await user.keys("2")
        # A log is opened at its end.
        await user.see("line 999 of the log")
        await user.keys("3")
        await user.see("layers = 1", "the test")
        await user.keys("4")
        await user.see("another run")
        select = user.screen.query_one("#other")
        select.value = oak.id
        await user.see("no difference")
        select.value = find_run(store, "birch").id
        await user.see("train.steps", "40", FOREVER)
        await user.keys("5")
        sample = events(fir, "sample")[-1]
        await user.see(f"step {sample['step']}", sample["prompt"])
        await user.keys("escape")
        await user.see("1 Runs", "5 Models")


async def test_a_killed_job_is_soon_shown_as_lost_and_can_be_resumed(open_window: Any, store: Any, job: Any) -> None:
    """After kill -9 the job logs nothing more; the window shows `lost`, and R resumes from the checkpoint."""
    run = job(store, "maple", train__steps=FOREVER).run
    took = []
    async with open_window(store, (100, 30)) as user:
        while not took or (took[-1] >= limit(1.25) and len(took) < 3):  # a busy machine may delay one of them
            session = len(took) + 1
            await user.until(lambda session=session: status(run)["session"] == session, "the session")
            await user.until(lambda: steps(user.cells("maple")) > 10, "steps")
            os.kill(status(run)["pid"], signal.SIGKILL)
            killed = time.monotonic()
            await user.until(lambda: user.cells("maple").get("STATUS") == "lost", "lost")
            took.append(time.monotonic() - killed)
            saved = status(run)["checkpoint_step"]
            assert saved is not None
            await user.choose("maple")
            await user.keys("R")
            await user.see("Resume this run?", f"maple (lost) continues from step {saved}.")
            await user.keys("y")
            await user.until(lambda: user.cells("maple").get("STATUS") == "running", "the resumed run")
            await user.until(lambda saved=saved: steps(user.cells("maple")) > saved, "steps of the next session")
        assert min(took) < limit(1.25), took


async def test_elapsed_time_remaining_time_and_end_are_shown_and_saved(open_window: Any, store: Any, job: Any) -> None:
    """The run's state has the times that the window shows; a stopped run has no remaining time."""
    async with open_window(store, (130, 40)) as user:
        run = job(store, "maple", train__steps=FOREVER).run
        await user.see("maple")
        await user.until(lambda: steps(user.cells("maple")) > 30, "steps")
        user.window.panel(RunsPanel).table.go_to(run.id)
        await user.keys("enter")
        await user.until(
            lambda: re.search(r"elapsed \d.*left \d+[dhm] .*\(ends about \d\d \w+ \d\d:\d\d:\d\d\)", user.text)
        )
        saved_status = lambda: state.status if (state := read_state(run)) is not None else {}  # noqa: E731
        await user.until(
            lambda: saved_status().get("elapsed_s", 0) > 0, "the time in the state, which is written each second"
        )
        assert saved_status()["steps"] == int(FOREVER)
        await user.keys("escape", "2")
        await user.until(lambda: re.search(r"runs +1 running, \d+[dhm].* left in total", user.text))
        await user.keys("1", "D")
        await user.see("stop it before you delete it")
        await user.keys("s", "y")
        await user.until(lambda: user.cells("maple").get("STATUS") == "stopped", "the end")
        assert user.cells("maple")["LEFT"] == "-"
        await user.keys("2")
        await user.see("No active runs.")


async def test_the_requested_and_the_used_device_are_shown(open_window: Any, store: Any, job: Any) -> None:
    """A missing GPU: the run uses the CPU, which the window shows; with strict_device it fails with the reason."""
    lenient = job(store, "lenient", train__device="A30")
    strict = job(store, "strict", train__device="A30", train__strict_device="true")
    assert lenient.process.wait(HANG_S) == 0
    assert strict.process.wait(HANG_S) != 0
    async with open_window(store, (130, 40)) as user:
        await user.until(lambda: user.cells("lenient").get("STATUS") == "completed")
        await user.until(lambda: user.cells("strict").get("STATUS") == "failed")
        await user.keys("z")
        await user.until(lambda: "DEVICE" in user.cells("lenient"))
        assert user.cells("lenient")["DEVICE"] == "cpu"
        user.window.panel(RunsPanel).table.go_to(lenient.run.id)
        await user.keys("enter")
        await user.see("on cpu (requested: A30)")
        await user.keys("escape")
        user.window.panel(RunsPanel).table.go_to(strict.run.id)
        await user.keys("enter")
        reason = status(strict.run)["reason"]
        assert "A30" in reason
        await user.see(reason[:60])
    assert status(lenient.run)["device_asked"] == "A30"
    assert status(lenient.run)["device"] == "cpu"
    assert strict.run.meta()["device_asked"] == "A30"


# The machine ---------------------------------------------------------------------------------------------------------


class FakeSampler:
    """A sampler that always returns the same figures."""

    def __init__(self, hardware: Hardware) -> None:
        self.hardware = hardware

    def sample(self) -> Hardware:
        return self.hardware


BUSY = Hardware(
    cpu_fraction=0.42,
    process_cpu_fraction=0.1,
    cpu_cores=16,
    load_1m=3.25,
    rss_bytes=GIB,
    ram_used_bytes=32 * GIB,
    ram_total_bytes=64 * GIB,
    gpu_fraction=0.87,
    gpu_used_bytes=20 * GIB,
    gpu_total_bytes=80 * GIB,
    gpu_temperature_c=61.0,
    gpu_power_w=412.0,
    missing=None,
)


@pytest.mark.parametrize("size", [(80, 24), (130, 40)])
async def test_available_machine_figures_are_shown(open_window: Any, store: Any, size: tuple[int, int]) -> None:
    """GPU use, memory, temperature, power, CPU, cores, load and RAM, in figures."""
    async with open_window(store, size) as user:
        panel = user.window.panel(SystemPanel)
        panel._sampler = FakeSampler(BUSY)
        await user.keys("2")
        await user.see(
            "42%", "16 cores, load 3.25", "50%", "32.0 GiB of 64.0 GiB", "87%", "25%", "20.0 GiB of 80.0 GiB"
        )
        await user.see("61 °C", "412 W", "measured by this window: no job is training")
        assert "n/a" not in user.part("#system-text")
        await user.keys("1")
        await user.see("2 System ─ CPU 42% · RAM 32.0 GiB of 64.0 GiB")


async def test_missing_machine_figures_are_shown_with_the_reason(open_window: Any, store: Any) -> None:
    """Each missing figure is n/a with the reason, never blank and never zero."""
    missing = {
        "cpu_fraction": "the counters stood still",
        "load_1m": "this system has no load average",
        "ram_used_bytes": "no /proc here",
        "gpu_fraction": "the driver is too old",
        "gpu_used_bytes": "not told by this card",
        "gpu_total_bytes": "not told by this card",
        "gpu_temperature_c": "no sensor",
        "gpu_power_w": "not permitted",
    }
    hardware = Hardware(cpu_cores=2, rss_bytes=GIB, missing=missing)
    async with open_window(store, (130, 40)) as user:
        user.window.panel(SystemPanel)._sampler = FakeSampler(hardware)
        await user.keys("2")
        await user.see("CPU   n/a (the counters stood still)", "RAM   n/a (no /proc here)")
        await user.see("GPU   n/a (the driver is too old)", "VRAM  n/a (not told by this card)")
        await user.see("temp  n/a (no sensor)", "power n/a (not permitted)")
        assert "0%" not in user.part("#system-text")


async def test_figures_of_the_real_machine_and_of_a_real_job_are_shown(open_window: Any, store: Any, job: Any) -> None:
    """Without a job the window samples the machine itself; with one it shows the job's figures and its name."""
    async with open_window(store, (130, 40)) as user:
        await user.keys("2")
        await user.until(lambda: re.search(r"CPU +[█░]+ +\d+% +\d+ cores, load \d", user.text), "a real sample")
        await user.until(lambda: re.search(r"RAM +[█░]+ +\d+% +[\d.]+ \wiB of [\d.]+ \wiB", user.text))
        run = job(store, "maple", train__steps=FOREVER).run
        await user.see("recorded by maple")
        await user.until(lambda: re.search(r"job +[\d.]+ MiB resident", user.text), "the job's memory")
        recorded = events(run, "hardware")[-1]
        reason = (recorded.get("missing") or {}).get("gpu_fraction")
        if recorded.get("gpu_fraction") is None:
            assert reason
            assert reason[:20] in user.part("#system-text")
        await user.until(lambda: re.search(r"runs +1 running", user.text))


async def test_a_reason_that_needs_more_lines_than_the_one_before_is_shown_in_full(
    open_window: Any, store: Any
) -> None:
    """The number of lines depends on where the words can be broken."""
    async with open_window(store, (80, 24)) as user:
        sampler = user.window.panel(SystemPanel)._sampler = FakeSampler(
            Hardware(cpu_cores=2, missing={"gpu_fraction": " ".join(["short"] * 15) + " end"})
        )
        await user.keys("2")
        await user.until(lambda: "short end)" in user.part_in_a_line("#system-text"), "the first reason")
        # 57, 46 and 30 cells of 76: no two of them fit into a line.
        reason = f"l{43 * 'o'}ng l{43 * 'o'}ng {26 * 'x'}end"
        sampler.hardware = Hardware(cpu_cores=2, missing={"gpu_fraction": reason})
        await user.until(lambda: "xxend)" in user.part_in_a_line("#system-text"), "the end of the longer one")
        await user.until(lambda: "measured by this window" in user.part("#system-text"), "the last line")
