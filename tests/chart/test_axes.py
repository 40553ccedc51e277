"""Ranges, ticks and labels of axes."""

from __future__ import annotations

import math

import pytest

from seedbed.chart.axes import Box, Line, bounds, log_ticks, number, ticks


@pytest.mark.parametrize(
    ("low", "high", "most", "expected"),
    [
        (0, 10, 6, [0, 2, 4, 6, 8, 10]),
        (1.6, 7.6, 7, [2, 3, 4, 5, 6, 7]),
        (0.001, 0.0042, 4, [0.001, 0.002, 0.003, 0.004]),
        (-5, 5, 3, [-5, 0, 5]),
        (1, 1, 5, []),
        (math.nan, 1, 5, []),
    ],
)
def test_ticks_are_round_numbers(low: float, high: float, most: int, expected: list[float]) -> None:
    assert ticks(low, high, most) == pytest.approx(expected)


def test_numbers_have_as_few_digits_as_needed() -> None:
    assert [number(value) for value in (0, 2.5, 600, 20_000, 1_500_000, 0.00025)] == [
        "0",
        "2.5",
        "600",
        "20k",
        "1.5M",
        "0.00025",
    ]


def test_bounds_of_a_single_point_are_widened() -> None:
    box = bounds([Line("x", [3], [2.0])])
    assert box is not None
    assert box.x0 < 3 < box.x1
    assert box.y0 < 2 < box.y1


@pytest.mark.parametrize(
    ("low", "high", "most", "expected"),
    [
        (1, 1000, 5, [1, 10, 100, 1000]),
        (1, 20, 6, [1, 2, 5, 10, 20]),
        (1.6, 7.6, 7, [2, 5]),
        (2.1, 4.4, 5, [2.5, 3, 3.5, 4]),
        (1e-300, 1e300, 4, [1e-200, 1, 1e200]),
        (0, 1, 5, []),
        (-1, 1, 5, []),
    ],
)
def test_ticks_of_a_logarithmic_scale(low: float, high: float, most: int, expected: list[float]) -> None:
    assert log_ticks(low, high, most) == pytest.approx(expected)


def test_bounds_with_a_fixed_x_range_use_only_the_points_within() -> None:
    line = Line("x", range(100), [100.0 - x for x in range(100)], None, None)
    assert bounds([line], x0=90, x1=99) == Box(90, 99, 1, 10)
    assert bounds([line], x0=500, x1=600) is None
