"""Draws curves: Braille characters for terminals, SVG for web pages."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

AXIS = -1
"""The series of a Braille span that belongs to the axes, not to a line."""
FAINT = 100
"""Added to a line's series for a faint background of that line, such as its raw values. It has no legend."""

_Scale = Callable[[float], float]


class Line(NamedTuple):
    """One curve: points by rising x; a y of NaN leaves a gap.

    `low` and `high`, if given, are the range around each y. `series` selects the colour; None uses the line's position.
    `tag`, one character, marks the line's last visible point in a terminal, for readers who cannot tell the colours.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    series: int | None = None
    tag: str = ""


class Marks(NamedTuple):
    """Marks at positions x: a one-character glyph below the curves. Marks of one `row` share it; later ones win."""

    glyph: str
    x: Sequence[float]
    series: int = AXIS
    row: int = 0


class Span(NamedTuple):
    """A piece of a Braille row, and the series of the line that it shows, or AXIS."""

    text: str
    series: int


class Box(NamedTuple):
    """The ranges of x and y that a picture shows."""

    x0: float
    x1: float
    y0: float
    y1: float


def bounds(lines: Sequence[Line], *, log: bool = False, x0: float | None = None, x1: float | None = None) -> Box | None:
    """The smallest box around all finite points, widened if it would be flat; None if there is no point.

    `x0` and `x1` fix a side of the box; then only points within count for its height. A `log` scale omits values that
    are not above zero.
    """
    left, right = -math.inf if x0 is None else x0, math.inf if x1 is None else x1
    xs: list[float] = []
    ys: list[float] = []
    for line in lines:
        inside = [left <= x <= right for x in line.x]
        xs += [x for x, y in zip(line.x, line.y, strict=True) if math.isfinite(x) and math.isfinite(y)]
        for values in (line.y, line.low or (), line.high or ()):
            ys += [y for y, shown in zip(values, inside, strict=False) if shown and math.isfinite(y)]
    if log:
        ys = [y for y in ys if y > 0]
    if not xs or not ys:
        return None
    x0, x1 = min(xs) if x0 is None else x0, max(xs) if x1 is None else x1
    y0, y1 = min(ys), max(ys)
    if x1 <= x0:
        x0, x1 = x0 - 0.5, x0 + 0.5
    if y1 == y0:
        spread = abs(y0) * 0.05 or 0.5
        y0, y1 = y0 - spread, y1 + spread
    return Box(x0, x1, y0, y1)


def ticks(low: float, high: float, most: int = 6, *, whole: bool = False) -> list[float]:
    """Round numbers between `low` and `high`, at most `most` of them, in steps of 1, 2 or 5 times a power of ten.

    With `whole` they are whole numbers.
    """
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low or most < 1:
        return []
    raw = max((high - low) / most, 1.0 if whole else 0.0)
    power = 10.0 ** math.floor(math.log10(raw))
    for factor in (1, 2, 5, 10, 20):
        step = factor * power
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first + 1 <= most:
            return [round(k * step, 12) for k in range(first, last + 1)]
    return []


def log_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers for a logarithmic scale: 1, 2, 5 times powers of ten, or only powers; at most `most` of them.

    If fewer than two of those lie in the range, the ticks are those of a linear scale.
    """
    if not (0 < low < high < math.inf) or most < 1:
        return []
    first, last = math.floor(math.log10(low)), min(math.ceil(math.log10(high)), 308)
    for factors, stride in (
        ((1, 2, 5), 1),
        ((1, 3), 1),
        *(((1,), stride) for stride in (1, 2, 5, 10, 20, 50, 100, 200)),
    ):
        powers = range(math.floor(first / stride) * stride, last + 1, stride)
        found = [k * 10.0**power for power in powers for k in factors if low <= k * 10.0**power <= high]
        if len(found) <= most:
            return found if len(found) > 1 else [value for value in ticks(low, high, most) if value > 0]
    return []


def number(value: float) -> str:
    """A tick's label, with as few digits as it needs."""
    if value == 0:
        return "0"
    if abs(value) >= 1e6:
        return f"{value / 1e6:.6g}M"
    if abs(value) >= 1e4:
        return f"{value / 1e3:.6g}k"
    return f"{value:.6g}" if abs(value) >= 1e-3 else f"{value:.3g}"


# Braille -------------------------------------------------------------------------------------------------------------

# Bits of the eight dots of U+2800, [column][row].
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
# Bits of a vertical stretch of dots within one character: [column][first row][last row].
_STRETCH = tuple(tuple(tuple(sum(dots[first : last + 1]) for last in range(4)) for first in range(4)) for dots in _DOTS)


class _Canvas:
    """A grid of Braille dots, 2 x 4 per character. A cell has one colour, so it shows only the line drawn last."""

    def __init__(self, columns: int, rows: int) -> None:
        self.width, self.height = columns * 2, rows * 4
        self.bits = [[0] * columns for _ in range(rows)]
        self.owner = [[AXIS] * columns for _ in range(rows)]

    def column(self, x: int, top: int, bottom: int, series: int) -> None:
        """Set the dots of a column from `top` to `bottom`; dots outside the canvas are cut off."""
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
    """A drawn chart: rows of spans, and where the curves lie in them, so that a mouse position can be converted to x."""

    rows: list[list[Span]]
    box: Box
    margin: int
    """Width of the labels at the left, in columns."""
    columns: int
    """Width of the curves, in columns."""
    height: int
    """Height of the curves, in rows; marks and the x axis follow."""

    def x_at(self, column: int) -> float | None:
        """The x at the middle of a column of the picture; None outside the curves."""
        cell = column - self.margin
        if not 0 <= cell < self.columns:
            return None
        return self.box.x0 + (2 * cell + 0.5) / (2 * self.columns - 1) * (self.box.x1 - self.box.x0)

    def column_of(self, x: float) -> int | None:
        """The column of the picture that shows an x; None outside the box."""
        dot = _dot(x, self.box, 2 * self.columns)
        return None if dot is None else self.margin + dot // 2


def braille(
    lines: Sequence[Line], width: int, height: int, *, log: bool = False, whole_x: bool = False
) -> list[list[Span]]:
    """The rows of `plot()` for all points of the lines; no rows if there is no point or no room."""
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
    `x_text` formats the x labels; `whole_x` labels only whole numbers, as for steps. None if there is no point or no
    room.
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
    """Cells as spans: neighbours with the same owner are joined; blanks join the span before them."""
    spans: list[Span] = []
    start = 0
    for end in range(1, len(chars) + 1):
        if end == len(chars) or (owners[end] != owners[start] and chars[end] != " "):
            spans.append(Span("".join(chars[start:end]), owners[start]))
            start = end
    return spans


def _dot(x: float, box: Box, dots: int) -> int | None:
    """The dot column of an x; None outside the box."""
    if not box.x0 <= x <= box.x1:
        return None
    return round((x - box.x0) / (box.x1 - box.x0) * (dots - 1))


def _row_labels(box: Box, rows: int, log: bool) -> list[str]:
    labels = [""] * rows
    scale = _scale(box, rows * 4 - 1, log)
    for value in (log_ticks if log else ticks)(box.y0, box.y1, max(2, rows // 2)):
        row = round(scale(value)) // 4
        if not labels[row]:
            labels[row] = number(value)
    if not any(labels):
        labels[0] = f"{box.y1:.4g}"
    return labels


def _x_axis(box: Box, columns: int, x_text: Callable[[float], str] | None, whole: bool) -> str:
    """Labels under the curves: both ends, and round numbers between them if there is room."""
    label_of = x_text or (lambda x: number(round(x, 6)))
    left, right = ("" if whole and end != round(end) else label_of(end) for end in (box.x0, box.x1))
    axis = left + " " * max(columns - len(left) - len(right), 1) + right
    for value in ticks(box.x0, box.x1, max(columns // 14, 1), whole=whole) if x_text is None else ():
        label, dot = number(value), _dot(value, box, 2 * columns)
        start = (dot or 0) // 2 - len(label) // 2
        if start > 1 and not axis[start - 2 : start + len(label) + 2].strip():
            axis = axis[:start] + label + axis[start + len(label) :]
    return axis


def _scale(box: Box, top: int, log: bool) -> _Scale:
    """Converts y to dots below the top edge of a box that is `top` dots high; NaN for y <= 0 on a log scale."""
    if not log:
        factor = top / (box.y1 - box.y0)
        return lambda y: (box.y1 - y) * factor
    high = math.log10(box.y1)
    log_factor = top / (high - math.log10(box.y0))
    return lambda y: (high - math.log10(y)) * log_factor if y > 0 else math.nan


def _trace(canvas: _Canvas, box: Box, line: Line, series: int, log: bool) -> None:
    """Fill each dot column from the lowest to the highest value in it, and connect neighbouring points."""
    scale = _scale(box, canvas.height - 1, log)
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
    """Connect two points column by column: each column reaches half way to its neighbour's height."""
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
    """Each tag with its series, by row and column; a tag whose cell is taken moves to the left."""
    scale = _scale(box, canvas.height - 1, log)
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


# SVG -----------------------------------------------------------------------------------------------------------------

_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 20, 46, 46
_COLOURS = 6
# Classes instead of CSS variables: viewers with little CSS support still show the light colours.
_STYLE = """
  text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: #59636e; }
  .title { font-size: 15px; font-weight: 600; fill: #1f2328; }
  .legend { fill: #1f2328; }
  .paper { fill: #ffffff; }
  .grid { stroke: #d9dee4; stroke-width: 1; shape-rendering: crispEdges; }
  .line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
  .band { stroke: none; opacity: 0.18; }
  .s0 { stroke: #2f6fde; } .s1 { stroke: #d1570b; } .s2 { stroke: #1a7f37; }
  .s3 { stroke: #8250df; } .s4 { stroke: #bf3989; } .s5 { stroke: #57606a; }
  .f0 { fill: #2f6fde; } .f1 { fill: #d1570b; } .f2 { fill: #1a7f37; }
  .f3 { fill: #8250df; } .f4 { fill: #bf3989; } .f5 { fill: #57606a; }
  @media (prefers-color-scheme: dark) {
    text { fill: #9198a1; }
    .title, .legend { fill: #e6edf3; }
    .paper { fill: #0d1117; }
    .grid { stroke: #2f353d; }
    .s0 { stroke: #6ea8ff; } .s1 { stroke: #ff9d5c; } .s2 { stroke: #56d364; }
    .s3 { stroke: #bc8cff; } .s4 { stroke: #f778ba; } .s5 { stroke: #b1bac4; }
    .f0 { fill: #6ea8ff; } .f1 { fill: #ff9d5c; } .f2 { fill: #56d364; }
    .f3 { fill: #bc8cff; } .f4 { fill: #f778ba; } .f5 { fill: #b1bac4; }
  }
"""


def svg(
    lines: Sequence[Line],
    *,
    title: str,
    x_label: str,
    y_label: str,
    width: int = 760,
    height: int = 400,
    log: bool = False,
    whole_x: bool = False,
) -> str | None:
    """A standalone SVG picture of the lines, readable on light and dark pages; None if there is no point."""
    box = bounds(lines, log=log)
    if box is None:
        return None
    y_ticks = ticks(box.y0, box.y1, 7)
    step = y_ticks[1] - y_ticks[0] if len(y_ticks) > 1 else box.y1 - box.y0
    if not log:
        box = box._replace(y0=math.floor(box.y0 / step + 1e-9) * step, y1=math.ceil(box.y1 / step - 1e-9) * step)
    inner_w, inner_h = width - _LEFT - _RIGHT, height - _TOP - _BOTTOM
    scale = _scale(box, inner_h, log)

    def px(x: float) -> float:
        return _LEFT + (x - box.x0) / (box.x1 - box.x0) * inner_w

    def py(y: float) -> float:
        dot = scale(y)
        return _TOP + (inner_h if math.isnan(dot) else dot)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        f' role="img" aria-label="{escape(title)}">',
        f"<style>{_STYLE}</style>",
        f'<rect class="paper" width="{width}" height="{height}" rx="8"/>',
        f'<text class="title" x="{_LEFT}" y="26">{escape(title)}</text>',
    ]
    for value in (log_ticks if log else ticks)(box.y0, box.y1, 8):
        y = py(value)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{width - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{number(value)}</text>')
    for value in ticks(box.x0, box.x1, 9, whole=whole_x):
        x, foot = px(value), height - _BOTTOM
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{foot}" y2="{foot + 5}"/>')
        parts.append(f'<text x="{x:.1f}" y="{foot + 20}" text-anchor="middle">{number(value)}</text>')
    parts.append(f'<text x="{_LEFT + inner_w / 2:.0f}" y="{height - 8}" text-anchor="middle">{escape(x_label)}</text>')
    middle = _TOP + inner_h / 2
    turned = f'transform="rotate(-90 16 {middle:.0f})"'
    parts.append(f'<text x="16" y="{middle:.0f}" text-anchor="middle" {turned}>{escape(y_label)}</text>')
    for position, line in enumerate(lines):
        parts += _svg_line(line, position if line.series is None else line.series, px, py, log)
    parts += _legend(lines, width)
    return "\n".join([*parts, "</svg>", ""])


def _svg_line(line: Line, series: int, px: _Scale, py: _Scale, log: bool) -> list[str]:
    colour, faint = series % FAINT % _COLOURS, series >= FAINT
    points = [
        (px(x), py(y), index)
        for index, (x, y) in enumerate(zip(line.x, line.y, strict=True))
        if math.isfinite(x) and math.isfinite(y) and (y > 0 or not log)
    ]
    parts = []
    if line.low and line.high and len(points) > 1:
        upper = [f"{x:.1f},{py(line.high[i]):.1f}" for x, _, i in points]
        lower = [f"{x:.1f},{py(line.low[i]):.1f}" for x, _, i in reversed(points)]
        parts.append(f'<polygon class="band f{colour}" points="{" ".join(upper + lower)}"/>')
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in points)
    if len(points) > 1 and not faint:
        parts.append(f'<polyline class="line s{colour}" points="{path}"/>')
    if len(points) <= 60 and not faint:
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" class="f{colour}"/>' for x, y, _ in points]
    return parts


def _legend(lines: Sequence[Line], width: int) -> list[str]:
    parts = []
    x = float(width - _RIGHT)
    for position, line in reversed([each for each in enumerate(lines) if each[1].label]):
        series = (position if line.series is None else line.series) % _COLOURS
        x -= 7.2 * len(line.label)
        parts.append(f'<text class="legend" x="{x:.0f}" y="26">{escape(line.label)}</text>')
        x -= 26
        parts.append(f'<line class="line s{series}" x1="{x:.0f}" x2="{x + 18:.0f}" y1="22" y2="22"/>')
        x -= 14
    return parts
