"""Rows of styled text that fit a width, and their ANSI codes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NamedTuple

from seedbed.text import painted


class Segment(NamedTuple):
    """A piece of text in one style."""

    text: str
    style: str = ""


class Row(NamedTuple):
    """A row of text.

    `is_bar`: it shows a progress, so it takes the place of an earlier bar. `is_transient`: where rows can be overwritten,
    this bar stays below the other rows until the next bar comes. Elsewhere, it is left out unless `is_kept`.
    """

    segments: tuple[Segment, ...]
    is_bar: bool = False
    is_transient: bool = False
    is_kept: bool = True

    @property
    def text(self) -> str:
        """The text without styles."""
        return "".join(each.text for each in self.segments)


class Glyphs(NamedTuple):
    """The characters of bars and pictures."""

    full: str
    empty: str
    levels: str
    """Characters for heights, lowest first."""
    shades: str
    """Characters for values, lowest first."""
    half: str
    """The upper half of a cell; "" if there is no such character."""


UNICODE = Glyphs("█", "░", "▁▂▃▄▅▆▇█", " ░▒▓█", "▀")
ASCII = Glyphs("#", ".", "_.-=+*#", " .:-=+*#%@", "")


_INDENT = "  "
"""Begins the rows that continue a row."""
_LEAST_INDENTED = 12
"""Narrower rows are not indented."""


def row(*pieces: str | tuple[str, str]) -> Row:
    """A row of plain texts and of (text, style)."""
    return Row(tuple(Segment(piece) if isinstance(piece, str) else Segment(*piece) for piece in pieces))


def fitted(given: Row, width: int) -> Row:
    """The row, cut to `width` columns. All its characters must be one column wide."""
    left, kept = width, []
    for text, style in given.segments:
        if len(text) > left:
            kept.append(Segment(text[: max(left, 0)], style))
            break
        kept.append(Segment(text, style))
        left -= len(text)
    return given._replace(segments=tuple(kept))


def wrapped(given: Row, width: int) -> list[Row]:
    """The row in as many rows of at most `width` columns as it needs, broken at spaces; only longer words are broken, too."""
    text = given.text
    if len(text) <= width:
        return [given]
    styles = [style for piece, style in given.segments for _ in piece]
    indent = _INDENT if width >= _LEAST_INDENTED else ""
    found: list[Row] = []
    for begin, end in _lines(text, max(width, 1), len(indent)):
        pieces = groupby(range(begin, end), key=styles.__getitem__)
        segments = [Segment("".join(text[i] for i in places), style) for style, places in pieces]
        if found:
            segments[0] = Segment(indent + segments[0].text, segments[0].style)
        found.append(given._replace(segments=tuple(segments)))
    return found


def _lines(text: str, width: int, indent: int) -> list[tuple[int, int]]:
    """Begin and end of each line of a text; all but the first have `indent` columns less."""
    found: list[tuple[int, int]] = []
    for begin, end in _words(text, width - indent):
        if not found:
            found.append((0 if end <= width else begin, end))  # with the spaces at the beginning
        elif end - found[-1][0] <= width - (indent if len(found) > 1 else 0):
            found[-1] = (found[-1][0], end)
        else:
            found.append((begin, end))
    return found


def _words(text: str, width: int) -> Iterator[tuple[int, int]]:
    """Begin and end of each word; longer ones than `width` are broken, after a dash, slash or underscore if there is one."""
    for word in re.finditer(r"\S+", text):
        begin, end = word.span()
        while end - begin > width:
            dashes = [match.end() for match in re.finditer(r"[-/_]", text[begin : begin + width])]
            cut = begin + (dashes[-1] if dashes else width)
            yield begin, cut
            begin = cut
        yield begin, end


def parts(width: int, *pieces: str | tuple[str, str], between: str = "  ") -> Row:
    """A row of as many of the pieces, most important first, as fit `width` columns as a whole; the first may be cut."""
    chosen: list[Segment] = []
    left = width
    for number, piece in enumerate(pieces):
        segment = Segment(piece) if isinstance(piece, str) else Segment(*piece)
        needed = len(segment.text) + (len(between) if number else 0)
        if number and needed > left:
            break
        if number:
            chosen.append(Segment(between))
        chosen.append(segment)
        left -= needed
    return fitted(Row(tuple(chosen)), width)


def ansi(given: Row, *, colour: bool) -> str:
    """The row with ANSI codes for its styles; without `colour` its text."""
    if not colour:
        return given.text
    return "".join(painted(text, style) for text, style in given.segments)


def bordered_width(cells: Iterable[Iterable[str]]) -> int:
    """The columns that `bordered` needs for these cells, its header among them."""
    widths = [max(len(each) for each in column) for column in zip(*cells, strict=True)]
    return sum(widths) + 3 * len(widths) + 1


def bordered(header: Iterable[str], cells: Iterable[Iterable[str]], right: Iterable[int] = ()) -> list[str]:
    """A table in borders of `+`, `-` and `|`. `right`: the columns that are aligned to the right; no header: no head."""
    head, body, aligned = list(header), [list(each) for each in cells], set(right)
    rows = [head, *body] if head else body
    widths = [max(len(each) for each in column) for column in zip(*rows, strict=True)]
    line = "+" + "+".join("-" * (width + 2) for width in widths) + "+"
    shown = [
        "|"
        + "|".join(
            f" {cell.rjust(width) if number in aligned else cell.ljust(width)} "
            for number, (cell, width) in enumerate(zip(each, widths, strict=True))
        )
        + "|"
        for each in rows
    ]
    return [line, shown[0], line, *shown[1:], line] if head else [line, *shown, line]
