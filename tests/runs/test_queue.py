"""Runs take their turns: one at a time on a device, in the order in which they came, whatever becomes of those ahead."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import patience
from seedbed.events import Run, encode
from seedbed.locks import Lock, is_locked
from seedbed.runs.control import PAUSE, RESUME, STOP, write_request
from seedbed.runs.process import boot_id, own_identity
from seedbed.runs.status import status
from seedbed.runs.store import RunDir, Store

JOB = Path(__file__).with_name("waiting_job.py")


class Line:
    """A store, and jobs that wait there."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root)
        self.jobs: dict[str, subprocess.Popen[bytes]] = {}
        self.environment = dict(os.environ)

    def new(self, name: str, device: str = "cpu") -> RunDir:
        return self.store.create("train", name, "", {"device_asked": device})

    def start(self, run: RunDir, *words: str) -> RunDir:
        with run.log.open("ab") as log:
            self.jobs[run.id] = subprocess.Popen(
                [sys.executable, str(JOB), str(run.path), *words],
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return run

    def works(self, name: str, *words: str, device: str = "cpu") -> RunDir:
        """A run that is at work."""
        run = self.start(self.new(name, device), *words)
        self.until(lambda: any(event.get("device") for event in self.told(run)), run)
        return run

    def waits(self, name: str, *words: str, device: str = "cpu", ahead: RunDir | None = None) -> RunDir:
        """A run that waits, for `ahead` if that is given."""
        run = self.start(self.new(name, device), *(words or ("--queue",)))
        wanted = f'It waits for "{ahead.name()}" ({ahead.id}).' if ahead else None
        self.until(lambda: self.status(run) == "queued" and status(run)["reason"] and status(run)["session"], run)
        assert wanted in (None, status(run)["reason"])
        return run

    def end(self, run: RunDir) -> None:
        (run.path / "enough").touch()

    def kill(self, run: RunDir) -> None:
        self.jobs[run.id].kill()
        self.jobs[run.id].wait()

    def freeze(self, run: RunDir) -> None:
        """Stop its process for a while, not just while it looks whose turn it is."""
        job, lock = self.jobs[run.id], self.store.root / ".queue.lock"
        job.send_signal(signal.SIGSTOP)
        while is_locked(lock):
            job.send_signal(signal.SIGCONT)
            time.sleep(0.01)
            job.send_signal(signal.SIGSTOP)
            time.sleep(0.01)

    def wake(self, run: RunDir) -> None:
        self.jobs[run.id].send_signal(signal.SIGCONT)

    def told(self, run: RunDir) -> list[dict[str, Any]]:
        lines = run.events.read_bytes().splitlines() if run.events.exists() else []
        return [event for line in lines if (event := json.loads(line))["kind"] == "run"]

    def status(self, run: RunDir) -> str:
        return str(status(run)["status"])

    def until(self, what: Callable[[], Any], *runs: RunDir, seconds: float = 30.0) -> None:
        patience.until(what, seconds, lambda: [(run.id, self.told(run), run.log.read_text()) for run in runs])

    def reads(self, run: RunDir, word: str) -> None:
        self.until(lambda: self.status(run) == word, run)

    def worked(self, run: RunDir) -> tuple[float, float]:
        """When it took its turn, and when it ended."""
        told = self.told(run)
        return next(event["t"] for event in told if event["status"] == "running"), told[-1]["t"]


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    made = Line(tmp_path)
    yield made
    for job in made.jobs.values():
        job.kill()
        job.wait()


def test_first_come_first_served(line: Line) -> None:
    first = line.works("first", "--queue")
    behind = [line.waits(f"number-{number}", ahead=first) for number in (2, 3, 4)]
    for ahead, run in pairwise([first, *behind]):
        assert [line.status(each) for each in behind[behind.index(run) :]] == ["queued"] * (4 - behind.index(run) - 1)
        line.end(ahead)
        line.reads(run, "running")
    line.end(behind[-1])
    line.reads(behind[-1], "completed")
    for one, other in pairwise([first, *behind]):
        assert line.worked(one)[1] <= line.worked(other)[0], "they worked at the same time"
    assert all(job.wait(patience.HANG_S) == 0 for job in line.jobs.values())


def test_who_waits_longer_goes_first_though_its_run_is_younger(line: Line) -> None:
    first = line.works("first")
    older = line.new("older")
    younger = line.waits("younger", ahead=first)
    line.start(older, "--queue")
    line.reads(older, "queued")
    line.until(lambda: status(older)["reason"])
    line.end(first)
    line.reads(younger, "running")
    line.until(lambda: younger.id in (status(older)["reason"] or ""))
    line.end(younger)
    line.reads(older, "running")


def test_many_that_come_at_once_never_share_the_device(line: Line) -> None:
    line.environment["WORK_S"] = "0.2"
    runs = [line.new(f"number-{number}", device="auto" if number % 2 else "cpu") for number in range(6)]
    for run in runs:
        line.end(run)
        line.start(run, "--queue")
    for run in runs:
        line.reads(run, "completed")
    spans = sorted(line.worked(run) for run in runs)
    assert all(end <= begin for (_, end), (begin, _) in pairwise(spans)), spans


def test_two_devices_are_two_lines(line: Line) -> None:
    first = line.works("first", "--queue", device="cuda:0")
    second = line.works("second", "--queue", device="cuda:1")
    third = line.works("third", "--queue", device="cpu")
    line.waits("fourth", device="cuda", ahead=first)
    line.waits("fifth", device="cuda:1", ahead=second)
    assert {line.status(run) for run in (first, second, third)} == {"running"}


def test_cuda_is_the_first_gpu(line: Line) -> None:
    line.works("first", device="cuda:1")
    line.works("second", "--queue", device="cuda")
    line.waits("third", device="cuda:0")


def test_who_waits_for_a_run_alone_keeps_no_device(line: Line) -> None:
    first = line.works("first", device="cuda:0")
    second = line.waits("second", "--after", str(first.path), device="cpu")
    line.works("third", "--queue", device="cpu")
    assert line.status(second) == "queued"


def test_a_device_that_is_not_known_yet_may_be_any(line: Line) -> None:
    working = line.works("first", device="cuda:1")
    anything = line.waits("second", device="auto", ahead=working)
    line.waits("third", device="cpu", ahead=anything)
    line.end(working)
    line.reads(anything, "running")


def test_a_run_that_did_not_queue_keeps_its_device_all_the_same(line: Line) -> None:
    working = line.works("first")
    waiting = line.waits("second", ahead=working)
    write_request(working.control, PAUSE, 1)
    line.reads(working, "paused")
    time.sleep(1.2)  # it looks twice a second
    assert line.status(waiting) == "queued", "what is paused still has its memory on the device"
    write_request(working.control, RESUME, 1)
    line.end(working)
    line.reads(waiting, "running")


def completes(line: Line, run: RunDir) -> None:
    line.end(run)


def fails(line: Line, run: RunDir) -> None:
    (run.path / "trouble").touch()
    line.end(run)


def is_stopped(line: Line, run: RunDir) -> None:
    write_request(run.control, STOP, 1)


def is_killed(line: Line, run: RunDir) -> None:
    line.kill(run)


def is_deleted(line: Line, run: RunDir) -> None:
    line.kill(run)
    shutil.rmtree(run.path)


@pytest.mark.parametrize("ends", [completes, fails, is_stopped, is_killed, is_deleted])
def test_after_another_run_however_that_ends(line: Line, ends: Callable[[Line, RunDir], None]) -> None:
    ahead = line.works("ahead", device="cuda:0")
    behind = line.waits("behind", "--after", str(ahead.path), device="cuda:1", ahead=ahead)
    last = line.waits("last", "--after", str(behind.path), device="cuda:2", ahead=behind)
    ends(line, ahead)
    line.reads(behind, "running")
    assert line.status(last) == "queued"
    line.end(behind)
    line.reads(last, "running")


def test_after_a_run_and_then_in_line_for_the_device(line: Line) -> None:
    ahead = line.works("ahead", device="cuda:0")
    busy = line.works("busy", device="cpu")
    run = line.waits("run", "--queue", "--after", str(ahead.path), ahead=ahead)
    line.end(ahead)
    line.until(lambda: status(run)["reason"] == f'It waits for "{busy.name()}" ({busy.id}).')
    assert line.status(run) == "queued"
    line.end(busy)
    line.reads(run, "running")


@pytest.mark.parametrize("by_signal", [False, True])
def test_a_run_can_be_taken_out_of_the_line(line: Line, by_signal: bool) -> None:
    working = line.works("first")
    second, third = line.waits("second"), line.waits("third")
    if by_signal:
        line.jobs[second.id].send_signal(signal.SIGTERM)
    else:
        write_request(second.control, STOP, 1)
    line.reads(second, "stopped")
    assert line.jobs[second.id].wait(patience.HANG_S) == 0
    assert "running" not in [event["status"] for event in line.told(second)]
    assert [line.status(run) for run in (working, third)] == ["running", "queued"]
    line.end(working)
    line.reads(third, "running")


def test_turns_are_taken_one_after_the_other_and_a_stop_is_heard_meanwhile(line: Line) -> None:
    working = line.works("first")
    second, third = line.waits("second"), line.waits("third")
    with Lock(line.store.root / ".queue.lock"):
        write_request(second.control, STOP, 1)
        line.reads(second, "stopped")
        line.end(working)
        line.reads(working, "completed")
        time.sleep(1.2)  # it looks twice a second
        assert line.status(third) == "queued", "it took its turn while another was about to"
    line.reads(third, "running")


def test_a_run_that_dies_in_the_line_lets_the_next_one_go(line: Line) -> None:
    working = line.works("first")
    second, third = line.waits("second"), line.waits("third")
    line.kill(second)
    assert line.status(second) == "lost"
    line.end(working)
    line.reads(third, "running")


def test_a_run_that_is_frozen_in_the_line_holds_up_nobody(line: Line) -> None:
    line.environment["STALE_S"] = "1.5"
    working = line.works("first")
    second = line.waits("second")
    third = line.waits("third")
    fourth = line.waits("fourth")
    for frozen in (second, fourth):
        line.freeze(frozen)
    line.end(working)
    line.reads(third, "running")
    for frozen in (second, fourth):
        line.wake(frozen)
        line.reads(frozen, "queued")  # its process has said so itself: until then, nobody waits for it
    line.end(third)
    line.reads(second, "running")
    assert line.status(fourth) == "queued"


def forged(line: Line, name: str, word: str, **said: Any) -> RunDir:
    """A run whose log says that it is at work or waits, by a process that never was."""
    run = line.new(name)
    me = own_identity()
    known = {"pid": me.pid, "process_start": me.start, "boot_id": me.boot_id, "host": os.uname().nodename}
    hello = Run(status=word, session=1, queue=True, device="cpu", **{**known, **said})
    run.events.write_bytes(encode(hello, 0, time.time()))
    run.lock.touch()
    return run


def test_runs_whose_process_is_gone_hold_up_nobody(line: Line) -> None:
    forged(line, "reused", "running", process_start=own_identity().start - 1)
    forged(line, "other-boot", "running", boot_id="00000000-0000-0000-0000-000000000000")
    forged(line, "dead", "queued", pid=2**22 - 1, process_start=1.0)
    forged(line, "no-pid", "running", pid=None, process_start=None)
    assert boot_id()
    line.works("run", "--queue")


def test_a_lock_counts_where_a_pid_means_nothing(line: Line) -> None:
    contained = forged(line, "contained", "running", pid=2**22 - 1, process_start=1.0)
    lock = Lock(contained.lock)
    assert lock.acquire()
    run = line.waits("run", ahead=contained)
    lock.release()
    line.reads(run, "running")
