"""Prepares stdin, stdout and stderr for use: they may be closed, full, or have an encoding without some characters."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
from typing import TextIO

from seedbed.config.environment import env

ERRORS = "seedbed.plain"
"""The name of the codec error handler that replaces characters unknown to an encoding by similar ASCII or `?`."""
_ASCII = {
    **dict.fromkeys("─━╌╍┄┅⠒⣀", "-"),
    **dict.fromkeys("│┃┆┇┊┋┤├", "|"),
    **dict.fromkeys("╭╮╰╯┌┐└┘┬┴┼┏┓┗┛", "+"),
    **dict.fromkeys("–—−", "-"),
    **dict.fromkeys("‘’", "'"),
    **dict.fromkeys("“”„", '"'),
    **dict.fromkeys("•·◆◇▲▴", "*"),
    "…": "...",
    "×": "x",
    "→": "->",
    "≥": ">=",
    "≤": "<=",
}


def prepare() -> None:
    """Open closed standard streams on /dev/null, and let stdout and stderr write every character.

    If a stream stayed closed, the next file that is opened would get the descriptor of the stream, and output would go
    into that file.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            _open_null(number, name)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "backslashreplace"):
            stream.reconfigure(errors=ERRORS)


def terminal_columns(stream: TextIO | None = None) -> int:
    """The width of the terminal: COLUMNS, or as the terminal of `stream` (default: stdout) says; 80 without one.

    As shutil.get_terminal_size, whose module takes some milliseconds of each command to import.
    """
    named = env("COLUMNS")
    if named.isascii() and named.isdigit() and int(named):
        return int(named)
    try:
        return os.get_terminal_size((stream or sys.__stdout__).fileno()).columns or 80  # type: ignore[union-attr]
    except (AttributeError, ValueError, OSError):
        return 80


def discard_unwritten() -> None:
    """Flush stdout and stderr, and discard what cannot be written.

    Otherwise Python reports the error when it flushes them at exit, and the exit status becomes 120.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            with contextlib.suppress(OSError, ValueError):  # not a file
                redirect_to_null(stream.fileno())


def redirect_to_null(number: int) -> None:
    """Redirect a file descriptor to /dev/null. What is still buffered for it is discarded, too."""
    opened = os.open(os.devnull, os.O_RDWR)
    if opened != number:
        os.dup2(opened, number)
        os.close(opened)
    else:
        os.set_inheritable(number, True)


def _open_null(number: int, name: str) -> None:
    redirect_to_null(number)
    stream = open(number, "w" if number else "r", encoding="utf-8", closefd=False)  # noqa: SIM115
    setattr(sys, name, stream)


def _as_ascii(error: UnicodeError) -> tuple[str, int]:
    """The codec error handler: returns the text to write instead, and the position after the replaced characters."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_ASCII.get(char, "?") for char in error.object[error.start : error.end]), error.end


codecs.register_error(ERRORS, _as_ascii)
