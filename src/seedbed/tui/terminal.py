"""The terminal of the window: its modes are restored at the end, and characters that it cannot show are replaced."""

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

CLOSING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that close the window."""
_TIMEOUT_S = 3.0
"""Seconds that the window may take to close before its process exits anyway."""
_RESTORE = (
    b"\x1b[<u\x1b[?2048l\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?2004l\x1b[?1004l\x1b[?7h\x1b[?1049l\x1b[?25h"
)
"""The codes that reset keyboard, mouse, paste, focus, line wrap, alternate screen and cursor for the shell."""
_ERRORS = "seedbed.ascii"
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
"""Similar ASCII characters for those that the encoding of a terminal may not have, each as wide."""


class TerminalDriver(LinuxDriver):
    """Textual's driver of the terminal, but without its error for keyboard input that is not UTF-8.

    That error would close the window; such input is ignored instead.
    """

    def run_input_thread(self) -> None:
        """Read input from the terminal and dispatch it as events, until the window closes."""
        while not self.exit_event.is_set():
            with suppress(UnicodeDecodeError):
                super().run_input_thread()


@contextmanager
def leaving_on_signals(leave: Callable[[int], None]) -> Iterator[None]:
    """A context in which a signal that would end the process calls `leave` with its number, in the main thread.

    If the window does not close in time, or a second signal arrives, the terminal is restored and the process exits.
    """
    fd = sys.__stdin__.fileno() if sys.__stdin__ is not None else -1
    modes = _modes(fd)
    has_signal = threading.Event()

    def exit_now(number: int) -> None:
        _restore(fd, modes)
        os._exit(128 + number)

    def watch(number: int) -> None:
        time.sleep(_TIMEOUT_S)
        exit_now(number)

    def on_signal(number: int, _: object) -> None:
        if has_signal.is_set():
            exit_now(number)
        has_signal.set()
        threading.Thread(target=watch, args=(number,), name="leaving", daemon=True).start()
        leave(number)

    before = {number: signal.signal(number, on_signal) for number in CLOSING_SIGNALS}
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


def replace_unknown_characters() -> None:
    """Make output replace characters that the encoding of the terminal lacks by similar ASCII of the same width."""
    codecs.register_error(_ERRORS, _as_ascii)
    for stream in (sys.__stderr__, sys.__stdout__):
        if stream is not None and codecs.lookup(stream.encoding).name != "utf-8":
            stream.reconfigure(errors=_ERRORS)


def _as_ascii(error: UnicodeError) -> tuple[str, int]:
    """The codec error handler: returns the text to write instead, and the position after the replaced characters."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(ascii_form, error.object[error.start : error.end])), error.end


def ascii_form(character: str) -> str:
    """The ASCII text to show instead of one character, in as many terminal cells as the character takes."""
    from rich.cells import cell_len

    if (found := _ASCII.get(character)) is not None:
        return found
    if "\u2800" <= character <= "\u28ff":  # Braille, with which curves are drawn
        dots = ord(character) - 0x2800
        upper, lower = dots & 0b00011011, dots & 0b11100100
        return ":" if upper and lower else "'" if upper else "." if lower else " "
    base = unicodedata.normalize("NFKD", character)[:1]
    cells = cell_len(character)
    return base if cells == 1 and base.isascii() and base.isprintable() else "?" * cells
