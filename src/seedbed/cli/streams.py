"""The three standard streams as they may be: closed, full, or of an encoding that lacks characters that we print."""

from __future__ import annotations

import codecs
import io
import os
import sys

ERRORS = "seedbed.plain"
"""Name of the way in which characters that a stream's encoding lacks are written: as plain ones, else as `?`."""
_PLAIN = {
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
    """Make all three streams safe to write to: what is closed leads nowhere, and no character is a failure or a code.

    A closed stream's number would else be given to the next file that is opened, which then gets what is printed.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            _open_nowhere(number, name)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "backslashreplace"):
            stream.reconfigure(errors=ERRORS)


def give_up_stdout() -> None:
    """Throw away what stdout still holds: Python would complain once more when it flushes at exit."""
    try:
        number = sys.stdout.fileno()
    except (OSError, ValueError):
        return  # it is no file
    nowhere(number)


def nowhere(number: int) -> None:
    """From now on, what is written to this stream's number is thrown away, at exit too."""
    opened = os.open(os.devnull, os.O_RDWR)
    if opened != number:
        os.dup2(opened, number)
        os.close(opened)
    else:
        os.set_inheritable(number, True)


def _open_nowhere(number: int, name: str) -> None:
    nowhere(number)
    stream = open(number, "w" if number else "r", encoding="utf-8", closefd=False)  # noqa: SIM115
    setattr(sys, name, stream)


def _plainly(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_PLAIN.get(char, "?") for char in error.object[error.start : error.end]), error.end


codecs.register_error(ERRORS, _plainly)
