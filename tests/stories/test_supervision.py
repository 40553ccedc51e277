"""After kills, freezes, double starts and full disks the status of a run is correct, and no saved step is lost."""

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

import pytest

import orphans
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
def fake_workspace(workspace: Any) -> Iterator[Any]:
    """A workspace whose jobs behave like real ones but train nothing."""
    workspace.command = (sys.executable, str(FAKE))
    workspace.environment["FAKE_STEP_S"] = SLOW_S
    yield workspace
    kill_all_jobs(workspace)


@pytest.fixture
def real_workspace(workspace: Any) -> Iterator[Any]:
    yield workspace
    kill_all_jobs(workspace)


def kill_all_jobs(workspace: Any) -> None:
    for run in runs(workspace):
        found = status(run)
        if found["heartbeat_age_s"] is not None:
            workspace.kill(found["pid"])


def runs(workspace: Any) -> list[RunDir]:
    return Store(workspace.runs).all()


def wait_for_step(workspace: Any, step: int) -> RunDir:
    """Wait until the newest run has logged that step; the run."""
    workspace.wait(lambda: any(run for run in runs(workspace)[-1:] if status(run)["step"] >= step))
    return runs(workspace)[-1]


# Killed and frozen ---------------------------------------------------------------------------------------------------


def test_a_killed_job_is_lost_at_once_and_status_says_how_to_resume(fake_workspace: Any) -> None:
    fake_workspace.environment["HOLD_AT"] = "40"
    fake_workspace.seedbed("train", "--set", "train.steps=60", "--background")
    run = wait_for_step(fake_workspace, 12)
    fake_workspace.kill(status(run)["pid"])
    patience.until(lambda: status(run)["status"] == "lost", 5)
    found = fake_workspace.status()
    assert found["status"] == "lost"
    assert "ended without logging why" in found["reason"]
    assert f"`seedbed resume {run.id}`" in found["hint"]
    assert (found["remaining_s"], found["heartbeat_age_s"]) == (None, None)
    output = fake_workspace.seedbed("status").stdout
    assert "`seedbed resume nano-stories` continues" in output
    fake_workspace.release(run.path)
    assert json.loads(fake_workspace.seedbed("resume", run.id, "--json").stdout)["status"] == "completed"
    assert fake_workspace.status()["session"] == 2


def test_a_frozen_job_is_stalled_cannot_be_resumed_and_continues_after_sigcont(
    fake_workspace: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_module, "STALE_S", 2.0)
    fake_workspace.seedbed("train", "--set", "train.steps=1000000", "--background")
    run = wait_for_step(fake_workspace, 5)
    pid = status(run)["pid"]
    os.kill(pid, signal.SIGSTOP)
    patience.until(lambda: status(run)["status"] == "stalled", 10)
    assert status(run)["heartbeat_age_s"] > 2
    refused = fake_workspace.seedbed("resume", run.id, expect=1)
    assert "already running" in refused.stderr
    frozen_at = status(run)["step"]
    os.kill(pid, signal.SIGCONT)
    patience.until(lambda: status(run)["status"] == "running" and status(run)["step"] > frozen_at, 10)
    fake_workspace.seedbed("stop", "--wait")
    assert (fake_workspace.status()["status"], fake_workspace.status()["session"]) == ("stopped", 1)


@pytest.mark.slow
def test_a_frozen_job_is_stalled_after_twenty_seconds(fake_workspace: Any) -> None:
    fake_workspace.seedbed("train", "--set", "train.steps=1000000", "--background")
    run = wait_for_step(fake_workspace, 5)
    os.kill(status(run)["pid"], signal.SIGSTOP)
    frozen = time.monotonic()
    patience.until(lambda: fake_workspace.status()["status"] == "stalled", 40)
    assert time.monotonic() - frozen > 18
    assert "the job hangs or compiles, or the machine was asleep" in fake_workspace.seedbed("status").stdout
    assert "already running" in fake_workspace.seedbed("resume", run.id, expect=1).stderr
    os.kill(status(run)["pid"], signal.SIGCONT)


@pytest.mark.usefixtures("new_interpreters")
def test_a_run_continues_after_its_train_command_is_killed(
    real_workspace: Any, uninterrupted: tuple[list[tuple[Any, ...]], str]
) -> None:
    real_workspace.hold_at(40)
    command = real_workspace.start("train", real_workspace.config())
    run = wait_for_step(real_workspace, 5)
    command.kill()
    command.communicate()
    real_workspace.release(run.path)
    real_workspace.wait(lambda: status(run)["status"] == "completed")
    assert (real_workspace.steps(run.path), real_workspace.weights(run.path)) == uninterrupted
    assert status(run)["session"] == 1


@pytest.mark.usefixtures("new_interpreters")
def test_a_run_resumes_bit_equal_after_command_and_job_were_killed_together(
    real_workspace: Any, uninterrupted: tuple[list[tuple[Any, ...]], str]
) -> None:
    real_workspace.hold_at(24)
    command = real_workspace.start("train", real_workspace.config())
    run = wait_for_step(real_workspace, 17)
    pid = status(run)["pid"]
    command.kill()
    real_workspace.kill(pid)
    command.communicate()
    patience.until(lambda: status(run)["status"] == "lost", 5)
    real_workspace.release(run.path)
    assert json.loads(real_workspace.seedbed("resume", "--json").stdout)["status"] == "completed"
    assert (real_workspace.steps(run.path), real_workspace.weights(run.path)) == uninterrupted


@pytest.mark.parametrize("foreground", [False, True])
def test_a_run_continues_after_its_shell_is_killed(foreground: bool, fake_workspace: Any) -> None:
    fake_workspace.environment["HOLD_AT"] = "40"
    command = [*fake_workspace.command, "train", "--set", "train.steps=80", *([] if foreground else ["--background"])]
    shell = subprocess.Popen(
        ["bash", "-c", f"{shlex.join(command)}; sleep 60"],
        cwd=fake_workspace.folder,
        env=fake_workspace.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    run = wait_for_step(fake_workspace, 5)
    os.killpg(shell.pid, signal.SIGKILL)
    assert shell.wait() == -signal.SIGKILL
    assert status(run)["status"] == "running"
    fake_workspace.release(run.path)
    fake_workspace.wait(lambda: status(run)["status"] == "completed", 30)
    assert status(run)["step"] == 80


# Many at once --------------------------------------------------------------------------------------------------------


def test_twenty_runs_started_at_once_complete_with_distinct_ids_and_names(fake_workspace: Any) -> None:
    fake_workspace.environment["FAKE_STEP_S"] = "0.001"
    started = [
        fake_workspace.start("train", "--set", "train.steps=12", "--json", stderr=subprocess.DEVNULL) for _ in range(20)
    ]
    reports = [json.loads(each.communicate(timeout=patience.HANG_S)[0]) for each in started]
    assert [each.returncode for each in started] == [0] * 20
    assert [found["status"] for found in reports] == ["completed"] * 20
    assert len({found["id"] for found in reports}) == 20
    assert len({found["name"] for found in reports}) == 20, sorted(found["name"] for found in reports)
    assert {run.id for run in runs(fake_workspace)} == {found["id"] for found in reports}
    for found in reports:
        steps = [
            event["step"]
            for event in fake_workspace.events(fake_workspace.runs / found["id"])
            if event["kind"] == "step"
        ]
        assert steps == list(range(1, 13))


@pytest.mark.parametrize("words", [["--background"], []])
def test_only_one_of_two_simultaneous_resumes_of_a_run_succeeds(words: list[str], fake_workspace: Any) -> None:
    fake_workspace.seedbed("train", "--set", "train.steps=1000000", "--background")
    run = wait_for_step(fake_workspace, 3)
    fake_workspace.seedbed("stop", "--wait")
    both = [fake_workspace.start("resume", run.id, *words) for _ in range(2)]
    patience.until(lambda: any(each.poll() for each in both) or all(each.poll() == 0 for each in both), 30)
    patience.until(lambda: status(run)["session"] == 2 and status(run)["status"] == "running", 30)
    fake_workspace.seedbed("stop", "--wait")
    outputs = [each.communicate(timeout=patience.HANG_S) for each in both]
    refused = [err for (_, err), each in zip(outputs, both, strict=True) if each.returncode not in (0, 130)]
    assert len(refused) == 1, outputs
    assert "already running" in refused[0]
    assert "ended unexpectedly" not in refused[0]
    assert status(run)["session"] == 2
    pids = {event["pid"] for event in fake_workspace.events(run.path) if event["kind"] == "run" and "pid" in event}
    assert len(pids) == 2, "the refused resume wrote into the log"


# A pid of another process --------------------------------------------------------------------------------------------


@pytest.fixture
def unrelated_process() -> Iterator[subprocess.Popen[bytes]]:
    """A process unrelated to any run; any signal ends it."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


def forge_run(workspace: Any, pid: int, started: float) -> RunDir:
    """A run whose log claims that this process trains it."""
    run = Store(workspace.runs).create("train", "forged", "", {})
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


def test_a_run_whose_pid_was_reused_is_lost_and_the_other_process_gets_no_signal(
    fake_workspace: Any, unrelated_process: subprocess.Popen[bytes]
) -> None:
    started = start_time(unrelated_process.pid)
    assert started is not None
    run = forge_run(fake_workspace, unrelated_process.pid, started - 30)
    found = fake_workspace.status()
    assert (found["status"], found["heartbeat_age_s"], found["step"]) == ("lost", None, 7)
    assert "not running (lost)" in fake_workspace.seedbed("stop", run.id, expect=1).stderr
    assert "not running (lost)" in fake_workspace.seedbed("pause", run.id, expect=1).stderr
    assert unrelated_process.poll() is None, "an unrelated process was signalled"


def test_a_stop_request_signals_no_unrelated_process_with_the_pid_of_the_run(
    fake_workspace: Any, unrelated_process: subprocess.Popen[bytes]
) -> None:
    started = start_time(unrelated_process.pid)
    assert started is not None
    run = forge_run(fake_workspace, unrelated_process.pid, started - 30)
    lock = Lock(run.lock)  # held as by a job in another container, with pids of its own
    assert lock.acquire()
    assert fake_workspace.status()["status"] == "running"
    fake_workspace.seedbed("stop", run.id)
    assert unrelated_process.poll() is None, "an unrelated process was signalled"
    lock.release()
    assert fake_workspace.status()["status"] == "lost"


# A full disk, and pausing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leave_bytes", [1_500_000, 0])
def test_a_full_disk_pauses_training_until_there_is_space(
    leave_bytes: int,
    open_workspace: Any,
    tmp_path: Path,
    small_disk: Path,
    fill: Callable[[Path], Path],
    uninterrupted: tuple[list[tuple[Any, ...]], str],
) -> None:
    workspace = open_workspace(tmp_path, small_disk / "runs")
    workspace.hold_at(10)
    workspace.seedbed("train", workspace.config(), "--set", "train.keep_last=1", "--background")
    run = wait_for_step(workspace, 1)
    workspace.wait(lambda: status(run)["checkpoint"])
    pid = status(run)["pid"]
    os.kill(pid, signal.SIGSTOP)  # on a full disk the file that releases the job could not be written
    workspace.release(run.path)
    filler = fill(small_disk)
    os.truncate(filler, filler.stat().st_size - leave_bytes)
    os.kill(pid, signal.SIGCONT)
    workspace.wait(lambda: status(run)["status"] == "paused", 60)
    found = workspace.status()
    assert found["status"] == "paused"
    assert found["reason"].startswith("The disk is full: ")
    assert "continues automatically" in found["hint"]
    assert "The disk is full" in workspace.seedbed("status").stdout
    good = find(run.checkpoints).good
    assert good
    assert load(good[-1]).step >= 7
    assert status(run)["checkpoint_step"] == load(good[-1]).step
    paused_at = found["step"]
    time.sleep(1.5)
    assert status(run)["step"] == paused_at
    filler.unlink()
    workspace.wait(lambda: status(run)["status"] == "completed", 60)
    assert (workspace.steps(run.path), workspace.weights(run.path)) == uninterrupted
    numbers = [event["n"] for event in workspace.events(run.path)]
    assert numbers == list(range(len(numbers)))
    assert not list(run.checkpoints.glob(".*"))


def test_pausing_does_not_change_the_result_of_a_training(
    real_workspace: Any, uninterrupted: tuple[list[tuple[Any, ...]], str]
) -> None:
    real_workspace.hold_at(5, 20)
    real_workspace.seedbed("train", real_workspace.config(), "--background")
    run = wait_for_step(real_workspace, 2)
    # First through the control file, then by a signal.
    for pause in (lambda: actions.pause(run), lambda: os.kill(status(run)["pid"], signal.SIGTSTP)):
        pause()
        patience.until(lambda: status(run)["status"] == "paused", 20)
        paused = status(run)
        assert paused["checkpoint_step"] == paused["step"] < 60
        assert load(Path(paused["checkpoint"])).step == paused["step"]
        time.sleep(0.3)
        assert status(run)["step"] == paused["step"]
        real_workspace.seedbed("resume", "latest")
        patience.until(lambda paused=paused: status(run)["step"] > paused["step"], 20)
    real_workspace.release(run.path)
    real_workspace.wait(lambda: status(run)["status"] == "completed")
    assert (real_workspace.steps(run.path), real_workspace.weights(run.path)) == uninterrupted
    assert status(run)["session"] == 1


def test_killing_a_paused_training_loses_no_step(
    real_workspace: Any, uninterrupted: tuple[list[tuple[Any, ...]], str]
) -> None:
    real_workspace.hold_at(5)
    real_workspace.seedbed("train", real_workspace.config(), "--background")
    run = wait_for_step(real_workspace, 2)
    actions.pause(run).wait(lambda control: control.status == "paused")
    paused = status(run)
    assert paused["step"] < 60
    real_workspace.kill(paused["pid"])
    patience.until(lambda: status(run)["status"] == "lost", 5)
    real_workspace.release(run.path)
    real_workspace.seedbed("resume", "latest")
    assert (real_workspace.steps(run.path), real_workspace.weights(run.path)) == uninterrupted
    begun = [event for event in real_workspace.events(run.path) if event["kind"] == "run" and "steps" in event]
    assert begun[-1]["step"] == paused["step"]


def complete_checkpoints(run: RunDir) -> list[Path]:
    """The complete checkpoints of a run at one moment: it looks again if they have changed meanwhile."""

    def look() -> list[Path]:
        return sorted(path.parent for path in run.checkpoints.glob("step-*/DONE"))

    found = look()
    while found != (again := look()):
        found = again
    return found


def test_retention_never_leaves_a_run_without_a_checkpoint(real_workspace: Any) -> None:
    options = ("train.checkpoint_every=2", "train.keep_every=20", "train.keep_last=1", "train.keep_best=false")
    sets = [word for option in options for word in ("--set", option)]
    real_workspace.hold_at(30)  # until it was looked at several times
    command = real_workspace.start("train", real_workspace.config(), *sets)
    polls, fewest = 0, 9
    while command.poll() is None:
        for run in runs(real_workspace):
            there = complete_checkpoints(run)
            if there or polls:
                polls, fewest = polls + 1, min(fewest, len(there))
            if polls > 5 and len(there) and not (run.path / "go").exists():
                real_workspace.release(run.path)
        time.sleep(0.001)
    _, err = command.communicate()
    assert command.returncode == 0, err
    assert polls > 5
    assert fewest >= 1
    (run,) = runs(real_workspace)
    assert [load(path).step for path in find(run.checkpoints).good] == [20, 40, 60]
    # A session that goes back to an earlier step removes the later checkpoints once it has saved again.
    resumed = real_workspace.start("resume", run.id, "--from", "20", "--more-steps", "5")
    fewest = 9
    while resumed.poll() is None:
        fewest = min(fewest, len(complete_checkpoints(run)))
        time.sleep(0.001)
    resumed.communicate()
    assert fewest >= 1
    assert [load(path).step for path in find(run.checkpoints).good] == [20, 25]


@pytest.mark.parametrize("moved", [False, True], ids=["removed", "moved"])
def test_a_job_whose_folder_is_removed_or_moved_ends_and_writes_nothing_more(real_workspace: Any, moved: bool) -> None:
    """Nobody could see or stop it there, and a moved folder must not get two writers."""
    real_workspace.seedbed(
        "train",
        real_workspace.config(),
        "--background",
        "--set",
        "train.steps=100000",
        "--set",
        "train.checkpoint_every=3",
    )
    run = real_workspace.run_dir()
    real_workspace.wait(lambda: len(real_workspace.steps(run)) >= 10)
    pid = real_workspace.status()["pid"]
    if moved:
        run.rename(real_workspace.folder / run.name)
    else:
        while run.exists():  # the job writes there meanwhile
            shutil.rmtree(run, ignore_errors=True)
    patience.until(lambda: not orphans.is_alive(pid), 10)
    assert not run.exists(), [entry.name for entry in run.iterdir()]
    if moved:
        found = status(RunDir(real_workspace.folder / run.name))
        assert found["status"] in ("stopped", "failed")  # failed, if it was about to save
        assert found["checkpoint_step"] <= found["step"]
