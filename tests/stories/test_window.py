"""The window in a real terminal: runs that it starts survive it, and nothing that happens to it affects a run."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import patience

WINDOW = (sys.executable, "-m", "seedbed", "tui")


class Terminal:
    """A program in its own session on a terminal of `columns` x `rows`; its output is recorded."""

    def __init__(
        self, words: Sequence[str], environment: Mapping[str, str], folder: Path, columns: int = 100, rows: int = 30
    ) -> None:
        self.written = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            os.execve(words[0], list(words), {**environment, "TERM": "xterm-256color"})
        self.code: int | None = None

    def press(self, keys: str) -> None:
        """Send keys."""
        os.write(self.fd, keys.encode())

    def read(self, seconds: float = 0.05) -> None:
        """Read output for a while."""
        if self.fd < 0:
            time.sleep(seconds)
            return
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([self.fd], [], [], left)[0]:
                try:
                    self.written += os.read(self.fd, 1 << 16)
                except OSError:  # the program has closed the terminal
                    return

    def read_the_rest(self) -> None:
        """Read what a program that has ended wrote after the last look at its output."""
        with contextlib.suppress(OSError):
            while self.fd >= 0 and select.select([self.fd], [], [], 0)[0] and (block := os.read(self.fd, 1 << 16)):
                self.written += block

    def wait_for(self, what: str | Callable[[], object], timeout_s: float = 30.0) -> None:
        """Wait until these words were written since the last `discard_output`, or until `what()` is true."""

        def is_true() -> object:
            self.read()
            return what() if callable(what) else what.encode() in self.written

        patience.until(is_true, timeout_s, lambda: f"The last output: {self.written[-2000:]!r}")

    def discard_output(self) -> None:
        """Discard the output so far."""
        self.written = b""

    def quit(self) -> int:
        """Quit with a key, pressed again if it was read as part of an escape sequence; the exit status."""

        def ended() -> bool:
            with contextlib.suppress(OSError):
                self.press("q")
            self.read(0.5)
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                self.code = os.waitstatus_to_exitcode(status)
                self.read_the_rest()
            return bool(done)

        patience.until(ended, 20, lambda: f"The last output: {self.written[-2000:]!r}")
        assert self.code is not None
        return self.code

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send the program a signal and wait for its end."""
        if self.code is None:
            os.kill(self.pid, number)
            self.wait_for_exit()

    def wait_for_exit(self, timeout_s: float = 20.0) -> int:
        """Wait until the program has ended; its exit status, negative for a signal."""

        def ended() -> bool:
            self.read(0.02)
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                self.code = os.waitstatus_to_exitcode(status)
                self.read_the_rest()
            return bool(done)

        if self.code is None:
            patience.until(ended, timeout_s, lambda: "the program does not end")
        assert self.code is not None
        return self.code

    def close(self) -> None:
        """Close the terminal, as a user closes its window."""
        os.close(self.fd)
        self.fd = -1


@pytest.fixture
def stopped_workspace(workspace: Any) -> Iterator[Any]:
    """A workspace with a run that was stopped, far from its end."""
    workspace.seedbed("train", workspace.config(), "--background", "--name", "patient", "--set", "train.steps=2000000")
    run = workspace.run_dir()
    workspace.wait(lambda: len(workspace.steps(run)) >= 10)
    workspace.seedbed("stop", "patient", "--wait")
    yield workspace
    status = workspace.status("patient")
    if status["status"] in ("running", "paused", "pausing"):
        workspace.kill(status["pid"])


OPENED: list[Terminal] = []
"""The windows of the test that runs."""


@pytest.fixture(autouse=True)
def no_window_is_left() -> Iterator[None]:
    """End the windows of a test that fails."""
    yield
    for window in OPENED:
        window.kill()
    OPENED.clear()


def open_window(workspace: Any, columns: int = 100, rows: int = 30) -> Terminal:
    window = Terminal(WINDOW, workspace.environment, workspace.folder, columns, rows)
    OPENED.append(window)
    window.wait_for("patient")
    return window


def wait_for_next_step(workspace: Any) -> None:
    """Wait until the run has trained another step."""
    before = workspace.status("patient")["step"]
    workspace.wait(lambda: workspace.status("patient")["step"] > before)


def has_ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_run_started_from_the_window_continues_after_every_way_to_end_it(stopped_workspace: Any) -> None:
    run = stopped_workspace.run_dir("patient")
    window = open_window(stopped_workspace)
    window.press("R")
    window.wait_for("Resume this run?")
    window.press("y")
    window.wait_for(
        lambda: (
            stopped_workspace.status("patient")["status"] == "running"
            and stopped_workspace.status("patient")["step"] > 20
        )
    )
    pid = stopped_workspace.status("patient")["pid"]
    window.wait_for("running")
    window.kill(signal.SIGKILL)
    assert not has_ended(pid)
    wait_for_next_step(stopped_workspace)

    window = open_window(stopped_workspace)  # another terminal shows the running job at once
    window.wait_for("running")
    window.close()  # the terminal is closed while the window is open
    window.wait_for_exit()
    assert stopped_workspace.status("patient")["pid"] == pid
    wait_for_next_step(stopped_workspace)

    window = open_window(stopped_workspace)
    window.press("q")
    assert window.wait_for_exit() == 0
    assert b"\x1b[?1049l" in window.written, "the terminal was not restored"
    assert b"Traceback" not in window.written
    status = stopped_workspace.status("patient")
    assert (status["status"], status["pid"], status["session"]) == ("running", pid, 2)
    lines = [event["step"] for event in stopped_workspace.events(run) if event["kind"] == "step"]
    assert lines == list(range(1, len(lines) + 1)), "a step is missing or was done twice"


def test_a_killed_job_shows_as_lost_within_five_seconds_and_resumes(stopped_workspace: Any) -> None:
    stopped_workspace.seedbed("resume", "patient", "--background")
    window = open_window(stopped_workspace)
    window.wait_for("running")
    pid = stopped_workspace.status("patient")["pid"]
    window.discard_output()
    stopped_workspace.kill(pid)
    killed = time.monotonic()
    window.wait_for("lost")
    assert time.monotonic() - killed < patience.limit(5)
    assert "seedbed resume" in stopped_workspace.status("patient")["hint"]
    window.press("R")
    window.wait_for("Resume this run?")
    window.press("y")

    def runs_again() -> bool:
        status = stopped_workspace.status("patient")
        return status["status"] == "running" and status["pid"] != pid

    window.wait_for(runs_again)
    window.kill()


def test_the_key_p_pauses_and_continues_a_run(stopped_workspace: Any) -> None:
    stopped_workspace.seedbed("resume", "patient", "--background")
    window = open_window(stopped_workspace)
    window.wait_for("running")
    window.press("p")
    window.wait_for(lambda: stopped_workspace.status("patient")["status"] == "paused")
    window.wait_for("paused")
    held = stopped_workspace.status("patient")["step"]
    assert stopped_workspace.status("patient")["checkpoint_step"] == held, "it paused without saving"
    time.sleep(0.5)
    assert stopped_workspace.status("patient")["step"] == held
    window.press("p")
    window.wait_for(lambda: stopped_workspace.status("patient")["step"] > held)
    window.kill()


def test_the_window_works_without_colours_in_a_small_terminal(stopped_workspace: Any) -> None:
    stopped_workspace.environment["NO_COLOR"] = "1"
    window = open_window(stopped_workspace, 80, 24)
    for key in ("2", "3", "\x1b", "5", "?", "\x1b", "1", "z", "\r", "2", "3", "4", "5", "\x1b"):
        window.press(key)
        window.read(0.2)
    assert b"Traceback" not in window.written
    assert window.quit() == 0


def test_without_a_terminal_the_error_names_other_commands(workspace: Any) -> None:
    refused = workspace.seedbed("tui", expect=2)
    assert "needs a terminal" in refused.stderr
    assert "seedbed runs" in refused.stderr


def test_without_textual_the_error_says_what_to_install(workspace: Any) -> None:
    code = "import sys; sys.modules['textual'] = None; from seedbed.cli.main import main; sys.exit(main(['tui']))"
    window = Terminal([sys.executable, "-c", code], workspace.environment, workspace.folder)
    assert window.wait_for_exit() == 1
    assert b"pip install 'seedbed[tui]'" in window.written
    assert b"Traceback" not in window.written
