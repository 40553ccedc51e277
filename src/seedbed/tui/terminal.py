"""The terminal that a window is shown in: left as it was found, and drawn on with the characters that it knows."""

from __future__ import annotations

import codecs
import os
import signal
import sys
import termios
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from textual.drivers.linux_driver import LinuxDriver

LEAVING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that close the window."""
_PATIENCE_S = 3.0
"""How long the window may take to close before its process ends without it."""
_RESTORE = (
    b"\x1b[<u\x1b[?2048l\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?2004l\x1b[?1004l\x1b[?7h\x1b[?1049l\x1b[?25h"
)
"""Keyboard protocol, mouse, paste, focus, line wrap, the alternate screen and the cursor: as a shell expects them."""
_LOOKALIKES = "seedbed.lookalikes"
_ASCII = {
    **dict.fromkeys("─━═▔▁╌┄", "-"),
    **dict.fromkeys("│┃║▏▕▎▐▌╎┆⎹", "|"),
    **dict.fromkeys("╭╮╰╯┌┐└┘├┤┬┴┼╔╗╚╝┏┓┗┛", "+"),
    **dict.fromkeys("█▓▉▊▋", "#"),
    **dict.fromkeys("░▒▂▃▄▖▗", "."),
    **dict.fromkeys("▅▆▇▀▘▝", ":"),
    **dict.fromkeys("●•◆✓", "*"),
    **dict.fromkeys("▸▶▹→", ">"),
    **dict.fromkeys("◂◀←", "<"),
    **dict.fromkeys("▼▾↓", "v"),
    **dict.fromkeys("▲▴↑", "^"),
    **dict.fromkeys("…·", "."),
    **dict.fromkeys("⏎↵", "<"),
    "✗": "x",
    "×": "x",
    "␣": "_",
}
"""What stands for a character where the terminal's encoding has none for it, in as many cells."""


class TerminalDriver(LinuxDriver):
    """Textual's, but bytes from the keyboard that are no UTF-8 are dropped, where Textual's would end the window."""

    def run_input_thread(self) -> None:
        """Wait for input and dispatch events."""
        while not self.exit_event.is_set():
            with suppress(UnicodeDecodeError):
                super().run_input_thread()


@contextmanager
def leaving_on_signals(leave: Callable[[int], None]) -> Iterator[None]:
    """While this lasts, a signal that ends a process calls `leave` with its number, in the main thread.

    The terminal is restored and the process ended in any case: after a while, or when a second signal comes.
    """
    fd = sys.__stdin__.fileno() if sys.__stdin__ is not None else -1
    modes = _modes(fd)
    told = threading.Event()

    def end(number: int) -> None:
        _restore(fd, modes)
        os._exit(128 + number)

    def watch(number: int) -> None:
        time.sleep(_PATIENCE_S)
        end(number)

    def on_signal(number: int, _: object) -> None:
        if told.is_set():
            end(number)
        told.set()
        threading.Thread(target=watch, args=(number,), name="leaving", daemon=True).start()
        leave(number)

    before = {number: signal.signal(number, on_signal) for number in LEAVING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _modes(fd: int) -> list[Any] | None:
    try:
        return termios.tcgetattr(fd)
    except (termios.error, ValueError):
        return None


def _restore(fd: int, modes: list[Any] | None) -> None:
    with suppress(OSError, termios.error):
        os.write(2, _RESTORE)
        if modes is not None:
            termios.tcsetattr(fd, termios.TCSANOW, modes)


def draw_with_known_characters() -> None:
    """Let what the terminal's encoding does not know be drawn as something like it, so that the layout stays whole."""
    codecs.register_error(_LOOKALIKES, _lookalike)
    for stream in (sys.__stderr__, sys.__stdout__):
        if stream is not None and codecs.lookup(stream.encoding).name != "utf-8":
            stream.reconfigure(errors=_LOOKALIKES)


def _lookalike(error: UnicodeError) -> tuple[str, int]:
    """The handler of characters that cannot be encoded."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(plain_form, error.object[error.start : error.end])), error.end


def plain_form(character: str) -> str:
    """ASCII for one character, in as many cells as that takes."""
    from rich.cells import cell_len

    if (found := _ASCII.get(character)) is not None:
        return found
    if "\u2800" <= character <= "\u28ff":  # Braille, of which curves are made
        dots = ord(character) - 0x2800
        upper, lower = dots & 0b00011011, dots & 0b11100100
        return ":" if upper and lower else "'" if upper else "." if lower else " "
    base = unicodedata.normalize("NFKD", character)[:1]
    cells = cell_len(character)
    return base if cells == 1 and base.isascii() and base.isprintable() else "?" * cells
