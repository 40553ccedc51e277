"""A job's session: one owner of the run, a continuous log, a heartbeat, and requests from outside."""

from __future__ import annotations

import errno
import fcntl
import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from patience import HANG_S, limit, until
from seedbed import events
from seedbed.errors import DiskFullError, StorageError
from seedbed.locks import Lock, is_locked
from seedbed.runs import lifecycle
from seedbed.runs import session as session_module
from seedbed.runs.control import PAUSE, RESUME, SAVE, STOP, write_request
from seedbed.runs.lifecycle import BALLAST_BYTES, RunBusyError, StopRequested
from seedbed.runs.session import Session, gpu_index
from seedbed.runs.status import current_status, read_view, status
from seedbed.runs.store import RunDir, Store
from seedbed.runs.view import View


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return Store(tmp_path).create("train", "alpha", "", {})


def step(number: int) -> events.Step:
    return events.Step(step=number, loss=2.0, lr=0.1, grad_norm=1.0, tokens=number, step_s=0.1)


def lines(run: RunDir) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.events.read_bytes().splitlines()]


@contextmanager
def meanwhile(*actions: Callable[[], Any]) -> Iterator[None]:
    """Do these actions in order in another thread, while the job continues in this one."""
    errors: list[BaseException] = []

    def do() -> None:
        try:
            for action in actions:
                action()
        except BaseException as error:
            errors.append(error)
            os.kill(os.getpid(), signal.SIGTERM)  # so that the job does not wait forever

    thread = threading.Thread(target=do)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        for error in errors:
            raise error


def until_status(run: RunDir, wanted: str) -> Callable[[], None]:
    return lambda: until(lambda: status(run)["status"] == wanted)


def logged_statuses(run: RunDir) -> list[str]:
    return [line["status"] for line in lines(run) if line["kind"] == "run"]


def test_a_session_logs_its_start_and_how_it_ended(run: RunDir) -> None:
    with Session(run.path) as session:
        assert session.number == 1
        assert status(run)["status"] == "running"
        session.emit(step(1))
        session.finish("completed")
    logged = lines(run)
    assert [line["kind"] for line in logged] == ["run", "step", "run"]
    assert logged[0]["pid"] == os.getpid()
    assert logged[0]["boot_id"]
    assert logged[-1]["step"] == 1
    assert status(run)["status"] == "completed"
    assert not is_locked(run.lock)


def test_event_numbers_continue_over_sessions_and_partial_lines(run: RunDir) -> None:
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


def test_a_run_is_lost_if_its_process_was_killed(run: RunDir) -> None:
    def die() -> None:
        with Session(run.path) as session:
            session.emit(step(1))
            os.kill(os.getpid(), signal.SIGKILL)

    child = multiprocessing.get_context("fork").Process(target=die)
    child.start()
    child.join()
    assert current_status(run).status == "lost"
    assert not is_locked(run.lock)


def test_a_second_owner_is_refused_and_changes_nothing(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "_LOCK_PATIENCE_S", 0.1)
    with Session(run.path) as session:
        before = run.events.read_bytes()
        with pytest.raises(RunBusyError, match="already running"), Session(run.path):
            pass
        assert run.events.read_bytes() == before
        session.emit(step(1))
    assert [line["kind"] for line in lines(run)] == ["run", "step"]


def log_events(run: RunDir, *logged: events.Run) -> None:
    with run.events.open("ab") as log:
        log.writelines(events.encode(event, number, time.time()) for number, event in enumerate(logged))


def test_a_session_waits_for_the_lock_of_a_session_that_has_just_ended(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "_LOCK_PATIENCE_S", 60.0)
    log_events(run, events.Run(status="running", session=1), events.Run(status="stopped", session=1))
    lock = Lock(run.lock)
    assert lock.acquire()
    with meanwhile(lambda: time.sleep(0.3), lock.release), Session(run.path) as session:
        assert session.number == 2


def test_a_session_waits_for_a_reader_that_holds_the_lock_shared(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "_LOCK_PATIENCE_S", 60.0)
    log_events(run, events.Run(status="running", session=1))
    shared = os.open(run.lock, os.O_RDONLY | os.O_CREAT)
    fcntl.flock(shared, fcntl.LOCK_SH)
    with meanwhile(lambda: time.sleep(0.2), lambda: os.close(shared)), Session(run.path) as session:
        assert session.number == 2


@pytest.mark.parametrize("winner_logged", [True, False])
def test_a_session_that_lost_a_race_for_the_lock_does_not_begin_when_the_winner_stops(
    winner_logged: bool, run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_looked = threading.Event()

    def look(*about: Any) -> View:
        found = read_view(*about)
        has_looked.set()
        return found

    monkeypatch.setattr(lifecycle, "read_view", look)
    monkeypatch.setattr(lifecycle, "_LOCK_PATIENCE_S", HANG_S)
    first = [events.Run(status="running", session=1), events.Run(status="stopped", session=1)]
    second = events.Run(status="running", session=2)
    log_events(run, *first, *([second] if winner_logged else []))
    lock = Lock(run.lock)
    assert lock.acquire()
    rest = [*([] if winner_logged else [second]), events.Run(status="stopped", session=2)]
    others = meanwhile(lambda: has_looked.wait(HANG_S), lambda: log_events(run, *rest), lock.release)
    with others, pytest.raises(RunBusyError, match="already running"), Session(run.path):
        pass
    assert not is_locked(run.lock)
    with Session(run.path) as session:
        assert session.number == 3


def test_a_job_and_its_helpers_survive_sighup(run: RunDir) -> None:
    before = signal.getsignal(signal.SIGHUP)
    with Session(run.path) as session:
        begun, begins = os.pipe()
        helper = os.fork()
        if not helper:
            os.write(begins, b"!")
            time.sleep(600)
            os._exit(0)
        assert os.read(begun, 1)  # a signal before the fork has ended would be lost
        os.close(begun)
        os.close(begins)
        for process in (os.getpid(), helper):
            os.kill(process, signal.SIGHUP)
        with pytest.raises(TimeoutError):
            _wait_for(helper, 0.3)
        os.kill(helper, signal.SIGTERM)
        assert _wait_for(helper, HANG_S) == signal.SIGTERM
        assert session.stop_requested is None
        session.emit(step(1))
        session.finish("completed")
    assert signal.getsignal(signal.SIGHUP) == before
    assert logged_statuses(run) == ["running", "completed"]


def _wait_for(pid: int, seconds: float) -> int:
    """The signal that ended a child. Raises TimeoutError while it lives."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ended, how = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(how) * -1
        time.sleep(0.01)
    raise TimeoutError


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_request_a_stop_and_do_not_kill(run: RunDir, number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with Session(run.path) as session:
        for _ in range(5):
            os.kill(os.getpid(), number)
        until(lambda: session.stop_requested)
        assert session.stop_requested == number.name
    assert signal.getsignal(number) == before


def test_a_session_receives_requests(run: RunDir) -> None:
    with Session(run.path) as session:
        assert session.stop_requested is None
        assert not session.save_requested()
        write_request(run.control, SAVE, 1)
        until(session.save_requested)
        assert not session.save_requested(), "one request made two saves"
        write_request(run.control, STOP, 1, "the window said so")
        until(lambda: session.stop_requested)
        assert session.stop_requested == "the window said so"
        with pytest.raises(StopRequested):
            session.emit_or_stop(step(1))
    assert lines(run)[-1]["kind"] == "step", "the event itself was lost"


def test_the_heartbeat_continues_while_the_job_is_busy(run: RunDir) -> None:
    with Session(run.path, heartbeat_s=0.1) as session:
        session.emit(step(1))

        def seen(number: int) -> bool:
            return bool(json.loads(run.state.read_bytes())["status"]["step"] == number)

        until(lambda: seen(1))
        first = json.loads(run.state.read_bytes())["heartbeat"]["monotonic"]

        def beats_while_busy() -> bool:
            sum(range(100_000))
            return bool(json.loads(run.state.read_bytes())["heartbeat"]["monotonic"] > first)

        until(beats_while_busy)


def test_a_session_logs_hardware_samples(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_forked_helper_does_not_hold_the_lock_of_the_run(run: RunDir) -> None:
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


def test_sigterm_ends_a_forked_helper(run: RunDir) -> None:
    with Session(run.path):
        helper = multiprocessing.get_context("fork").Process(target=time.sleep, args=(30,))
        helper.start()
        helper.terminate()
        helper.join(timeout=HANG_S)
        died = not helper.is_alive()
        helper.kill()
        assert died, "a pool of such helpers cannot be ended"


def test_logging_an_event_takes_some_ten_microseconds(run: RunDir) -> None:
    with Session(run.path) as session:
        begin = time.process_time()
        for number in range(5000):
            session.emit(step(number))
        each_us = (time.process_time() - begin) / 5000 * 1e6
    assert each_us < limit(25), f"{each_us:.0f} us for an event"


def test_the_gpu_of_a_device() -> None:
    assert [gpu_index(device) for device in (None, "cpu", "mps", "cuda", "cuda:3")] == [None, None, None, 0, 3]


# Pausing -------------------------------------------------------------------------------------------------------------


def by_control(run: RunDir, verb: str) -> None:
    write_request(run.control, verb, 1)


def by_signal(run: RunDir, verb: str) -> None:
    os.kill(os.getpid(), {PAUSE: signal.SIGTSTP, RESUME: signal.SIGCONT, STOP: signal.SIGTERM}[verb])


Send = Callable[[RunDir, str], None]


@pytest.mark.parametrize("send", [by_control, by_signal])
def test_a_pause_lasts_until_a_resume_is_requested(run: RunDir, send: Send) -> None:
    with Session(run.path, heartbeat_s=0.05) as session:
        session.emit(step(1))
        send(run, PAUSE)
        until(lambda: session.pause_requested)
        beats: list[float] = []

        def beat() -> float:
            return float(json.loads(run.state.read_bytes())["heartbeat"]["monotonic"])

        def watch() -> None:
            until(lambda: status(run)["status"] == "paused")
            found = status(run)
            assert (found["reason"], found["hint"], found["step"]) == ("somebody asked", "ask again", 1)
            beats.append(beat())
            until(lambda: beat() > beats[0])

        with meanwhile(watch, lambda: send(run, RESUME)):
            assert session.wait_paused("somebody asked", "ask again")
        assert not session.pause_requested
        assert status(run)["status"] == "running"
        assert status(run)["reason"] is None
        session.emit(step(2))
    assert logged_statuses(run) == ["running", "paused", "running"]
    assert [line["n"] for line in lines(run)] == list(range(5))


@pytest.mark.parametrize("send", [by_control, by_signal])
def test_a_stop_ends_a_pause(run: RunDir, send: Send) -> None:
    with Session(run.path) as session:
        send(run, PAUSE)
        until(lambda: session.pause_requested)
        with meanwhile(until_status(run, "paused"), lambda: send(run, STOP)):
            assert not session.wait_paused("asked to pause")
        session.finish("stopped")
    assert logged_statuses(run) == ["running", "paused", "stopped"]


def test_a_pause_request_that_is_cancelled_at_once_has_no_effect(run: RunDir) -> None:
    with Session(run.path) as session:
        write_request(run.control, PAUSE, 1)
        write_request(run.control, RESUME, 1)
        write_request(run.control, SAVE, 1)
        until(session.save_requested)
        assert not session.pause_requested
        write_request(run.control, PAUSE, 1)
        until(lambda: session.pause_requested)


def test_emit_or_stop_pauses_and_stops_on_request(run: RunDir) -> None:
    with Session(run.path) as session:
        write_request(run.control, PAUSE, 1)
        until(lambda: session.pause_requested)
        with meanwhile(until_status(run, "paused"), lambda: write_request(run.control, RESUME, 1)):
            session.emit_or_stop(step(1))
        session.emit_or_stop(step(2))
        os.kill(os.getpid(), signal.SIGTSTP)
        until(lambda: session.pause_requested)
        with (
            meanwhile(until_status(run, "paused"), lambda: write_request(run.control, STOP, 1)),
            pytest.raises(StopRequested),
        ):
            session.emit_or_stop(step(3))
    assert [line.get("step") for line in lines(run) if line["kind"] == "step"] == [1, 2, 3]


def test_requests_during_a_pause_for_space_take_effect_after_it(run: RunDir) -> None:
    space = threading.Event()
    with Session(run.path) as session:
        with meanwhile(
            until_status(run, "paused"),
            lambda: os.kill(os.getpid(), signal.SIGUSR1),
            lambda: os.kill(os.getpid(), signal.SIGCONT),
            lambda: os.kill(os.getpid(), signal.SIGTSTP),
            lambda: until(lambda: session.pause_requested),
            lambda: until(lambda: status(run)["status"] == "paused"),
            space.set,
        ):
            assert session.wait_paused("no space", until=space.is_set), (
                "a resume request ended a pause for lack of space"
            )
        assert space.is_set()
        assert session.save_requested()
        assert session.pause_requested


# A full disk ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_run(small_disk: Path) -> RunDir:
    return Store(small_disk).create("train", "alpha", "", {})


def blocks(path: Path) -> int:
    return path.stat().st_blocks * 512


def test_the_ballast_is_reserved_only_during_a_session(run: RunDir) -> None:
    with Session(run.path) as session:
        assert blocks(run.path / ".ballast") >= BALLAST_BYTES
        assert not session.blocked
    assert not (run.path / ".ballast").exists()


def test_on_a_full_disk_the_ballast_makes_room_to_log_a_pause(small_run: RunDir, small_disk: Path, fill: Any) -> None:
    with Session(small_run.path, heartbeat_s=0.05) as session:
        filler = fill(small_disk)
        number = 0
        while not session.blocked:
            number += 1
            session.emit(step(number))
            assert number < 200, "the session does not notice that the disk is full"

        def check_status() -> None:
            until(lambda: status(small_run)["status"] == "paused")
            found = status(small_run)
            assert (found["reason"], found["hint"], found["step"]) == ("The disk is full.", "Free some.", number)
            since = time.monotonic()
            until(lambda: json.loads(small_run.state.read_bytes())["heartbeat"]["monotonic"] > since)
            assert not (small_run.path / ".ballast").exists()
            filler.unlink()

        with meanwhile(check_status):
            assert session.wait_paused("The disk is full.", "Free some.", session.can_write)
        assert not session.blocked
        assert blocks(small_run.path / ".ballast") >= BALLAST_BYTES
        session.emit(step(number + 1))
        session.finish("completed")
    assert logged_statuses(small_run) == ["running", "paused", "running", "completed"]
    assert [line["n"] for line in lines(small_run)] == list(range(number + 5))
    assert [line["step"] for line in lines(small_run) if line["kind"] == "step"] == list(range(1, number + 2))


def test_a_line_that_does_not_fit_on_the_disk_uses_the_space_of_the_ballast(
    small_run: RunDir, small_disk: Path, fill: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "POLL_S", 1000.0)  # no heartbeat notices the full disk first
    with Session(small_run.path) as session:
        fill(small_disk)
        for number in range(1, 200):
            session.emit(step(number))
        assert session.blocked
        assert len(lines(small_run)) == 200


def fill_completely(session: Session, disk: Path, fill: Any) -> tuple[Path, int]:
    """Fill the disk and the space of the ballast until no line can be written; returns the filler and the last step."""
    number, filler = session.step, fill(disk)
    while not session.blocked:
        number += 1
        session.emit(step(number))
    fill(disk)
    size = session.run.events.stat().st_size
    while True:
        number += 1
        session.emit(step(number))
        if session.run.events.stat().st_size == size:
            return filler, number
        size = session.run.events.stat().st_size


def test_lines_that_did_not_fit_are_written_in_order_once_there_is_space(
    small_run: RunDir, small_disk: Path, fill: Any
) -> None:
    with Session(small_run.path) as session:
        filler, number = fill_completely(session, small_disk, fill)
        log = small_run.events.read_bytes()
        assert log.endswith(b"}\n"), "a partial line was left"
        workers = [
            threading.Thread(
                target=lambda: [session.emit(events.Message(level="info", code="x", text="y")) for _ in range(50)]
            )
            for _ in range(3)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        session.emit(events.Hardware(rss_bytes=1))
        session.emit_status("paused", "The disk is full.")
        assert not session.can_write()
        assert session.blocked
        assert small_run.events.read_bytes() == log
        with filler.open("r+b") as handle:
            handle.truncate(filler.stat().st_size - 12_000)  # space for some lines, but not for all
        assert not session.can_write()
        some = small_run.events.read_bytes()
        assert some.startswith(log)
        assert len(some) > len(log) + 4000
        filler.unlink()
        assert session.can_write()
        session.emit(step(number + 1))
    found = lines(small_run)
    assert [line["n"] for line in found] == list(range(len(found)))
    assert [line["t"] for line in found] == sorted(line["t"] for line in found), (
        "the lines do not have the times of their events"
    )
    assert [line["step"] for line in found if line["kind"] == "step"] == list(range(1, number + 2))
    assert [line["kind"] for line in found[-152:]] == ["message"] * 150 + ["run", "step"], "hardware samples were kept"


def test_a_stop_on_a_full_disk_ends_the_session_and_warns_on_stderr(
    small_run: RunDir, small_disk: Path, fill: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    with Session(small_run.path) as session:
        filler, _ = fill_completely(session, small_disk, fill)
        with meanwhile(lambda: os.kill(os.getpid(), signal.SIGTERM)):
            assert not session.wait_paused("The disk is full.", until=session.can_write)
        session.finish("stopped")
    assert "the disk is full: the end of this session could not be logged" in capfd.readouterr().err
    assert not is_locked(small_run.lock)
    filler.unlink()
    with Session(small_run.path) as again:
        assert again.number == 2
    assert [line["n"] for line in lines(small_run)] == list(range(len(lines(small_run))))


def test_a_stop_is_logged_if_there_is_space_for_the_line(
    small_run: RunDir, small_disk: Path, fill: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    with Session(small_run.path) as session:
        filler, _ = fill_completely(session, small_disk, fill)
        with filler.open("r+b") as handle:
            handle.truncate(filler.stat().st_size - 40_000)  # not enough for the ballast
        session.finish("stopped")
    assert status(small_run)["status"] == "stopped"
    assert "could not be logged" not in capfd.readouterr().err


def test_a_heartbeat_on_a_full_disk_blocks_the_session_and_is_written(
    small_run: RunDir, small_disk: Path, fill: Any
) -> None:
    with Session(small_run.path, heartbeat_s=0.05) as session:
        fill(small_disk)
        until(lambda: session.blocked)
        since = time.monotonic()
        until(lambda: json.loads(small_run.state.read_bytes())["heartbeat"]["monotonic"] > since)


def test_failed_heartbeats_are_reported_at_most_twice(
    small_run: RunDir,
    small_disk: Path,
    fill: Any,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lifecycle, "POLL_S", 0.01)
    with Session(small_run.path, heartbeat_s=0.02) as session:
        filler, _ = fill_completely(session, small_disk, fill)
        fill(small_disk)
        time.sleep(0.5)  # for about twenty heartbeats
        filler.unlink()
        assert session.can_write()
        assert capfd.readouterr().err.count("heartbeat:") <= 2


def test_a_session_that_cannot_log_its_start_does_not_begin(small_run: RunDir, small_disk: Path, fill: Any) -> None:
    before, open_files = signal.getsignal(signal.SIGTERM), set(os.listdir("/dev/fd"))
    filler = fill(small_disk)
    with pytest.raises(DiskFullError, match="the disk is full"), Session(small_run.path):
        raise AssertionError("the session began")
    assert signal.getsignal(signal.SIGTERM) == before
    assert set(os.listdir("/dev/fd")) <= open_files
    assert not is_locked(small_run.lock)
    assert not (small_run.path / ".ballast").exists()
    filler.unlink()
    with Session(small_run.path) as session:
        assert session.number == 1
        session.emit(step(1))
    assert [line["n"] for line in lines(small_run)] == [0, 1]


# A disk that cannot be written for another reason --------------------------------------------------------------------


@pytest.fixture
def broken_log(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """While an error number is in this list, every write to the event log fails with it."""
    numbers: list[int] = []
    write = os.write

    def failing(fd: int, data: bytes) -> int:
        if numbers and os.path.samestat(os.fstat(fd), os.stat(run.events)):
            raise OSError(numbers[0], os.strerror(numbers[0]))
        return write(fd, data)

    monkeypatch.setattr("seedbed.files.os.write", failing)
    return numbers


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.EIO, "input/output"),
        (errno.EROFS, "read-only"),
        (errno.EDQUOT, "quota"),
        (errno.EFBIG, "ulimit -f"),
        (errno.ENOTCONN, "not connected"),
    ],
)
def test_lines_are_kept_and_the_reason_is_shown_while_the_log_cannot_be_written(
    run: RunDir, broken_log: list[int], number: int, reason: str
) -> None:
    with Session(run.path, heartbeat_s=0.05) as session:
        assert session.blocked is None
        broken_log.append(number)
        for each in range(1, 6):
            session.emit(step(each))
        assert session.blocked is not None
        assert reason in session.blocked.reason
        assert not session.can_write()

        def check_status() -> None:
            until(lambda: status(run)["status"] == "paused")
            found = status(run)
            assert (found["reason"], found["hint"]) == (session.blocked.reason, "Wait."), "the status lacks the reason"
            broken_log.clear()

        with meanwhile(check_status):
            assert session.wait_paused(session.blocked.reason, "Wait.", session.can_write)
        assert session.blocked is None
        session.emit(step(6))
        session.finish("completed")
    assert logged_statuses(run) == ["running", "paused", "running", "completed"]
    assert [line["step"] for line in lines(run) if line["kind"] == "step"] == [1, 2, 3, 4, 5, 6]
    assert [line["n"] for line in lines(run)] == list(range(len(lines(run))))
    assert status(run)["reason"] is None


def test_a_session_whose_log_cannot_be_written_ends_and_prints_the_reason(
    run: RunDir, broken_log: list[int], capfd: pytest.CaptureFixture[str]
) -> None:
    with Session(run.path) as session:
        broken_log.append(errno.EIO)
        session.emit(step(1))
        with meanwhile(lambda: os.kill(os.getpid(), signal.SIGTERM)):
            assert not session.wait_paused("The disk is broken.", until=session.can_write)
        session.finish("stopped")
    assert "input/output error: the end of this session could not be logged" in capfd.readouterr().err
    assert not is_locked(run.lock)


def test_a_session_without_space_for_the_ballast_begins_blocked_and_reserves_it_later(
    small_run: RunDir, small_disk: Path, fill: Any
) -> None:
    filler = fill(small_disk)
    with filler.open("r+b") as handle:
        handle.truncate(filler.stat().st_size - BALLAST_BYTES)
    with Session(small_run.path) as session:
        assert session.blocked
        assert not session.can_write()
        assert not (small_run.path / ".ballast").exists()
        filler.unlink()
        assert session.can_write()
        assert not session.blocked


def test_the_status_gives_the_reason_if_a_job_could_not_log_its_end(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end cannot be logged, so the run is lost; the reason is then the failed write, not a kill."""

    def refuse(line: bytes) -> None:
        raise StorageError("Cannot write.", "Raise the limit.", "the limit on the size of files is reached")

    with Session(run.path) as session:
        session.emit(step(1))
        monkeypatch.setattr(session._log, "write", refuse)
        session.emit(step(2))
        session.stop_requested = "SIGTERM"
        assert not session.wait_paused("The limit on the size of files is reached.", "Raise it.", lambda: False)
        session.finish("stopped")
    monkeypatch.undo()
    monkeypatch.setattr("seedbed.runs.status.is_alive", lambda _: False)
    found = status(run)
    assert (found["status"], found["step"]) == ("lost", 1)
    assert "could not write its log" in found["reason"]
    assert "The limit on the size of files is reached." in found["reason"]
    assert "killed" not in found["reason"]
    assert "starts it again" in found["hint"], "there is no checkpoint to continue from"
