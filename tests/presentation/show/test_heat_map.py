"""The heat map of the GPUs."""

from __future__ import annotations

import re

import pytest

from seedbed.presentation.show.heat_map import RAMP, Grid, grid, heat_map
from seedbed.presentation.show.rows import ASCII, UNICODE


def test_1024_gpus_fit_80_columns_and_8_rows() -> None:
    found = grid(1024, 8, 80, 8)
    assert found == Grid(columns=64, depth=16, merged=1, scale=1)
    assert found.rows == 8


@pytest.mark.parametrize("gpus", [1, 2, 7, 8, 64, 96, 1000, 1024, 4096, 16_384, 100_000])
@pytest.mark.parametrize(("width", "rows"), [(1, 1), (20, 3), (80, 8), (120, 20), (200, 44)])
def test_every_grid_has_room_for_all_gpus(gpus: int, width: int, rows: int) -> None:
    found = grid(gpus, 8, width, rows)
    assert found.columns * found.scale <= width
    assert found.columns * found.depth * found.merged >= gpus
    if gpus >= 8 or found.merged > 1:
        assert found.rows <= max(rows, 4)


def test_a_column_has_whole_nodes() -> None:
    assert grid(64, 8, 80, 8).depth % 8 == 0
    assert grid(256, 4, 80, 8).depth % 4 == 0


def test_the_colours_of_a_character_are_those_of_two_gpus() -> None:
    (text,) = heat_map([0.0, 1.0], Grid(1, 2, 1, 1), UNICODE, colour=True)
    assert text == f"\x1b[38;5;{RAMP[0]};48;5;{RAMP[-1]}m▀\x1b[0m"


def test_without_colours_darker_characters_are_hotter() -> None:
    (text,) = heat_map([0.0, 0.0, 0.5, 0.5, 1.0, 1.0], Grid(3, 2, 1, 1), ASCII, colour=False)
    assert text == " +@"


def test_gpus_that_do_not_fit_are_merged_to_their_mean() -> None:
    rows = heat_map([0.0, 1.0] * 8, Grid(4, 2, 2, 1), ASCII, colour=False)
    assert rows == ["++++"]


def test_a_map_with_an_incomplete_column_ends_there() -> None:
    rows = heat_map([0.5] * 13, Grid(2, 8, 1, 1), UNICODE, colour=True)
    assert [len(re.sub(r"\x1b\[[0-9;]*m", "", each)) for each in rows] == [2, 2, 2, 1]
