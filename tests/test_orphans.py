"""Tests that are killed leave no job behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

import forked
import patience

TESTS = Path(__file__).parent
BODY = """
import subprocess, sys, time
from pathlib import Path

def test_it():
    command = [sys.executable, {seedbed!r}, "train", "--background", "--set", "train.steps=100000000"]
    subprocess.run(command, check=True, cwd={folder!r})
    Path({begun!r}).touch()
    {then}
"""


def start_tests(folder: Path, then: str) -> subprocess.Popen[bytes]:
    """Start pytest in another process, with the conftest of all tests and a test that starts an endless job."""
    names = {"seedbed": str(TESTS / "fake_seedbed.py"), "folder": str(folder), "begun": str(folder / "begun")}
    (folder / "test_it.py").write_text(BODY.format(then=then, **names))
    (folder / "pytest.ini").write_text("[pytest]\n")
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "TMPDIR": str(folder), forked.SWITCH: "0"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "conftest", "-p", "no:cacheprovider", str(folder)]
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)


def job_of(folder: Path) -> psutil.Process:
    """The process of the only run's job, once the test has started it."""
    patience.until((folder / "begun").exists)
    (run,) = (folder / "runs").glob("2*")
    return next(each for each in psutil.process_iter() if str(run) in " ".join(_command(each)))


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@pytest.mark.parametrize(
    "end_tests",
    [lambda tests: tests.kill(), lambda tests: tests.terminate()],
    ids=["killed", "terminated"],
)
def test_a_job_ends_with_the_tests_that_started_it(
    end_tests: Callable[[subprocess.Popen[bytes]], None], tmp_path: Path
) -> None:
    tests = start_tests(tmp_path, "time.sleep(600)")
    job = job_of(tmp_path)
    job.suspend()  # a suspended job must be killed, too
    end_tests(tests)
    tests.wait(patience.HANG_S)
    patience.until(lambda: not _is_alive(job))


def test_a_leftover_job_ends_when_the_tests_finish(tmp_path: Path) -> None:
    tests = start_tests(tmp_path, f"while not Path({str(tmp_path / 'go')!r}).exists(): time.sleep(0.01)")
    job = job_of(tmp_path)
    assert _is_alive(job)
    (tmp_path / "go").touch()
    assert tests.wait(patience.HANG_S) == 0
    patience.until(lambda: not _is_alive(job))


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
