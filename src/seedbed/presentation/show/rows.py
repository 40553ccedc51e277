"""Rows of styled text that fit a width, and their ANSI codes."""

from __future__ import annotations

from collections.abc import Iterable
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
