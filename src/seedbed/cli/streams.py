"""Makes the three standard streams safe: they may be closed, full, or of an encoding without some characters."""

from __future__ import annotations

import codecs
import io
import os
import sys

ERRORS = "seedbed.plain"
"""Name of the codec error handler: characters that the encoding does not have become similar ASCII, else `?`."""
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
    """Make all three streams safe: closed ones read and write nothing, and every character can be written.

    Otherwise the next file that is opened gets the number of a closed stream, and output goes into that file.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            _open_null(number, name)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "backslashreplace"):
            stream.reconfigure(errors=ERRORS)


def discard_stdout() -> None:
    """Discard what stdout still buffers: Python would report the same error again when it flushes at exit."""
    try:
        number = sys.stdout.fileno()
    except (OSError, ValueError):
        return  # not a file
    redirect_to_null(number)


def redirect_to_null(number: int) -> None:
    """Redirect the file descriptor to /dev/null, also for what is flushed at exit."""
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
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_ASCII.get(char, "?") for char in error.object[error.start : error.end]), error.end


codecs.register_error(ERRORS, _as_ascii)
