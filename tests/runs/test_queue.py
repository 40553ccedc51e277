"""Queued runs start one at a time on a device, in the order in which they were queued, however the runs ahead end."""

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
from seedbed.events import STORAGE, Run, encode
from seedbed.locks import Lock, is_locked
from seedbed.runs.control import PAUSE, RESUME, STOP, write_request
from seedbed.runs.process import boot_id, own_identity
from seedbed.runs.queue import _pause_hint
from seedbed.runs.status import CurrentStatus, status
from seedbed.runs.store import RunDir, Store
from seedbed.runs.view import View

JOB = Path(__file__).with_name("waiting_job.py")


class JobQueue:
    """A store, and jobs that run or wait in its queue."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.environment = dict(os.environ)

    def create(self, name: str, device: str = "cpu") -> RunDir:
        return self.store.create("train", name, "", {"device_asked": device})

    def start(self, run: RunDir, *options: str) -> RunDir:
        with run.log.open("ab") as log:
            self.processes[run.id] = subprocess.Popen(
                [sys.executable, str(JOB), str(run.path), *options],
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return run

    def start_running(self, name: str, *options: str, device: str = "cpu") -> RunDir:
        """Start a run, and wait until it is running."""
        run = self.start(self.create(name, device), *options)
        self.wait_until(lambda: any(event.get("device") for event in self.run_events(run)), run)
        return run

    def start_waiting(self, name: str, *options: str, device: str = "cpu", ahead: RunDir | None = None) -> RunDir:
        """Start a run, and wait until it is queued; behind `ahead` if that is given."""
        run = self.start(self.create(name, device), *(options or ("--queue",)))
        wanted = f'It waits for "{ahead.name()}" ({ahead.id}).' if ahead else None
        self.wait_until(lambda: self.status(run) == "queued" and status(run)["reason"] and status(run)["session"], run)
        assert wanted in (None, status(run)["reason"])
        return run

    def finish(self, run: RunDir) -> None:
        (run.path / "finish").touch()

    def kill(self, run: RunDir) -> None:
        self.processes[run.id].kill()
        self.processes[run.id].wait()

    def freeze(self, run: RunDir) -> None:
        """Send SIGSTOP to its process, but not while it holds the lock of the queue."""
        process, lock = self.processes[run.id], self.store.root / ".queue.lock"
        process.send_signal(signal.SIGSTOP)
        while is_locked(lock):
            process.send_signal(signal.SIGCONT)
            time.sleep(0.01)
            process.send_signal(signal.SIGSTOP)
            time.sleep(0.01)

    def unfreeze(self, run: RunDir) -> None:
        self.processes[run.id].send_signal(signal.SIGCONT)

    def run_events(self, run: RunDir) -> list[dict[str, Any]]:
        lines = run.events.read_bytes().splitlines() if run.events.exists() else []
        return [event for each in lines if (event := json.loads(each))["kind"] == "run"]

    def status(self, run: RunDir) -> str:
        return str(status(run)["status"])

    def wait_until(self, condition: Callable[[], Any], *runs: RunDir, seconds: float = 30.0) -> None:
        patience.until(
            condition, seconds, lambda: [(run.id, self.run_events(run), run.log.read_text()) for run in runs]
        )

    def wait_for_status(self, run: RunDir, wanted: str) -> None:
        self.wait_until(lambda: self.status(run) == wanted, run)

    def span(self, run: RunDir) -> tuple[float, float]:
        """When it started to run, and when it ended."""
        logged = self.run_events(run)
        return next(event["t"] for event in logged if event["status"] == "running"), logged[-1]["t"]


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[JobQueue]:
    made = JobQueue(tmp_path)
    yield made
    for process in made.processes.values():
        process.kill()
        process.wait()


def test_first_come_first_served(queue: JobQueue) -> None:
    first = queue.start_running("first", "--queue")
    behind = [queue.start_waiting(f"number-{number}", ahead=first) for number in (2, 3, 4)]
    for ahead, run in pairwise([first, *behind]):
        assert [queue.status(each) for each in behind[behind.index(run) :]] == ["queued"] * (4 - behind.index(run) - 1)
        queue.finish(ahead)
        queue.wait_for_status(run, "running")
    queue.finish(behind[-1])
    queue.wait_for_status(behind[-1], "completed")
    for one, other in pairwise([first, *behind]):
        assert queue.span(one)[1] <= queue.span(other)[0], "two runs ran at the same time"
    assert all(process.wait(patience.HANG_S) == 0 for process in queue.processes.values())


def test_the_run_that_was_queued_first_starts_first_even_if_it_was_created_later(queue: JobQueue) -> None:
    first = queue.start_running("first")
    older = queue.create("older")
    younger = queue.start_waiting("younger", ahead=first)
    queue.start(older, "--queue")
    queue.wait_for_status(older, "queued")
    queue.wait_until(lambda: status(older)["reason"])
    queue.finish(first)
    queue.wait_for_status(younger, "running")
    queue.wait_until(lambda: younger.id in (status(older)["reason"] or ""))
    queue.finish(younger)
    queue.wait_for_status(older, "running")


def test_runs_queued_at_the_same_time_never_share_the_device(queue: JobQueue) -> None:
    queue.environment["WORK_S"] = "0.2"
    runs = [queue.create(f"number-{number}", device="auto" if number % 2 else "cpu") for number in range(6)]
    for run in runs:
        queue.finish(run)
        queue.start(run, "--queue")
    for run in runs:
        queue.wait_for_status(run, "completed")
    spans = sorted(queue.span(run) for run in runs)
    assert all(end <= begin for (_, end), (begin, _) in pairwise(spans)), spans


def test_each_device_has_its_own_queue(queue: JobQueue) -> None:
    first = queue.start_running("first", "--queue", device="cuda:0")
    second = queue.start_running("second", "--queue", device="cuda:1")
    third = queue.start_running("third", "--queue", device="cpu")
    queue.start_waiting("fourth", device="cuda", ahead=first)
    queue.start_waiting("fifth", device="cuda:1", ahead=second)
    assert {queue.status(run) for run in (first, second, third)} == {"running"}


def test_cuda_is_the_first_gpu(queue: JobQueue) -> None:
    queue.start_running("first", device="cuda:1")
    queue.start_running("second", "--queue", device="cuda")
    queue.start_waiting("third", device="cuda:0")


def test_a_run_that_waits_only_for_another_run_does_not_block_a_device(queue: JobQueue) -> None:
    first = queue.start_running("first", device="cuda:0")
    second = queue.start_waiting("second", "--after", str(first.path), device="cpu")
    queue.start_running("third", "--queue", device="cpu")
    assert queue.status(second) == "queued"


def test_an_unknown_device_counts_as_every_device(queue: JobQueue) -> None:
    working = queue.start_running("first", device="cuda:1")
    any_device = queue.start_waiting("second", device="auto", ahead=working)
    queue.start_waiting("third", device="cpu", ahead=any_device)
    queue.finish(working)
    queue.wait_for_status(any_device, "running")


def test_a_paused_run_keeps_its_device_although_it_was_not_queued(queue: JobQueue) -> None:
    working = queue.start_running("first")
    waiting = queue.start_waiting("second", ahead=working)
    write_request(working.control, PAUSE, 1)
    queue.wait_for_status(working, "paused")
    time.sleep(1.2)  # the job polls the queue twice a second
    assert queue.status(waiting) == "queued", "a paused run still has memory on the device"
    write_request(working.control, RESUME, 1)
    queue.finish(working)
    queue.wait_for_status(waiting, "running")


def completes(queue: JobQueue, run: RunDir) -> None:
    queue.finish(run)


def fails(queue: JobQueue, run: RunDir) -> None:
    (run.path / "fail").touch()
    queue.finish(run)


def is_stopped(queue: JobQueue, run: RunDir) -> None:
    write_request(run.control, STOP, 1)


def is_killed(queue: JobQueue, run: RunDir) -> None:
    queue.kill(run)


def is_deleted(queue: JobQueue, run: RunDir) -> None:
    queue.kill(run)
    shutil.rmtree(run.path)


@pytest.mark.parametrize("ends", [completes, fails, is_stopped, is_killed, is_deleted])
def test_a_run_starts_after_another_one_however_that_ends(
    queue: JobQueue, ends: Callable[[JobQueue, RunDir], None]
) -> None:
    ahead = queue.start_running("ahead", device="cuda:0")
    behind = queue.start_waiting("behind", "--after", str(ahead.path), device="cuda:1", ahead=ahead)
    last = queue.start_waiting("last", "--after", str(behind.path), device="cuda:2", ahead=behind)
    ends(queue, ahead)
    queue.wait_for_status(behind, "running")
    assert queue.status(last) == "queued"
    queue.finish(behind)
    queue.wait_for_status(last, "running")


def test_a_run_waits_for_another_run_and_then_for_the_device(queue: JobQueue) -> None:
    ahead = queue.start_running("ahead", device="cuda:0")
    busy = queue.start_running("busy", device="cpu")
    run = queue.start_waiting("run", "--queue", "--after", str(ahead.path), ahead=ahead)
    queue.finish(ahead)
    queue.wait_until(lambda: status(run)["reason"] == f'It waits for "{busy.name()}" ({busy.id}).')
    assert queue.status(run) == "queued"
    queue.finish(busy)
    queue.wait_for_status(run, "running")


@pytest.mark.parametrize("by_signal", [False, True])
def test_a_queued_run_can_be_stopped(queue: JobQueue, by_signal: bool) -> None:
    working = queue.start_running("first")
    second, third = queue.start_waiting("second"), queue.start_waiting("third")
    if by_signal:
        queue.processes[second.id].send_signal(signal.SIGTERM)
    else:
        write_request(second.control, STOP, 1)
    queue.wait_for_status(second, "stopped")
    assert queue.processes[second.id].wait(patience.HANG_S) == 0
    assert "running" not in [event["status"] for event in queue.run_events(second)]
    assert [queue.status(run) for run in (working, third)] == ["running", "queued"]
    queue.finish(working)
    queue.wait_for_status(third, "running")


def test_a_queued_run_needs_the_lock_of_the_queue_to_start_but_not_to_stop(queue: JobQueue) -> None:
    working = queue.start_running("first")
    second, third = queue.start_waiting("second"), queue.start_waiting("third")
    with Lock(queue.store.root / ".queue.lock"):
        write_request(second.control, STOP, 1)
        queue.wait_for_status(second, "stopped")
        queue.finish(working)
        queue.wait_for_status(working, "completed")
        time.sleep(1.2)  # the job polls the queue twice a second
        assert queue.status(third) == "queued", "it started without the lock of the queue"
    queue.wait_for_status(third, "running")


def test_a_queued_run_that_is_killed_does_not_block_the_next(queue: JobQueue) -> None:
    working = queue.start_running("first")
    second, third = queue.start_waiting("second"), queue.start_waiting("third")
    queue.kill(second)
    assert queue.status(second) == "lost"
    queue.finish(working)
    queue.wait_for_status(third, "running")


def test_a_queued_run_that_is_frozen_does_not_block_others(queue: JobQueue) -> None:
    queue.environment["STALE_S"] = str(1 + patience.limit(0.25))  # a job that runs has a heartbeat each second
    working = queue.start_running("first")
    second = queue.start_waiting("second")
    third = queue.start_waiting("third")
    fourth = queue.start_waiting("fourth")
    for frozen in (second, fourth):
        queue.freeze(frozen)
    queue.finish(working)
    queue.wait_for_status(third, "running")
    for frozen in (second, fourth):
        queue.unfreeze(frozen)
        queue.wait_for_status(frozen, "queued")  # its heartbeat is recent again: until then, no run waits for it
    queue.finish(third)
    queue.wait_for_status(second, "running")
    assert queue.status(fourth) == "queued"


def forged(queue: JobQueue, name: str, logged_status: str, **fields: Any) -> RunDir:
    """A run whose log says that it is running or queued, although it never had a process."""
    run = queue.create(name)
    me = own_identity()
    known = {"pid": me.pid, "process_start": me.start, "boot_id": me.boot_id, "host": os.uname().nodename}
    first = Run(status=logged_status, session=1, queue=True, device="cpu", **{**known, **fields})
    run.events.write_bytes(encode(first, 0, time.time()))
    run.lock.touch()
    return run


def test_runs_without_a_live_process_do_not_block_others(queue: JobQueue) -> None:
    forged(queue, "reused", "running", process_start=own_identity().start - 1)
    forged(queue, "other-boot", "running", boot_id="00000000-0000-0000-0000-000000000000")
    forged(queue, "dead", "queued", pid=2**22 - 1, process_start=1.0)
    forged(queue, "no-pid", "running", pid=None, process_start=None)
    assert boot_id()
    queue.start_running("run", "--queue")


def test_a_run_of_an_unknown_process_blocks_others_while_its_lock_is_held(queue: JobQueue) -> None:
    contained = forged(queue, "contained", "running", pid=2**22 - 1, process_start=1.0)
    lock = Lock(contained.lock)
    assert lock.acquire()
    run = queue.start_waiting("run", ahead=contained)
    lock.release()
    queue.wait_for_status(run, "running")


def test_a_queued_run_says_that_the_run_ahead_is_paused(queue: JobQueue) -> None:
    ahead = queue.start_running("ahead", "--queue")
    waiting = queue.start_waiting("waiting", ahead=ahead)
    write_request(ahead.control, PAUSE, 1)
    queue.wait_until(lambda: "which is paused" in (status(waiting)["reason"] or ""), waiting)
    assert f"seedbed resume {ahead.id}" in status(waiting)["hint"]
    write_request(ahead.control, RESUME, 1)
    queue.wait_until(lambda: "paused" not in (status(waiting)["reason"] or ""), waiting)
    assert status(waiting)["hint"] is None
    queue.finish(ahead)
    queue.wait_for_status(waiting, "running")


def test_the_hint_for_a_run_ahead_that_is_paused_by_a_full_disk_does_not_say_resume(tmp_path: Path) -> None:
    ahead = RunDir(tmp_path / "20260101-000000-000-ahead")
    paused = View(status="paused", code=STORAGE, reason="The disk is full.", hint="Free some space.")
    assert _pause_hint(ahead, CurrentStatus(paused, "paused", None)) == (
        f"Free some space. Or stop that run: `seedbed stop {ahead.id}`"
    )
