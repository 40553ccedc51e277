"""Curves for human eyes: Braille for terminals, SVG for pages. Knows numbers and pixels, not what they stand for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

AXIS = -1
"""The series of a Braille span that belongs to the frame, not to a line."""


_Place = Callable[[float], float]


class Line(NamedTuple):
    """One curve: points by rising x. `low` and `high`, where given, are the spread around each y."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


class Span(NamedTuple):
    """A piece of a Braille row and the index of the line that it shows, or AXIS."""

    text: str
    series: int


class Box(NamedTuple):
    """The ranges that a picture shows."""

    x0: float
    x1: float
    y0: float
    y1: float


def bounds(lines: Sequence[Line]) -> Box | None:
    """The smallest box that holds every finite point, widened where it would be flat; None if there is no point."""
    xs = [x for line in lines for x, y in zip(line.x, line.y, strict=True) if math.isfinite(x) and math.isfinite(y)]
    ys = [y for line in lines for y in (*line.y, *(line.low or ()), *(line.high or ())) if math.isfinite(y)]
    if not xs or not ys:
        return None
    x0, x1, y0, y1 = min(xs), max(xs), min(ys), max(ys)
    if x1 == x0:
        x0, x1 = x0 - 0.5, x1 + 0.5
    if y1 == y0:
        spread = abs(y0) * 0.05 or 0.5
        y0, y1 = y0 - spread, y1 + spread
    return Box(x0, x1, y0, y1)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers between `low` and `high`, at most `most` of them, in steps of 1, 2 or 5 times a power of ten."""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low or most < 1:
        return []
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    for factor in (1, 2, 5, 10, 20):
        step = factor * power
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first + 1 <= most:
            return [round(k * step, 12) for k in range(first, last + 1)]
    return []


def number(value: float) -> str:
    """A tick's label: as few digits as tell it apart."""
    if value == 0:
        return "0"
    if abs(value) >= 1e6:
        return f"{value / 1e6:.6g}M"
    if abs(value) >= 1e4:
        return f"{value / 1e3:.6g}k"
    return f"{value:.6g}" if abs(value) >= 1e-3 else f"{value:.3g}"


# Braille -------------------------------------------------------------------------------------------------------------

# Bits of the eight dots of U+2800, [row][column].
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


class _Canvas:
    """A grid of Braille dots, two by four to a character; later lines are on top of earlier ones."""

    def __init__(self, columns: int, rows: int) -> None:
        self.width, self.height = columns * 2, rows * 4
        self.bits = [[0] * columns for _ in range(rows)]
        self.owner = [[AXIS] * columns for _ in range(rows)]

    def dot(self, x: int, y: int, series: int) -> None:
        row, column = y // 4, x // 2
        self.bits[row][column] |= _DOTS[y % 4][x % 2]
        self.owner[row][column] = max(self.owner[row][column], series)

    def column(self, x: int, top: int, bottom: int, series: int) -> None:
        for y in range(top, bottom + 1):
            self.dot(x, y, series)


def braille(lines: Sequence[Line], width: int, height: int) -> list[list[Span]]:
    """The lines as `height` rows of at most `width` characters: an axis with its labels at the left, x range below.

    A dot column shows everything between its lowest and highest value, so a spike of one point stays visible.
    No point, or no room, gives no row.
    """
    box = bounds(lines)
    if box is None or height < 3:
        return []
    rows = height - 1
    labels = _row_labels(box, rows)
    margin = max(len(label) for label in labels) + 2
    columns = width - margin
    if columns < 4:
        return []
    canvas = _Canvas(columns, rows)
    for series, line in enumerate(lines):
        _trace(canvas, box, line, series)
    painted = []
    for row in range(rows):
        spans = [Span(f"{labels[row]:>{margin - 2}} {'┤' if labels[row] else '│'}", AXIS)]
        for bits, owner in zip(canvas.bits[row], canvas.owner[row], strict=True):
            char = chr(0x2800 + bits) if bits else " "
            if spans[-1].series == owner or (char == " " and len(spans) > 1):
                spans[-1] = Span(spans[-1].text + char, spans[-1].series)
            else:
                spans.append(Span(char, owner))
        painted.append(spans)
    left, right = number(round(box.x0, 6)), number(round(box.x1, 6))
    gap = max(columns - len(left) - len(right), 1)
    painted.append([Span((" " * margin + left + " " * gap + right)[:width], AXIS)])
    return painted


def _row_labels(box: Box, rows: int) -> list[str]:
    labels = [""] * rows
    for value in ticks(box.y0, box.y1, max(2, rows // 2)):
        row = round((box.y1 - value) / (box.y1 - box.y0) * (rows * 4 - 1)) // 4
        if not labels[row]:
            labels[row] = number(value)
    if not any(labels):
        labels[0] = f"{box.y1:.4g}"
    return labels


def _trace(canvas: _Canvas, box: Box, line: Line, series: int) -> None:
    """Fill each dot column from the lowest to the highest value in it, and bridge the columns between points."""

    def at(y: float) -> int:
        y = min(max(y, box.y0), box.y1)
        return round((box.y1 - y) / (box.y1 - box.y0) * (canvas.height - 1))

    extent: dict[int, tuple[int, int]] = {}

    def cover(column: int, top: int, bottom: int) -> None:
        held = extent.get(column, (top, bottom))
        extent[column] = (min(held[0], top), max(held[1], bottom))

    previous: tuple[int, int] | None = None
    for index, (x, y) in enumerate(zip(line.x, line.y, strict=True)):
        if not (math.isfinite(x) and math.isfinite(y)):
            previous = None
            continue
        px = min(max(round((x - box.x0) / (box.x1 - box.x0) * (canvas.width - 1)), 0), canvas.width - 1)
        py = at(y)
        cover(px, at(line.high[index]) if line.high else py, at(line.low[index]) if line.low else py)
        if previous is not None and px > previous[0]:
            before_x, before_y = previous
            for column in range(before_x + 1, px + 1):
                here = round(previous[1] + (py - previous[1]) * (column - previous[0]) / (px - previous[0]))
                middle = (before_y + here) // 2
                cover(before_x, min(before_y, middle), max(before_y, middle))
                cover(column, min(here, middle), max(here, middle))
                before_x, before_y = column, here
        previous = (px, py)
    for px, (top, bottom) in extent.items():
        canvas.column(px, top, bottom, series)


# SVG -----------------------------------------------------------------------------------------------------------------

_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 20, 46, 46
# Classes and no variables: viewers that know little CSS still show the light picture.
_STYLE = """
  text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: #59636e; }
  .title { font-size: 15px; font-weight: 600; fill: #1f2328; }
  .legend { fill: #1f2328; }
  .paper { fill: #ffffff; }
  .grid { stroke: #d9dee4; stroke-width: 1; shape-rendering: crispEdges; }
  .line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
  .band { stroke: none; opacity: 0.18; }
  .s0 { stroke: #2f6fde; } .s1 { stroke: #d1570b; } .s2 { stroke: #1a7f37; }
  .f0 { fill: #2f6fde; } .f1 { fill: #d1570b; } .f2 { fill: #1a7f37; }
  @media (prefers-color-scheme: dark) {
    text { fill: #9198a1; }
    .title, .legend { fill: #e6edf3; }
    .paper { fill: #0d1117; }
    .grid { stroke: #2f353d; }
    .s0 { stroke: #6ea8ff; } .s1 { stroke: #ff9d5c; } .s2 { stroke: #56d364; }
    .f0 { fill: #6ea8ff; } .f1 { fill: #ff9d5c; } .f2 { fill: #56d364; }
  }
"""


def svg(
    lines: Sequence[Line], *, title: str, x_label: str, y_label: str, width: int = 760, height: int = 400
) -> str | None:
    """A standalone SVG picture of the lines, readable on light and dark pages; None if there is no point."""
    box = bounds(lines)
    if box is None:
        return None
    y_ticks = ticks(box.y0, box.y1, 7)
    step = y_ticks[1] - y_ticks[0] if len(y_ticks) > 1 else box.y1 - box.y0
    box = box._replace(y0=math.floor(box.y0 / step + 1e-9) * step, y1=math.ceil(box.y1 / step - 1e-9) * step)
    inner_w, inner_h = width - _LEFT - _RIGHT, height - _TOP - _BOTTOM

    def px(x: float) -> float:
        return _LEFT + (x - box.x0) / (box.x1 - box.x0) * inner_w

    def py(y: float) -> float:
        return _TOP + (box.y1 - y) / (box.y1 - box.y0) * inner_h

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        f' role="img" aria-label="{escape(title)}">',
        f"<style>{_STYLE}</style>",
        f'<rect class="paper" width="{width}" height="{height}" rx="8"/>',
        f'<text class="title" x="{_LEFT}" y="26">{escape(title)}</text>',
    ]
    for value in ticks(box.y0, box.y1, 8):
        y = py(value)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{width - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{number(value)}</text>')
    for value in ticks(box.x0, box.x1, 9):
        x, foot = px(value), height - _BOTTOM
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{foot}" y2="{foot + 5}"/>')
        parts.append(f'<text x="{x:.1f}" y="{foot + 20}" text-anchor="middle">{number(value)}</text>')
    parts.append(f'<text x="{_LEFT + inner_w / 2:.0f}" y="{height - 8}" text-anchor="middle">{escape(x_label)}</text>')
    middle = _TOP + inner_h / 2
    turned = f'transform="rotate(-90 16 {middle:.0f})"'
    parts.append(f'<text x="16" y="{middle:.0f}" text-anchor="middle" {turned}>{escape(y_label)}</text>')
    for series, line in enumerate(lines):
        parts += _svg_line(line, series, px, py)
    parts += _legend(lines, width)
    return "\n".join([*parts, "</svg>", ""])


def _svg_line(line: Line, series: int, px: _Place, py: _Place) -> list[str]:
    colour = series % 3
    points = [
        (px(x), py(y), index)
        for index, (x, y) in enumerate(zip(line.x, line.y, strict=True))
        if math.isfinite(x) and math.isfinite(y)
    ]
    parts = []
    if line.low and line.high and len(points) > 1:
        upper = [f"{x:.1f},{py(line.high[i]):.1f}" for x, _, i in points]
        lower = [f"{x:.1f},{py(line.low[i]):.1f}" for x, _, i in reversed(points)]
        parts.append(f'<polygon class="band f{colour}" points="{" ".join(upper + lower)}"/>')
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in points)
    if len(points) > 1:
        parts.append(f'<polyline class="line s{colour}" points="{path}"/>')
    if len(points) <= 60:
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" class="f{colour}"/>' for x, y, _ in points]
    return parts


def _legend(lines: Sequence[Line], width: int) -> list[str]:
    parts = []
    x = float(width - _RIGHT)
    for series, line in reversed(list(enumerate(lines))):
        x -= 7.2 * len(line.label)
        parts.append(f'<text class="legend" x="{x:.0f}" y="26">{escape(line.label)}</text>')
        x -= 26
        parts.append(f'<line class="line s{series % 3}" x1="{x:.0f}" x2="{x + 18:.0f}" y1="22" y2="22"/>')
        x -= 14
    return parts
