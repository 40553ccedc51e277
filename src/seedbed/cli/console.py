"""Prints lines, tables, JSON, errors and questions; colours them only on terminals that support colour."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, TextIO

from seedbed.cli.streams import terminal_columns
from seedbed.errors import SeedbedError
from seedbed.text import legible, painted, printable, shorten, shorten_middle


def colour(stream: TextIO) -> bool:
    """Whether to colour output to this stream: it is a terminal with colours, and NO_COLOR is unset (no-color.org)."""
    from seedbed.config.environment import env

    return stream.isatty() and not env("NO_COLOR") and env("TERM") != "dumb"


def paint(text: str, style: str, stream: TextIO | None = None) -> str:
    """`text` in a style such as `bold red`; unchanged if output to the stream (default: stdout) is not coloured."""
    return painted(text, style) if text and style and colour(stream or sys.stdout) else text


def say(text: str = "", stream: TextIO | None = None) -> None:
    """Print a line on stdout or another stream; bytes of a file name that are not UTF-8 are shown as \\xe9."""
    print(legible(text), file=stream or sys.stdout)


def note(text: str) -> None:
    """Print a remark on stderr. If it cannot be written, this is ignored."""
    with suppress(OSError):
        print(legible(text), file=sys.stderr)


def say_json(value: Any) -> None:
    """Print a JSON value on stdout, indented; control characters are escaped."""
    import json

    print(json.dumps(value, indent=2, allow_nan=False))


def folded(words: str, indent: int = 0) -> list[str]:
    """A text as lines that fit the terminal beside `indent` other characters, of at least 20 each; words and paths stay whole."""
    import textwrap

    return textwrap.wrap(words, max(width() - indent, 20), break_long_words=False, break_on_hyphens=False) or [""]


def print_error(error: SeedbedError) -> None:
    """Print an error and its hint on stderr, after erasing the temporary line (see `set_temporary_line`).

    On a terminal, their lines are as wide as it.
    """
    set_temporary_line()
    for label, style, words in (("error:", "bold red", error.message), ("hint:", "bold", error.hint)):
        if not words:
            continue
        lines = f"{label} {printable(words, newlines=True)}".split("\n")
        if sys.stderr.isatty():
            lines = [part for line in lines for part in folded(line)]
        note("\n".join(lines).replace(label, paint(label, style, sys.stderr), 1))


def set_temporary_line(line: str = "") -> None:
    """Show a temporary line on stderr in place of the previous temporary line; "" erases it.

    A line that does not fit the terminal is cut, since only one row can be erased. Does nothing if stderr is not a
    terminal, or is a terminal that cannot erase a line.
    """
    from seedbed.config.environment import env

    if not sys.stderr.isatty() or env("TERM") == "dumb":
        return
    line = shorten(line, temporary_room())
    with suppress(OSError):
        sys.stderr.write("\r\x1b[K" + paint(line, "dim", sys.stderr))
        sys.stderr.flush()


def temporary_room() -> int:
    """The most characters that a temporary line can have."""
    return terminal_columns(sys.stderr) - 1


def can_ask() -> bool:
    """Whether a person at a terminal can answer a question."""
    return sys.stdin is not None and sys.stdin.isatty()


def confirm(question: str) -> bool:
    """Ask a question at the terminal. Returns True if the answer is y or yes, else False."""
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def width(most: int = 100) -> int:
    """The width of the terminal in columns, at most `most`; 80 if there is no terminal."""
    return min(terminal_columns(), most)


def fitted(
    header: list[str],
    rows: list[list[str]],
    styles: list[list[str]],
    *,
    spare: Sequence[str],
    shorten: str = "NAME",
    least: int = 8,
) -> None:
    """Fit a table, given by its lists, to the terminal: remove columns in the order of `spare` until there is room.

    If that is not enough, cells of the column `shorten` are cut, but not below `least` characters. If stdout is not a
    terminal, nothing is removed or cut.
    """
    if not sys.stdout.isatty():
        return

    def excess_width() -> int:
        widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
        return sum(widths) + 2 * (len(widths) - 1) - width(200)

    for name in spare:
        if name in header and excess_width() > 0:
            at = header.index(name)
            for row in (header, *rows, *styles):
                del row[at]
    excess = excess_width()
    if excess > 0 and shorten in header:
        at = header.index(shorten)
        most = max(max(len(row[at]) for row in (header, *rows)) - excess, least)
        for row in rows:
            row[at] = shorten_middle(row[at], most)


def table(
    rows: Sequence[Sequence[str]],
    header: Sequence[str],
    *,
    right: Sequence[str] = (),
    styles: Sequence[Sequence[str]] = (),
) -> list[str]:
    """The lines of a table with aligned columns; columns whose header is in `right` are aligned to the right.

    `styles` has the styles of the cells, in the same order as `rows`.
    """
    columns = list(zip(header, *rows, strict=True))
    widths = [max(len(cell) for cell in column) for column in columns]
    lines = []
    for number, row in enumerate([header, *rows]):
        cells = []
        for position, cell in enumerate(row):
            padded = cell.rjust(widths[position]) if header[position] in right else cell.ljust(widths[position])
            style = "bold" if number == 0 else styles[number - 1][position] if styles else ""
            cells.append(paint(padded, style))
        lines.append("  ".join(cells).rstrip())
    return lines
