"""The GPUs of a cluster as a heat map: two GPUs in one character, the upper and the lower half."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from seedbed.presentation.show.rows import Glyphs

RAMP = (17, 18, 19, 25, 31, 37, 36, 35, 34, 40, 76, 112, 148, 184, 220, 214, 208, 202, 196)
"""Colours of the 256-colour palette, from low to high: blue, green, yellow, red."""
_MOST_SCALE = 4


class Grid(NamedTuple):
    """Where the GPUs are: down the columns, then to the right.

    A cell is the mean of `merged` GPUs. `depth`: cells of a column, two in a row of text; `scale`: characters for a cell.
    """

    columns: int
    depth: int
    merged: int
    scale: int

    @property
    def rows(self) -> int:
        """Rows of text."""
        return -(-self.depth // 2)


def grid(gpus: int, per_node: int, width: int, most_rows: int) -> Grid:
    """The grid of a number of GPUs within `width` columns and `most_rows` rows. A column has whole nodes if possible."""
    width, most_depth = max(width, 1), 2 * max(most_rows, 1)
    unit = per_node if per_node % 2 == 0 else 2 * per_node
    for depth in range(unit, most_depth + 1, unit):
        columns = -(-gpus // depth)
        if columns <= width:
            return Grid(columns, depth, 1, min(width // columns, _MOST_SCALE))
    merged = -(-gpus // (width * most_depth))
    cells = -(-gpus // merged)
    return Grid(-(-cells // most_depth), min(most_depth, cells), merged, 1)


def heat_map(values: Sequence[float], where: Grid, glyphs: Glyphs, *, colour: bool) -> list[str]:
    """The rows of the map with ANSI codes. `values`: one for each GPU, from 0 (cold) to 1 (hot)."""
    cells = _merged(values, where.merged)
    rows = []
    for top in range(0, where.depth, 2):
        upper = [_at(cells, column * where.depth + top) for column in range(where.columns)]
        lower = [
            _at(cells, column * where.depth + top + 1) if top + 1 < where.depth else None
            for column in range(where.columns)
        ]
        rows.append(
            _coloured(upper, lower, where, glyphs) if colour and glyphs.half else _shaded(upper, lower, where, glyphs)
        )
    return rows


def _merged(values: Sequence[float], merged: int) -> Sequence[float]:
    if merged == 1:
        return values
    return [
        sum(values[start : start + merged]) / len(values[start : start + merged])
        for start in range(0, len(values), merged)
    ]


def _at(cells: Sequence[float], number: int) -> float | None:
    return cells[number] if number < len(cells) else None


def _coloured(upper: list[float | None], lower: list[float | None], where: Grid, glyphs: Glyphs) -> str:
    """Half blocks: the colour is that of the upper cell, the background that of the lower one."""
    text, before = [], (-1, -1)
    for one, other in zip(upper, lower, strict=True):
        if one is None:
            break
        now = (_index(one, len(RAMP)), -1 if other is None else _index(other, len(RAMP)))
        if now != before:
            background = "49" if now[1] < 0 else f"48;5;{RAMP[now[1]]}"
            text.append(f"\x1b[38;5;{RAMP[now[0]]};{background}m")
            before = now
        text.append(glyphs.half * where.scale)
    return "".join(text) + "\x1b[0m"


def _shaded(upper: list[float | None], lower: list[float | None], where: Grid, glyphs: Glyphs) -> str:
    """Without colours: a character for the mean of the two cells."""
    text = []
    for one, other in zip(upper, lower, strict=True):
        if one is None:
            break
        mean = one if other is None else (one + other) / 2
        text.append(glyphs.shades[_index(mean, len(glyphs.shades))] * where.scale)
    return "".join(text)


def _index(value: float, levels: int) -> int:
    return min(max(int(value * levels), 0), levels - 1)
