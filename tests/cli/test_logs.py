"""`seedbed logs`: the events of a run and the output of its job, unchanged in a pipe and safe on a terminal."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

import inprocess
import patience
from seedbed.runs.store import Store

SLOW = {"FAKE_STEP_S": "0.03"}


@pytest.fixture
def log(desk: Any) -> Path:
    """The job log of a finished run, emptied."""
    run = desk.train(steps=3)
    path: Path = desk.runs / run / "job.log"
    path.write_bytes(b"")
    return path


@pytest.mark.parametrize("end", [b"", b"\n"])
@pytest.mark.parametrize("count", [0, 1, 2, 49, 50, 51, 20_000])
def test_printed_gives_the_same_last_lines_as_tail(desk: Any, log: Path, count: int, end: bytes) -> None:
    log.write_bytes(b"\n".join(b"line %d \xff\x1b[31m" % number for number in range(count)) + end)
    for lines in ("0", "1", "7", "50"):
        expected = subprocess.run(["tail", "-n", lines, str(log)], capture_output=True, check=True).stdout
        assert raw(desk, "-n", lines) == expected
    assert raw(desk) == raw(desk, "-n", "50")
    assert raw(desk, "-n", "all") == log.read_bytes()


def raw(desk: Any, *words: str) -> bytes:
    done = inprocess.run_raw(("logs", "--printed", *words), desk.folder, desk.environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_control_characters_in_job_output_are_removed_on_a_terminal(desk: Any, log: Path) -> None:
    log.write_bytes(b"a\x1b]0;title\x07\x1b[2Jb\n10%\r50%\r100%\r\nwindows\r\n\xff\xe2\x80\xae end without newline")
    shown = desk.terminal("logs", "--printed")
    assert shown.splitlines() == ["ab", "100%", "windows", "\ufffd end without newline"]


def test_follow_prints_all_job_output_until_the_run_has_ended(desk: Any) -> None:
    run = desk.seedbed("train", "--set", "train.steps=60", "--background", env={"HOLD_AT": "40"}).stdout.strip()
    log = desk.runs / run / "job.log"
    log.write_bytes(b"before\n")
    follower = desk.start("logs", "--printed", "-f", "-n", "1")
    assert follower.stdout is not None
    assert follower.stdout.readline() == "before\n"
    with log.open("ab") as handle:
        handle.write(b"half a li")
    desk.wait(lambda: desk.status()["step"] > 20)
    with log.open("ab") as handle:
        handle.write(b"ne\nlast word")
    desk.let_go()
    out, err = follower.communicate(timeout=patience.HANG_S)
    assert follower.returncode == 0, err
    assert out == "half a line\nlast word"
    assert desk.status()["status"] == "completed"
    assert desk.seedbed("logs", "-f", "--printed").stdout.endswith("last word"), "following an ended run does not end"


def test_ctrl_c_ends_the_follower_but_not_the_run(desk: Any) -> None:
    run = desk.seedbed("train", "--set", "train.steps=1000000", "--background", env=SLOW).stdout.strip()
    (desk.runs / run / "job.log").write_text("hello\n")
    follower = desk.start("logs", "--follow", "--printed")
    assert follower.stdout is not None
    assert follower.stdout.readline() == "hello\n"
    follower.send_signal(signal.SIGINT)
    _, err = follower.communicate(timeout=patience.HANG_S)
    assert follower.returncode == 130
    assert err == ""
    assert desk.status()["status"] == "running"
    desk.seedbed("stop", "--wait")


def test_logs_ends_without_an_error_message_when_its_pipe_is_closed(desk: Any, log: Path) -> None:
    log.write_bytes(b"x" * 100 + b"\n" * 2_000_000)
    follower = desk.start("logs", "--printed", "-n", "all")
    assert follower.stdout is not None
    follower.stdout.readline()
    follower.stdout.close()
    assert follower.wait(timeout=patience.HANG_S) == 141
    assert follower.stderr is not None
    assert follower.stderr.read() == ""


def test_a_missing_log_is_reported_on_stderr(desk: Any, log: Path) -> None:
    log.unlink()
    for words in ((), ("-f",)):
        done = desk.seedbed("logs", "--printed", *words, expect=1)
        assert done.stdout == ""
        assert "has no log" in done.stderr
    Store(desk.runs).create("train", "never started", "", {})
    for words in ((), ("--printed",)):
        assert "no log" in desk.seedbed("logs", "never started", *words, expect=1).stderr


@pytest.mark.parametrize("lines", ["-1", "x", "1.5", "", "1e3", "９"])
def test_an_invalid_number_of_lines_is_refused(desk: Any, lines: str) -> None:
    assert "lines" in desk.seedbed("logs", f"--lines={lines}", expect=2).stderr


def without_times(out: str) -> list[str]:
    """The lines of `seedbed logs`, without their times."""
    return [line[17:] for line in out.splitlines()]


def test_logs_prints_the_same_lines_as_a_piped_train(desk: Any) -> None:
    printed = desk.seedbed("train", "--steps", "25").stdout
    lines = printed.partition("\n\nFinished")[0].splitlines()[1:]
    assert any(line.startswith("step 1/25") and "grad norm 1" in line and "tok/s" in line for line in lines)
    out = desk.seedbed("logs", "-n", "all").stdout
    assert without_times(out) == [*lines, "completed at step 25"]
    assert "\x1b" not in out
    assert time.strptime(out[:15], "%d %b %H:%M:%S")
    assert without_times(desk.seedbed("logs", "-n", "3").stdout) == [*lines, "completed at step 25"][-3:]
    assert desk.seedbed("logs", "-n", "0").stdout == ""


def test_follow_prints_events_and_job_output_until_the_run_has_ended(desk: Any) -> None:
    run = desk.seedbed("train", "--steps", "60", "--background", env={"HOLD_AT": "40"}).stdout.strip()
    follower = desk.start("logs", "-f", "-n", "all")
    desk.at_step(12)
    with (desk.runs / run / "job.log").open("ab") as handle:
        handle.write(b"UserWarning: odd\nno end of line")
    desk.let_go()
    out, err = follower.communicate(timeout=patience.HANG_S)
    assert follower.returncode == 0, err
    lines = out.splitlines()
    assert out.count("validation at step") == 6
    assert "UserWarning: odd" in lines
    assert lines[-1] == "no end of line"
    assert any(line.endswith("completed at step 60") for line in lines)


def test_logs_of_a_failed_run_gives_the_reason_and_then_the_job_output(desk: Any) -> None:
    desk.seedbed("train", expect=1, env={"FAKE_FAIL": "crash"})
    printed = desk.runs / desk.status()["id"] / "job.log"
    assert printed.read_text().endswith("ZeroDivisionError: division\nby zero\n")
    (*_, crash) = desk.seedbed("logs", "-n", "2").stdout.splitlines()
    assert crash[17:] == "by zero"
    assert time.strptime(crash[:15], "%d %b %H:%M:%S"), "a line of job output has no time"
    assert desk.terminal("logs", "-n", "2").splitlines()[-1] == crash
    printed.write_bytes(b"a\x1b]0;title\x07\x1b[2Jb\n10%\r50%\r100%\n")
    lines = desk.seedbed("logs").stdout.replace("\r", "\n").splitlines()
    assert "failed: ZeroDivisionError: division. The traceback is in" in lines[-5]
    assert lines[-3:] == ["10%", "50%", "100%"]
    assert desk.terminal("logs").splitlines()[-2:] == ["ab", "100%"]
