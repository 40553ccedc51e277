"""The window in a real terminal: what it starts outlives it, and nothing that happens to it reaches a run."""

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
    """A program of a session of its own on a terminal of `columns` x `rows`; what it writes is kept."""

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

    def look(self, seconds: float = 0.05) -> None:
        """Take in what was written, for a while."""
        if self.fd < 0:
            time.sleep(seconds)
            return
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([self.fd], [], [], left)[0]:
                try:
                    self.written += os.read(self.fd, 1 << 16)
                except OSError:  # the program has let go of the terminal
                    return

    def wait_for(self, what: str | Callable[[], object], timeout_s: float = 30.0) -> None:
        """Until these words were written since the last `forget`, or until `what()` is true."""

        def there() -> object:
            self.look()
            return what() if callable(what) else what.encode() in self.written

        patience.until(there, timeout_s, lambda: f"The last that it wrote: {self.written[-2000:]!r}")

    def forget(self) -> None:
        """What was written so far does not count any more."""
        self.written = b""

    def quit(self) -> int:
        """Leave by a key, pressed again where it was taken for a part of an escape sequence; the exit status."""

        def ended() -> bool:
            with contextlib.suppress(OSError):
                self.press("q")
            self.look(0.5)
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                self.code = os.waitstatus_to_exitcode(status)
            return bool(done)

        patience.until(ended, 20, lambda: f"The last that it wrote: {self.written[-2000:]!r}")
        assert self.code is not None
        return self.code

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send the program a signal and wait for its end."""
        if self.code is None:
            os.kill(self.pid, number)
            self.end()

    def end(self, timeout_s: float = 20.0) -> int:
        """The exit status, once the program has ended: negative for a signal."""

        def ended() -> bool:
            self.look(0.02)
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                self.code = os.waitstatus_to_exitcode(status)
            return bool(done)

        if self.code is None:
            patience.until(ended, timeout_s, lambda: "the program does not end")
        assert self.code is not None
        return self.code

    def close(self) -> None:
        """Close the terminal, as a person closes its window."""
        os.close(self.fd)
        self.fd = -1


@pytest.fixture
def halted(workshop: Any) -> Iterator[Any]:
    """A workshop with a run that was stopped, far from its end."""
    workshop.seedbed("train", workshop.config(), "--background", "--name", "patient", "--set", "train.steps=2000000")
    run = workshop.run_dir()
    workshop.wait(lambda: len(workshop.steps(run)) >= 10)
    workshop.seedbed("stop", "patient", "--wait")
    yield workshop
    status = workshop.status("patient")
    if status["status"] in ("running", "paused", "pausing"):
        workshop.kill(status["pid"])


def open_window(workshop: Any, columns: int = 100, rows: int = 30) -> Terminal:
    window = Terminal(WINDOW, workshop.environment, workshop.folder, columns, rows)
    window.wait_for("patient")
    return window


def steps_on(workshop: Any) -> None:
    """Wait until the run has trained on."""
    before = workshop.status("patient")["step"]
    workshop.wait(lambda: workshop.status("patient")["step"] > before)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_run_started_from_the_window_outlives_every_end_of_it(halted: Any) -> None:
    run = halted.run_dir("patient")
    window = open_window(halted)
    window.press("R")
    window.wait_for("Resume this run?")
    window.press("y")
    window.wait_for(lambda: halted.status("patient")["status"] == "running" and halted.status("patient")["step"] > 20)
    pid = halted.status("patient")["pid"]
    window.wait_for("running")
    window.kill(signal.SIGKILL)
    assert not gone(pid)
    steps_on(halted)

    window = open_window(halted)  # another terminal sees at once how it goes
    window.wait_for("running")
    window.close()  # the terminal is closed under it
    window.end()
    assert halted.status("patient")["pid"] == pid
    steps_on(halted)

    window = open_window(halted)
    window.press("q")
    assert window.end() == 0
    assert b"\x1b[?1049l" in window.written, "the terminal was not given back"
    assert b"Traceback" not in window.written
    status = halted.status("patient")
    assert (status["status"], status["pid"], status["session"]) == ("running", pid, 2)
    lines = [event["step"] for event in halted.events(run) if event["kind"] == "step"]
    assert lines == list(range(1, len(lines) + 1)), "a step is missing or was done twice"


def test_a_killed_job_shows_as_lost_within_five_seconds_and_resumes(halted: Any) -> None:
    halted.seedbed("resume", "patient", "--background")
    window = open_window(halted)
    window.wait_for("running")
    pid = halted.status("patient")["pid"]
    window.forget()
    halted.kill(pid)
    killed = time.monotonic()
    window.wait_for("lost")
    assert time.monotonic() - killed < patience.limit(5)
    assert "seedbed resume" in halted.status("patient")["hint"]
    window.press("R")
    window.wait_for("Resume this run?")
    window.press("y")
    window.wait_for(lambda: halted.status("patient")["status"] == "running")
    assert halted.status("patient")["pid"] != pid
    window.kill()


def test_pause_and_go_on_by_a_key(halted: Any) -> None:
    halted.seedbed("resume", "patient", "--background")
    window = open_window(halted)
    window.wait_for("running")
    window.press("p")
    window.wait_for(lambda: halted.status("patient")["status"] == "paused")
    window.wait_for("paused")
    held = halted.status("patient")["step"]
    assert halted.status("patient")["checkpoint_step"] == held, "it paused without saving"
    time.sleep(0.5)
    assert halted.status("patient")["step"] == held
    window.press("p")
    window.wait_for(lambda: halted.status("patient")["step"] > held)
    window.kill()


def test_no_colour_and_a_small_terminal(halted: Any) -> None:
    halted.environment["NO_COLOR"] = "1"
    window = open_window(halted, 80, 24)
    for key in ("2", "3", "\x1b", "5", "?", "\x1b", "1", "z", "\r", "2", "3", "4", "5", "\x1b"):
        window.press(key)
        window.look(0.2)
    assert b"Traceback" not in window.written
    assert window.quit() == 0


def test_without_a_terminal_it_says_what_else_there_is(workshop: Any) -> None:
    refused = workshop.seedbed("tui", expect=2)
    assert "needs a terminal" in refused.stderr
    assert "seedbed runs" in refused.stderr


def test_without_textual_it_says_what_to_install(workshop: Any) -> None:
    code = "import sys; sys.modules['textual'] = None; from seedbed.cli.main import main; sys.exit(main(['tui']))"
    window = Terminal([sys.executable, "-c", code], workshop.environment, workshop.folder)
    assert window.end() == 1
    assert b"pip install 'seedbed[tui]'" in window.written
    assert b"Traceback" not in window.written
