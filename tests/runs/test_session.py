"""A job's hold on its run: one owner, a log that goes on, a heartbeat, and requests that are heard."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seedbed import events
from seedbed.files import is_locked
from seedbed.runs import session as session_module
from seedbed.runs.control import SAVE, STOP, ask
from seedbed.runs.session import RunBusyError, Session, StopRequested, gpu_index
from seedbed.runs.status import standing, status
from seedbed.runs.store import RunDir, Store


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return Store(tmp_path).create("train", "alpha", "", {})


def step(number: int) -> events.Step:
    return events.Step(step=number, loss=2.0, lr=0.1, grad_norm=1.0, tokens=number, step_s=0.1)


def lines(run: RunDir) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.events.read_bytes().splitlines()]


def until(what: Callable[[], Any], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


def test_a_session_says_hello_and_how_it_ended(run: RunDir) -> None:
    with Session(run.path) as session:
        assert session.number == 1
        assert status(run)["status"] == "running"
        session.emit(step(1))
        session.finish("completed")
    said = lines(run)
    assert [line["kind"] for line in said] == ["run", "step", "run"]
    assert said[0]["pid"] == os.getpid()
    assert said[0]["boot_id"]
    assert said[-1]["step"] == 1
    assert status(run)["status"] == "completed"
    assert not is_locked(run.lock)


def test_numbers_go_on_over_sessions_and_torn_lines(run: RunDir) -> None:
    with Session(run.path) as session:
        session.emit(step(1))
    with run.events.open("ab") as log:
        log.write(b'{"v":1,"n":2,"t":1.0,"kind":"st')
    with Session(run.path) as session:
        assert session.number == 2
        assert session.step == 1
        session.emit(step(2))
    whole = [json.loads(line) for line in run.events.read_bytes().splitlines() if line.endswith(b"}")]
    assert [line["n"] for line in whole] == [0, 1, 2, 3]


def test_leaving_without_a_word_reads_as_lost_once_the_process_is_gone(run: RunDir) -> None:
    def die() -> None:
        with Session(run.path) as session:
            session.emit(step(1))
            os.kill(os.getpid(), signal.SIGKILL)

    child = multiprocessing.get_context("fork").Process(target=die)
    child.start()
    child.join()
    assert standing(run).status == "lost"
    assert not is_locked(run.lock)


def test_a_second_owner_is_refused_and_hurts_nothing(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "_LOCK_PATIENCE_S", 0.1)
    with Session(run.path) as session:
        before = run.events.read_bytes()
        with pytest.raises(RunBusyError, match="already running"), Session(run.path):
            pass
        assert run.events.read_bytes() == before
        session.emit(step(1))
    assert [line["kind"] for line in lines(run)] == ["run", "step"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_ask_and_never_kill(run: RunDir, number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with Session(run.path) as session:
        for _ in range(5):
            os.kill(os.getpid(), number)
        until(lambda: session.stop_requested)
        assert session.stop_requested == number.name
    assert signal.getsignal(number) == before


def test_requests_are_heard(run: RunDir) -> None:
    with Session(run.path) as session:
        assert session.stop_requested is None
        assert not session.save_requested()
        ask(run.control, SAVE, 1)
        until(session.save_requested)
        assert not session.save_requested(), "one request, one save"
        ask(run.control, STOP, 1, "the window said so")
        until(lambda: session.stop_requested)
        assert session.stop_requested == "the window said so"
        with pytest.raises(StopRequested):
            session.emit_or_stop(step(1))
    assert lines(run)[-1]["kind"] == "step", "the event itself was lost"


def test_the_heartbeat_goes_on_while_the_job_is_busy(run: RunDir) -> None:
    with Session(run.path, heartbeat_s=0.1) as session:
        session.emit(step(1))

        def seen(number: int) -> bool:
            return bool(json.loads(run.state.read_bytes())["status"]["step"] == number)

        until(lambda: seen(1))
        first = json.loads(run.state.read_bytes())["heartbeat"]["monotonic"]
        end = time.monotonic() + 0.8
        while time.monotonic() < end:
            sum(range(1000))
        assert json.loads(run.state.read_bytes())["heartbeat"]["monotonic"] > first


def test_hardware_is_sampled_without_being_asked(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "HARDWARE_S", 0.1)
    with Session(run.path):
        until(lambda: any(line["kind"] == "hardware" for line in lines(run)), 20)
    sample = next(line for line in lines(run) if line["kind"] == "hardware")
    assert sample["rss_bytes"] > 1_000_000


def test_many_threads_write_whole_lines_in_order(run: RunDir) -> None:
    with Session(run.path) as session:
        workers = [
            threading.Thread(target=lambda: [session.emit(step(number)) for number in range(200)]) for _ in range(4)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert [line["n"] for line in lines(run)] == list(range(801))


def test_a_forked_helper_does_not_hold_the_run(run: RunDir) -> None:
    with Session(run.path):
        helper = multiprocessing.get_context("fork").Process(target=time.sleep, args=(30,))
        helper.start()
    try:
        assert not is_locked(run.lock)
        with Session(run.path) as again:
            assert again.number == 2
    finally:
        helper.kill()
        helper.join()


def test_a_forked_helper_dies_of_a_sigterm(run: RunDir) -> None:
    with Session(run.path):
        helper = multiprocessing.get_context("fork").Process(target=time.sleep, args=(30,))
        helper.start()
        helper.terminate()
        helper.join(timeout=5)
        died = not helper.is_alive()
        helper.kill()
        assert died, "a pool of such helpers could not be ended"


def test_logging_an_event_is_cheap(run: RunDir) -> None:
    with Session(run.path) as session:
        begin = time.process_time()
        for number in range(5000):
            session.emit(step(number))
        each_us = (time.process_time() - begin) / 5000 * 1e6
    assert each_us < 100, f"{each_us:.0f} us for an event"


def test_the_gpu_of_a_device() -> None:
    assert [gpu_index(device) for device in (None, "cpu", "mps", "cuda", "cuda:3")] == [None, None, None, 0, 3]
