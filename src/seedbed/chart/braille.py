"""Curves in a terminal, drawn with Braille characters."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from seedbed.chart.axes import AXIS, Box, Line, Marks, bounds, log_ticks, number, ticks, y_scale


class Span(NamedTuple):
    """A piece of text in a row of a chart, and the `series` (colour) of the line in it; AXIS for axes and labels."""

    text: str
    series: int


# Bits of the eight dots of a Braille character (U+2800 and following), [column][row].
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
# Bits of a vertical stretch of dots within one character: [column][first row][last row].
_STRETCH = tuple(tuple(tuple(sum(dots[first : last + 1]) for last in range(4)) for first in range(4)) for dots in _DOTS)


class _Canvas:
    """A grid of Braille dots, 2 x 4 per character. A character has one colour, so it shows only the line drawn last."""

    def __init__(self, columns: int, rows: int) -> None:
        self.width, self.height = columns * 2, rows * 4
        self.bits = [[0] * columns for _ in range(rows)]
        self.owner = [[AXIS] * columns for _ in range(rows)]

    def column(self, x: int, top: int, bottom: int, series: int) -> None:
        """Set the dots of column `x` from `top` to `bottom` in the colour `series`, except those outside the canvas."""
        if bottom < 0 or top >= self.height:
            return
        top, bottom = max(top, 0), min(bottom, self.height - 1)
        stretch, cell = _STRETCH[x & 1], x >> 1
        first, last = top >> 2, bottom >> 2
        for row in range(first, last + 1):
            start = top & 3 if row == first else 0
            if self.owner[row][cell] != series:
                self.bits[row][cell] = 0
            self.bits[row][cell] |= stretch[start][bottom & 3 if row == last else 3]
            self.owner[row][cell] = series


class Picture(NamedTuple):
    """A drawn chart: rows of spans (pieces of text in one colour), and the position of the curves within the rows."""

    rows: list[list[Span]]
    box: Box
    margin: int
    """Width of the labels at the left, in columns."""
    columns: int
    """Width of the curves, in columns."""
    height: int
    """Height of the curves, in rows; marks and the x axis follow."""

    def x_at(self, column: int) -> float | None:
        """The value x at the middle of a text column of the chart; None outside the curves."""
        cell = column - self.margin
        if not 0 <= cell < self.columns:
            return None
        return self.box.x0 + (2 * cell + 0.5) / (2 * self.columns - 1) * (self.box.x1 - self.box.x0)

    def column_of(self, x: float) -> int | None:
        """The text column of the chart that shows the value `x`; None outside the box."""
        dot = _dot(x, self.box, 2 * self.columns)
        return None if dot is None else self.margin + dot // 2


def braille(
    lines: Sequence[Line], width: int, height: int, *, log: bool = False, whole_x: bool = False
) -> list[list[Span]]:
    """The rows of a chart with all points of the lines, as by `plot`; no rows if there is no point or no room."""
    picture = plot(lines, width, height, log=log, whole_x=whole_x)
    return picture.rows if picture else []


def plot(
    lines: Sequence[Line],
    width: int,
    height: int,
    *,
    box: Box | None = None,
    log: bool = False,
    marks: Sequence[Marks] = (),
    x_text: Callable[[float], str] | None = None,
    whole_x: bool = False,
) -> Picture | None:
    """Draw the lines as `height` rows of at most `width` characters: y labels at the left, x labels below.

    A dot column is filled between its lowest and highest value, so a spike of one point stays visible. `box` fixes the
    ranges: lines are cut at its edges. `log` makes y logarithmic. Each row of `marks` takes one of the `height` rows.
    `x_text` formats the x labels; `whole_x` labels only whole numbers, as for steps. Returns None if there is no point
    or no room.
    """
    box = bounds(lines, log=log) if box is None else box
    levels = sorted({each.row for each in marks})
    rows = height - 1 - len(levels)
    if box is None or rows < 2 or box.x1 <= box.x0 or box.y1 <= box.y0 or (log and box.y0 <= 0):
        return None
    labels = _row_labels(box, rows, log)
    margin = max(len(label) for label in labels) + 2
    columns = width - margin
    if columns < 4:
        return None
    canvas = _Canvas(columns, rows)
    for position, line in enumerate(lines):
        _trace(canvas, box, line, position if line.series is None else line.series, log)
    tags = _tags(canvas, box, lines, log)
    painted = []
    for row in range(rows):
        spans = [Span(f"{labels[row]:>{margin - 2}} {'┤' if labels[row] else '│'}", AXIS)]
        chars = [chr(0x2800 + bits) if bits else " " for bits in canvas.bits[row]]
        for column, (tag, series) in tags.get(row, {}).items():
            chars[column], canvas.owner[row][column] = tag, series
        painted.append(spans + _spans(chars, canvas.owner[row]))
    for level in levels:
        chars, owners = [" "] * columns, [AXIS] * columns
        for each in marks:
            for dot in {_dot(x, box, 2 * columns) for x in each.x} - {None} if each.row == level else ():
                assert dot is not None
                chars[dot // 2], owners[dot // 2] = each.glyph, each.series
        painted.append([Span(" " * margin, AXIS), *_spans(chars, owners)])
    painted.append([Span((" " * margin + _x_axis(box, columns, x_text, whole_x))[:width], AXIS)])
    return Picture(painted, box, margin, columns, rows)


def _spans(chars: list[str], owners: list[int]) -> list[Span]:
    """Join the characters of a row into spans: neighbours with the same owner (colour); blanks join the span before."""
    spans: list[Span] = []
    start = 0
    for end in range(1, len(chars) + 1):
        if end == len(chars) or (owners[end] != owners[start] and chars[end] != " "):
            spans.append(Span("".join(chars[start:end]), owners[start]))
            start = end
    return spans


def _dot(x: float, box: Box, dots: int) -> int | None:
    """The dot column of the value `x`, from 0 to `dots` - 1; None outside the box."""
    if not box.x0 <= x <= box.x1:
        return None
    return round((x - box.x0) / (box.x1 - box.x0) * (dots - 1))


def _row_labels(box: Box, rows: int, log: bool) -> list[str]:
    labels = [""] * rows
    scale = y_scale(box, rows * 4 - 1, log)
    for value in (log_ticks if log else ticks)(box.y0, box.y1, max(2, rows // 2)):
        row = round(scale(value)) // 4
        if not labels[row]:
            labels[row] = number(value)
    if not any(labels):
        labels[0] = f"{box.y1:.4g}"
    return labels


def _x_axis(box: Box, columns: int, x_text: Callable[[float], str] | None, whole: bool) -> str:
    """The row of labels below the curves: both ends of x, and round numbers between them if there is room."""
    label_of = x_text or (lambda x: number(round(x, 6)))
    left, right = ("" if whole and end != round(end) else label_of(end) for end in (box.x0, box.x1))
    axis = left + " " * max(columns - len(left) - len(right), 1) + right
    for value in ticks(box.x0, box.x1, max(columns // 14, 1), whole=whole) if x_text is None else ():
        label, dot = number(value), _dot(value, box, 2 * columns)
        start = (dot or 0) // 2 - len(label) // 2
        if start > 1 and not axis[start - 2 : start + len(label) + 2].strip():
            axis = axis[:start] + label + axis[start + len(label) :]
    return axis


def _trace(canvas: _Canvas, box: Box, line: Line, series: int, log: bool) -> None:
    """Draw a line: fill each dot column from the lowest to the highest value in it, and connect neighbouring points."""
    scale = y_scale(box, canvas.height - 1, log)
    far = 1 << 40

    def at(y: float, default: int) -> int:
        dot = scale(y) if math.isfinite(y) else math.nan
        return default if math.isnan(dot) else round(min(max(dot, -far), far))

    extent: dict[int, tuple[int, int]] = {}

    def cover(column: int, top: int, bottom: int) -> None:
        known = extent.get(column)
        extent[column] = (top, bottom) if known is None else (min(known[0], top), max(known[1], bottom))

    factor, width = (canvas.width - 1) / (box.x1 - box.x0), canvas.width
    previous: tuple[int, int] | None = None
    for index, (x, y) in enumerate(zip(line.x, line.y, strict=True)):
        py = at(y, far + 1)
        if py > far or not math.isfinite(x):
            previous = None
            continue
        px = round((x - box.x0) * factor)
        if 0 <= px < width:
            top = at(line.high[index], py) if line.high else py
            low = line.low[index] if line.low else y
            cover(px, min(top, py), max(at(low, far if low <= 0 else py), py))
        if previous is not None and px > previous[0] and px >= 0 and previous[0] < width:
            _connect(cover, previous, (px, py), width)
        previous = (px, py)
    for px, (top, bottom) in extent.items():
        canvas.column(px, top, bottom, series)


def _connect(cover: Callable[[int, int, int], None], start: tuple[int, int], end: tuple[int, int], width: int) -> None:
    """Connect the points `start` and `end` by calling `cover(x, top, bottom)` for dot columns between them.

    Each of these columns reaches half way to the height of its neighbour.
    """
    slope = (end[1] - start[1]) / (end[0] - start[0])
    first = max(start[0], -1)
    before = round(start[1] + slope * (first - start[0]))
    for column in range(first + 1, min(end[0], width) + 1):
        here = round(start[1] + slope * (column - start[0]))
        middle = (before + here) // 2
        if column > 0:
            cover(column - 1, min(before, middle), max(before, middle))
        if column < width:
            cover(column, min(here, middle), max(here, middle))
        before = here


def _tags(canvas: _Canvas, box: Box, lines: Sequence[Line], log: bool) -> dict[int, dict[int, tuple[str, int]]]:
    """Find the place of each line's tag: row -> column -> (tag, series).

    That is at the line's last visible point, or further left if another tag is there.
    """
    scale = y_scale(box, canvas.height - 1, log)
    found: dict[int, dict[int, tuple[str, int]]] = {}
    for position, line in enumerate(lines):
        if not line.tag:
            continue
        for x, y in zip(reversed(line.x), reversed(line.y), strict=True):
            dot = _dot(x, box, canvas.width) if math.isfinite(x) else None
            height = scale(y) if dot is not None and math.isfinite(y) else math.nan
            if dot is None or not 0 <= height < canvas.height:
                continue
            row = found.setdefault(round(height) // 4, {})
            column = next((each for each in range(dot // 2, -1, -1) if each not in row), None)
            if column is not None:
                row[column] = (line.tag, position if line.series is None else line.series)
            break
    return found
