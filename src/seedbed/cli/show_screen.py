"""The terminal of the full-screen show: alternate screen, hidden cursor, keys; restored however the show ends."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Self

FRAME_S = 0.1
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP)
ENTER, LEAVE = "\x1b[?1049h\x1b[?25l\x1b[2J", "\x1b[0m\x1b[?25h\x1b[?1049l"


class Screen:
    """Draws frames with `write`, and reads keys. A stop (Ctrl-Z) gives the terminal back until the show continues."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._shown: list[str] = []
        self._size = os.terminal_size((0, 0))
        self._modes: list[Any] | None = None
        self._before: Any = None

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGTSTP, self._stop)
        self._enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A second Ctrl-C must not interrupt this.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            signal.signal(signal.SIGTSTP, self._before)
            self._leave()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    def draw(self, rows: list[str]) -> None:
        """Show a frame: only the rows that changed are written."""
        size = os.get_terminal_size(sys.stdout.fileno())
        text = []
        if size != self._size or len(rows) != len(self._shown):
            self._size, self._shown = size, [""] * len(rows)
            text.append("\x1b[0m\x1b[2J")
        for number, (row, before) in enumerate(zip(rows, self._shown, strict=True), 1):
            if row != before:
                text.append(f"\x1b[{number};1H{row}\x1b[0m\x1b[K")
        self._shown = rows
        if text:
            self._write("".join(text))

    def wait_for_key(self) -> str:
        """Wait for a key, at most one frame; "" if none was pressed."""
        if self._modes is None:
            select.select([], [], [], FRAME_S)
            return ""
        ready, _, _ = select.select([sys.stdin], [], [], FRAME_S)
        if not ready:
            return ""
        typed = os.read(sys.stdin.fileno(), 64).decode(errors="replace")
        return typed if len(typed) == 1 else ""  # longer: a special key, such as an arrow

    def _enter(self) -> None:
        with suppress(termios.error, OSError, ValueError):
            if sys.stdin.isatty():
                self._modes = termios.tcgetattr(sys.stdin)
                tty.setcbreak(sys.stdin)
        self._shown = []
        self._write(ENTER)

    def _leave(self) -> None:
        with suppress(OSError):
            self._write(LEAVE)
        if self._modes is not None:
            with suppress(termios.error, OSError):
                termios.tcsetattr(sys.stdin, termios.TCSANOW, self._modes)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._leave()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._enter()
