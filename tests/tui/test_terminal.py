"""The terminal in which the window runs: its modes are restored in every case, and only characters that it can show are drawn."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyte
import pytest
from tests.new_terminals import modes_of_a_new_terminal
from tests.orphans import is_alive
from tests.patience import limit, until

from seedbed.tui.terminal import ascii_form

ON = {"the alternate screen": "?1049", "the mouse": "?1003", "paste marks": "?2004", "focus events": "?1004"}
"""The modes that the window switches on and must switch off again."""


MODES = modes_of_a_new_terminal()


class InTerminal:
    """A process in a pseudo-terminal, everything that it has written, and what its screen shows."""

    def __init__(self, words: list[str], env: dict[str, str], columns: int = 80, rows: int = 24) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:  # the size is set before the program starts, so that it is never resized while it draws
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            os.environ.update({"TERM": "xterm-256color", **env})
            os.execvp(words[0], words)
        self.modes = MODES
        self.written = b""
        self.screen = pyte.Screen(columns, rows)
        self.emulator = pyte.ByteStream(self.screen)
        self.status: int | None = None

    def read(self, seconds: float = 0.05) -> None:
        """Read what has been written."""
        ready, _, _ = select.select([self.fd], [], [], seconds)
        try:
            new = os.read(self.fd, 1 << 16) if ready else b""
        except OSError:
            new = b""
            time.sleep(seconds)  # the other side is closed
        self.written += new
        self.emulator.feed(new)

    def shows(self, words: str) -> bool:
        """Whether a line of the screen has these words now, however they were drawn."""
        self.read()
        return any(words in line for line in self.screen.display)

    def wait_for(self, words: str) -> None:
        until(lambda: self.shows(words), 5, lambda: ("\n".join(self.screen.display), self.written[-2000:]))

    def wait_for_output(self, words: str) -> None:
        """Wait until exactly these words have been written."""

        def has_written() -> bool:
            self.read()
            return words.encode() in self.written

        until(has_written, 5, lambda: self.written[-2000:])

    def ended(self) -> int:
        """Wait for the end; returns the exit status, negative for a signal that killed the process."""

        def over() -> bool:
            self.read()
            pid, found = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(found)
            return self.status is not None

        until(over, 5, lambda: self.written[-2000:])
        seen = -1
        while seen != (seen := len(self.written)):
            self.read(0.2)
        assert self.status is not None
        return self.status

    def left_on(self) -> set[str]:
        """The modes that were switched on and not off again."""
        said = self.written.decode("utf-8", "replace")
        on = {name for name, code in ON.items() if said.rfind(f"\x1b[{code}h") > said.rfind(f"\x1b[{code}l")}
        return on | ({"a hidden cursor"} if said.rfind("\x1b[?25l") > said.rfind("\x1b[?25h") else set())

    def close(self) -> None:
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Any]:
    made: list[InTerminal] = []

    def open_it(*words: str, **env: str) -> InTerminal:
        program = words or ("-m", "seedbed", "tui", "--runs", str(tmp_path / "runs"))
        made.append(InTerminal([sys.executable, *program], env))
        return made[-1]

    yield open_it
    for each in made:
        each.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_the_terminal_is_restored_when_a_signal_ends_the_window(opened: Any, number: signal.Signals) -> None:
    window = opened()
    window.wait_for("No runs yet")
    assert window.left_on() == {*ON, "a hidden cursor"}
    os.kill(window.pid, number)
    assert window.ended() == 128 + number
    assert window.left_on() == set()
    assert termios.tcgetattr(window.fd) == window.modes
    assert b"Traceback" not in window.written


def test_a_second_signal_ends_a_window_that_hangs_and_restores_the_terminal(opened: Any, tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from seedbed.runs.store import Store; from seedbed.tui import app\n"
        "def hang(self):\n"
        "    sys.__stderr__.write('hangs'); sys.__stderr__.flush(); end = time.monotonic() + 600\n"
        "    while time.monotonic() < end: time.sleep(0.05)\n"
        "app.Window.action_zoom = hang\n"
        "sys.exit(app.run(Store(Path(sys.argv[1]))))"
    )
    window = opened("-c", code, str(tmp_path / "runs"))
    window.wait_for("No runs yet")
    os.write(window.fd, b"z")
    window.wait_for_output("hangs")
    begun = time.monotonic()
    while is_alive(window.pid):  # two signals that arrive together count as one
        os.kill(window.pid, signal.SIGTERM)
        window.read(0.2)
        assert time.monotonic() - begun < limit(60)
    assert window.ended() == 128 + signal.SIGTERM
    assert window.left_on() == set()
    assert termios.tcgetattr(window.fd) == window.modes


def test_the_window_ends_when_its_terminal_is_closed(opened: Any) -> None:
    window = opened()
    window.wait_for("No runs yet")
    os.close(window.fd)
    window.fd = os.open(os.devnull, os.O_RDONLY)
    until(lambda: os.waitpid(window.pid, os.WNOHANG)[0], 5)
    window.status = 0


def test_the_terminal_is_restored_after_an_exception_at_the_start(opened: Any, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from seedbed.runs.store import Store; from seedbed.tui import app\n"
        "def fail(self, *sizes): raise ValueError('a fault at the start')\n"
        "app.Window._arrange = fail\n"
        "sys.exit(app.run(Store(Path(sys.argv[1]))))"
    )
    window = opened("-c", code, str(tmp_path / "runs"))
    assert window.ended() == 1
    assert b"a fault at the start" in window.written
    assert window.left_on() == set()
    assert termios.tcgetattr(window.fd) == window.modes


def test_keyboard_bytes_that_are_not_utf_8_are_ignored(opened: Any) -> None:
    window = opened()
    window.wait_for("No runs yet")
    os.write(window.fd, b"\xe9\xff")
    time.sleep(0.2)
    os.write(window.fd, b"3")
    window.wait_for("start from")
    os.write(window.fd, b"\x03")
    assert window.ended() == 0


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_that_is_not_utf_8_shows_the_window_in_ascii(opened: Any, encoding: str) -> None:
    window = opened(PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    window.wait_for("No runs yet")
    os.write(window.fd, b"q")
    assert window.ended() == 0
    said = window.written.decode(encoding)
    assert not re.search(r"\\u[0-9a-f]{4}|\\x[0-9a-f]{2}", said)
    assert re.sub(r"\x1b\[[0-9;]*m", "", said).count("+---") >= 2
    assert "No run" in said


@pytest.mark.parametrize(
    ("character", "shown"),
    [("╭", "+"), ("─", "-"), ("…", "."), ("⣿", ":"), ("⠉", "'"), ("⣀", "."), ("é", "e"), ("好", "??"), ("ß", "?")],
)
def test_a_character_that_the_terminal_cannot_show_has_as_many_cells_in_ascii(character: str, shown: str) -> None:
    assert ascii_form(character) == shown
