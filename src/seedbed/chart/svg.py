"""Curves as an SVG picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from seedbed.chart.axes import FAINT, Line, Scale, bounds, log_ticks, number, ticks, y_scale

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
    scale = y_scale(box, inner_h, log)

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


def _svg_line(line: Line, series: int, px: Scale, py: Scale, log: bool) -> list[str]:
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
