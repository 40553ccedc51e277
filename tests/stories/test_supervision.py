"""Whatever is killed, frozen, doubled or out of space, a run is what its status says, and nothing that was saved is lost."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import patience
from seedbed import actions
from seedbed.checkpoint.reading import find, load
from seedbed.events import Run, Step, encode
from seedbed.locks import Lock
from seedbed.runs import status as status_module
from seedbed.runs.process import start_time
from seedbed.runs.status import status
from seedbed.runs.store import RunDir, Store

FAKE = Path(__file__).resolve().parents[1] / "fake_seedbed.py"
SLOW_S = "0.03"


@pytest.fixture
def shop(workshop: Any) -> Iterator[Any]:
    """A workshop whose jobs live like real ones but train nothing."""
    workshop.command = (sys.executable, str(FAKE))
    workshop.environment["FAKE_STEP_S"] = SLOW_S
    yield workshop
    end_all(workshop)


@pytest.fixture
def real(workshop: Any) -> Iterator[Any]:
    yield workshop
    end_all(workshop)


def end_all(workshop: Any) -> None:
    for run in runs(workshop):
        found = status(run)
        if found["heartbeat_age_s"] is not None:
            workshop.kill(found["pid"])


def runs(workshop: Any) -> list[RunDir]:
    return Store(workshop.runs).all()


def at_step(workshop: Any, step: int) -> RunDir:
    """The newest run, once it has logged that step."""
    workshop.wait(lambda: any(run for run in runs(workshop)[-1:] if status(run)["step"] >= step))
    return runs(workshop)[-1]


# Killed and frozen ---------------------------------------------------------------------------------------------------


def test_a_killed_job_reads_as_lost_at_once_and_how_to_go_on_is_said(shop: Any) -> None:
    shop.environment["HOLD_AT"] = "40"
    shop.seedbed("train", "--set", "train.steps=60", "--background")
    run = at_step(shop, 12)
    shop.kill(status(run)["pid"])
    patience.until(lambda: status(run)["status"] == "lost", 5)
    found = shop.status()
    assert found["status"] == "lost"
    assert "ended without logging why" in found["reason"]
    assert f"`seedbed resume {run.id}`" in found["hint"]
    assert (found["remaining_s"], found["heartbeat_age_s"]) == (None, None)
    told = shop.seedbed("status").stdout
    assert "`seedbed resume nano-stories` continues" in told
    shop.let_go(run.path)
    assert json.loads(shop.seedbed("resume", run.id, "--json").stdout)["status"] == "completed"
    assert shop.status()["session"] == 2


def test_a_frozen_job_stalls_is_nobody_elses_and_goes_on_when_it_wakes(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_module, "STALE_S", 2.0)
    shop.seedbed("train", "--set", "train.steps=1000000", "--background")
    run = at_step(shop, 5)
    pid = status(run)["pid"]
    os.kill(pid, signal.SIGSTOP)
    patience.until(lambda: status(run)["status"] == "stalled", 10)
    assert status(run)["heartbeat_age_s"] > 2
    refused = shop.seedbed("resume", run.id, expect=1)
    assert "already running" in refused.stderr
    frozen_at = status(run)["step"]
    os.kill(pid, signal.SIGCONT)
    patience.until(lambda: status(run)["status"] == "running" and status(run)["step"] > frozen_at, 10)
    shop.seedbed("stop", "--wait")
    assert (shop.status()["status"], shop.status()["session"]) == ("stopped", 1)


@pytest.mark.slow
def test_a_frozen_job_stalls_after_twenty_seconds(shop: Any) -> None:
    shop.seedbed("train", "--set", "train.steps=1000000", "--background")
    run = at_step(shop, 5)
    os.kill(status(run)["pid"], signal.SIGSTOP)
    frozen = time.monotonic()
    patience.until(lambda: shop.status()["status"] == "stalled", 40)
    assert time.monotonic() - frozen > 18
    assert "the job hangs or compiles, or the machine was asleep" in shop.seedbed("status").stdout
    assert "already running" in shop.seedbed("resume", run.id, expect=1).stderr
    os.kill(status(run)["pid"], signal.SIGCONT)


def test_a_killed_window_leaves_the_run_training(real: Any, uninterrupted: tuple[list[tuple[Any, ...]], str]) -> None:
    real.pace(40)
    window = real.start("train", real.config())
    run = at_step(real, 5)
    window.kill()
    window.communicate()
    real.let_go(run.path)
    real.wait(lambda: status(run)["status"] == "completed")
    assert (real.steps(run.path), real.weights(run.path)) == uninterrupted
    assert status(run)["session"] == 1


def test_window_and_job_killed_at_the_same_moment(real: Any, uninterrupted: tuple[list[tuple[Any, ...]], str]) -> None:
    real.pace(24)
    window = real.start("train", real.config())
    run = at_step(real, 17)
    pid = status(run)["pid"]
    window.kill()
    real.kill(pid)
    window.communicate()
    patience.until(lambda: status(run)["status"] == "lost", 5)
    real.let_go(run.path)
    assert json.loads(real.seedbed("resume", "--json").stdout)["status"] == "completed"
    assert (real.steps(run.path), real.weights(run.path)) == uninterrupted


@pytest.mark.parametrize("foreground", [False, True])
def test_a_killed_shell_takes_no_run_with_it(foreground: bool, shop: Any) -> None:
    shop.environment["HOLD_AT"] = "40"
    command = [*shop.command, "train", "--set", "train.steps=80", *([] if foreground else ["--background"])]
    shell = subprocess.Popen(
        ["bash", "-c", f"{shlex.join(command)}; sleep 60"],
        cwd=shop.folder,
        env=shop.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    run = at_step(shop, 5)
    os.killpg(shell.pid, signal.SIGKILL)
    assert shell.wait() == -signal.SIGKILL
    assert status(run)["status"] == "running"
    shop.let_go(run.path)
    shop.wait(lambda: status(run)["status"] == "completed", 30)
    assert status(run)["step"] == 80


# Many at once --------------------------------------------------------------------------------------------------------


def test_twenty_runs_started_at_once_all_end_and_are_told_apart(shop: Any) -> None:
    shop.environment["FAKE_STEP_S"] = "0.001"
    started = [shop.start("train", "--set", "train.steps=12", "--json", stderr=subprocess.DEVNULL) for _ in range(20)]
    told = [json.loads(each.communicate(timeout=patience.HANG_S)[0]) for each in started]
    assert [each.returncode for each in started] == [0] * 20
    assert [found["status"] for found in told] == ["completed"] * 20
    assert len({found["id"] for found in told}) == 20
    assert len({found["name"] for found in told}) == 20, sorted(found["name"] for found in told)
    assert {run.id for run in runs(shop)} == {found["id"] for found in told}
    for found in told:
        steps = [event["step"] for event in shop.events(shop.runs / found["id"]) if event["kind"] == "step"]
        assert steps == list(range(1, 13))


@pytest.mark.parametrize("words", [["--background"], []])
def test_of_two_that_resume_a_run_at_once_one_wins(words: list[str], shop: Any) -> None:
    shop.seedbed("train", "--set", "train.steps=1000000", "--background")
    run = at_step(shop, 3)
    shop.seedbed("stop", "--wait")
    both = [shop.start("resume", run.id, *words) for _ in range(2)]
    patience.until(lambda: any(each.poll() for each in both) or all(each.poll() == 0 for each in both), 30)
    patience.until(lambda: status(run)["session"] == 2 and status(run)["status"] == "running", 30)
    shop.seedbed("stop", "--wait")
    said = [each.communicate(timeout=patience.HANG_S) for each in both]
    refused = [err for (_, err), each in zip(said, both, strict=True) if each.returncode not in (0, 130)]
    assert len(refused) == 1, said
    assert "already running" in refused[0]
    assert "ended unexpectedly" not in refused[0]
    assert status(run)["session"] == 2
    pids = {event["pid"] for event in shop.events(run.path) if event["kind"] == "run" and "pid" in event}
    assert len(pids) == 2, "the loser wrote into the log"


# A pid that is another's ---------------------------------------------------------------------------------------------


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with any run, and dies of the first signal."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


def forged(shop: Any, pid: int, started: float) -> RunDir:
    """A run whose log says that this process trains it."""
    run = Store(shop.runs).create("train", "forged", "", {})
    boot = Path("/proc/sys/kernel/random/boot_id")
    hello = Run(
        status="running",
        session=1,
        pid=pid,
        process_start=started,
        boot_id=boot.read_text().strip() if boot.exists() else "",
        host=os.uname().nodename,
        steps=100,
    )
    step = Step(step=7, loss=2.0, lr=0.1, grad_norm=1.0, tokens=7, step_s=0.1)
    now = time.time()
    run.events.write_bytes(encode(hello, 0, now - 60) + encode(step, 1, now - 50))
    run.lock.touch()
    return run


def test_a_run_whose_pid_went_to_another_process_is_lost_and_that_one_is_left_alone(
    shop: Any, bystander: subprocess.Popen[bytes]
) -> None:
    started = start_time(bystander.pid)
    assert started is not None
    run = forged(shop, bystander.pid, started - 30)
    found = shop.status()
    assert (found["status"], found["heartbeat_age_s"], found["step"]) == ("lost", None, 7)
    assert "not running (lost)" in shop.seedbed("stop", run.id, expect=1).stderr
    assert "not running (lost)" in shop.seedbed("pause", run.id, expect=1).stderr
    assert bystander.poll() is None, "a process that has nothing to do with the run was signalled"


def test_a_stop_that_nobody_hears_signals_no_bystander(shop: Any, bystander: subprocess.Popen[bytes]) -> None:
    started = start_time(bystander.pid)
    assert started is not None
    run = forged(shop, bystander.pid, started - 30)
    lock = Lock(run.lock)  # as a job in another container holds it, where the pid means something
    assert lock.acquire()
    assert shop.status()["status"] == "running"
    shop.seedbed("stop", run.id)
    assert bystander.poll() is None, "a process that has nothing to do with the run was signalled"
    lock.release()
    assert shop.status()["status"] == "lost"


# A full disk, and pausing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leave_bytes", [1_500_000, 0])
def test_a_disk_that_fills_under_a_training_pauses_it_until_there_is_space(
    leave_bytes: int,
    open_workshop: Any,
    tmp_path: Path,
    small_disk: Path,
    fill: Callable[[Path], Path],
    uninterrupted: tuple[list[tuple[Any, ...]], str],
) -> None:
    shop = open_workshop(tmp_path, small_disk / "runs")
    shop.pace(10)
    shop.seedbed("train", shop.config(), "--set", "train.keep_last=1", "--background")
    run = at_step(shop, 1)
    shop.wait(lambda: status(run)["checkpoint"])
    pid = status(run)["pid"]
    os.kill(pid, signal.SIGSTOP)  # a full disk would have no room for the file that lets it go
    shop.let_go(run.path)
    filler = fill(small_disk)
    os.truncate(filler, filler.stat().st_size - leave_bytes)
    os.kill(pid, signal.SIGCONT)
    shop.wait(lambda: status(run)["status"] == "paused", 60)
    found = shop.status()
    assert found["status"] == "paused"
    assert found["reason"].startswith("The disk is full: ")
    assert "continues automatically" in found["hint"]
    assert "The disk is full" in shop.seedbed("status").stdout
    good = find(run.checkpoints).good
    assert good
    assert load(good[-1]).step >= 7
    assert status(run)["checkpoint_step"] == load(good[-1]).step
    held_at = found["step"]
    time.sleep(1.5)
    assert status(run)["step"] == held_at
    filler.unlink()
    shop.wait(lambda: status(run)["status"] == "completed", 60)
    assert (shop.steps(run.path), shop.weights(run.path)) == uninterrupted
    numbers = [event["n"] for event in shop.events(run.path)]
    assert numbers == list(range(len(numbers)))
    assert not list(run.checkpoints.glob(".*"))


def test_pausing_a_training_changes_nothing_in_it(real: Any, uninterrupted: tuple[list[tuple[Any, ...]], str]) -> None:
    real.pace(5, 20)
    real.seedbed("train", real.config(), "--background")
    run = at_step(real, 2)
    # The first by the control file, then by a signal.
    for ask in (lambda: actions.pause(run), lambda: os.kill(status(run)["pid"], signal.SIGTSTP)):
        ask()
        patience.until(lambda: status(run)["status"] == "paused", 20)
        held = status(run)
        assert held["checkpoint_step"] == held["step"] < 60
        assert load(Path(held["checkpoint"])).step == held["step"]
        time.sleep(0.3)
        assert status(run)["step"] == held["step"]
        real.seedbed("resume", "latest")
        patience.until(lambda held=held: status(run)["step"] > held["step"], 20)
    real.let_go(run.path)
    real.wait(lambda: status(run)["status"] == "completed")
    assert (real.steps(run.path), real.weights(run.path)) == uninterrupted
    assert status(run)["session"] == 1


def test_a_paused_training_that_is_killed_loses_no_step(
    real: Any, uninterrupted: tuple[list[tuple[Any, ...]], str]
) -> None:
    real.pace(5)
    real.seedbed("train", real.config(), "--background")
    run = at_step(real, 2)
    actions.pause(run).wait(lambda stands: stands.status == "paused")
    held = status(run)
    assert held["step"] < 60
    real.kill(held["pid"])
    patience.until(lambda: status(run)["status"] == "lost", 5)
    real.let_go(run.path)
    real.seedbed("resume", "latest")
    assert (real.steps(run.path), real.weights(run.path)) == uninterrupted
    begun = [event for event in real.events(run.path) if event["kind"] == "run" and "steps" in event]
    assert begun[-1]["step"] == held["step"]


def test_retention_never_leaves_a_run_without_a_checkpoint(real: Any) -> None:
    options = ("train.checkpoint_every=2", "train.keep_every=20", "train.keep_last=1", "train.keep_best=false")
    sets = [word for option in options for word in ("--set", option)]
    window = real.start("train", real.config(), *sets)
    looks, least = 0, 9
    while window.poll() is None:
        for run in runs(real):
            there = [path for path in run.checkpoints.glob("step-*") if (path / "DONE").exists()]
            if there or looks:
                looks, least = looks + 1, min(least, len(there))
        time.sleep(0.001)
    _, err = window.communicate()
    assert window.returncode == 0, err
    assert looks > 5
    assert least >= 1
    (run,) = runs(real)
    assert [load(path).step for path in find(run.checkpoints).good] == [20, 40, 60]
    # A session that starts over from an earlier step lets go of what came later, once it has saved again.
    resumed = real.start("resume", run.id, "--from", "20", "--more-steps", "5")
    least = 9
    while resumed.poll() is None:
        least = min(least, sum((path / "DONE").exists() for path in run.checkpoints.glob("step-*")))
        time.sleep(0.001)
    resumed.communicate()
    assert least >= 1
    assert [load(path).step for path in find(run.checkpoints).good] == [20, 25]


@pytest.mark.parametrize("moved", [False, True], ids=["removed", "moved"])
def test_a_job_whose_folder_is_taken_away_ends_and_leaves_nothing(real: Any, moved: bool) -> None:
    """It could be seen and stopped by nobody any more; and what was moved must not be written to by two."""
    real.seedbed(
        "train", real.config(), "--background", "--set", "train.steps=100000", "--set", "train.checkpoint_every=3"
    )
    run = real.run_dir()
    real.wait(lambda: len(real.steps(run)) >= 10)
    pid = real.status()["pid"]
    if moved:
        run.rename(real.folder / run.name)
    else:
        while run.exists():  # the job writes there meanwhile
            shutil.rmtree(run, ignore_errors=True)
    patience.until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE, 10)
    assert not run.exists(), [entry.name for entry in run.iterdir()]
    if moved:
        found = status(RunDir(real.folder / run.name))
        assert found["status"] in ("stopped", "failed")  # failed, where it was just about to save
        assert found["checkpoint_step"] <= found["step"]
