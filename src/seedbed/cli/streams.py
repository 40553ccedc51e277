"""Prepares stdin, stdout and stderr for use: they may be closed, full, or have an encoding without some characters."""

from __future__ import annotations

import codecs
import io
import os
import sys

ERRORS = "seedbed.plain"
"""Name of the codec error handler, which replaces characters that the encoding does not have by similar ASCII or `?`."""
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
    """Open closed streams on /dev/null, and let stdout and stderr write every character.

    If a stream stayed closed, the next file that is opened would get its descriptor, and output would go into that file.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            _open_null(number, name)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "backslashreplace"):
            stream.reconfigure(errors=ERRORS)


def discard_stdout() -> None:
    """Discard what stdout still buffers. Otherwise Python reports the same error again when it flushes stdout at exit."""
    try:
        number = sys.stdout.fileno()
    except (OSError, ValueError):
        return  # not a file
    redirect_to_null(number)


def redirect_to_null(number: int) -> None:
    """Redirect the file descriptor to /dev/null; output that is flushed at exit is discarded too."""
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
    """The codec error handler: the replacement of the characters, and the position after them."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_ASCII.get(char, "?") for char in error.object[error.start : error.end]), error.end


codecs.register_error(ERRORS, _as_ascii)
