"""Measured rates: times between the measured sizes and beyond them, and the file format."""

from __future__ import annotations

import math

import msgspec
import pytest
from msgspec.structs import replace

from measured_rates import machine_rates
from seedbed.simulate.machine_rates import KINDS, MachineRates, Point, decode, nearest_smaller


def with_points(kind: str, *points: Point, **changes: object) -> MachineRates:
    rates = machine_rates()
    return replace(rates, points={**rates.points, kind: points}, **changes)


@pytest.mark.parametrize(
    ("kind", "sizes", "seconds"),
    [
        ("matmul", (4096, 512, 300), 6 * 4096 * 512 * 300 / 2e11),
        ("attention", (24, 256, 48), 24 * 256**2 * 48 / 2e11),
        ("rms norm", (1_000_000,), 1_000_000 / 2e11),
        ("loss", (8192, 4096, 256), 6 * 8192 * 4096 * 256 / 2e11),
        # Five iterations of X X^T, its square, and their product with X, for 6 matrices of 96 x 192.
        ("muon", (6, 96, 192), 6 * 5 * (2 * 96 * 96 * 192 + 2 * 96**3 + 2 * 96 * 96 * 192) / 2e11),
    ],
)
def test_at_one_rate_the_time_is_the_work_over_the_rate(kind: str, sizes: tuple[int, ...], seconds: float) -> None:
    assert machine_rates({kind: 2e11}).seconds(kind, sizes) == pytest.approx((seconds,))


def test_between_two_sizes_the_rate_is_their_geometric_mean() -> None:
    rates = with_points("rms norm", Point((1000,), (1e-3,)), Point((100_000,), (1e-2,)))  # 1e6 and 1e7 a second
    (middle,) = rates.seconds("rms norm", (10_000,))
    assert middle == pytest.approx(10_000 / math.sqrt(1e6 * 1e7))
    assert rates.seconds("rms norm", (1000,)) == pytest.approx((1e-3,))


def test_a_matmul_is_interpolated_along_each_of_its_sides() -> None:
    corners = [
        Point((m, k, n), (6 * m * k * n / (1e9 * (2 if m == 1024 else 1) * (3 if k == 256 else 1)),))
        for m in (256, 1024)
        for k in (64, 256)
        for n in (64, 256)
    ]
    rates = with_points("matmul", *corners)
    (found,) = rates.seconds("matmul", (512, 128, 100))
    assert found == pytest.approx(6 * 512 * 128 * 100 / (1e9 * math.sqrt(2) * math.sqrt(3)))


def test_beyond_the_measured_sizes_the_rate_stays() -> None:
    rates = with_points("adamw", Point((1000,), (1e-3,)), Point((100_000,), (1e-2,)))
    assert rates.seconds("adamw", (10_000_000,)) == pytest.approx((10_000_000 / 1e7,))
    assert rates.seconds("adamw", (10,)) == pytest.approx((10 / 1e6,))


def test_no_operation_is_faster_than_one_on_a_few_numbers() -> None:
    assert with_points("operation", Point((1,), (1e-5,))).seconds("addition", (1,)) == (1e-5,)


def test_each_round_gives_a_time_of_its_own() -> None:
    slow = machine_rates(rounds=(1.0, 3.0, 2.0)).seconds("swiglu", (1 << 20,))
    assert slow == pytest.approx(tuple(factor * (1 << 20) / 1e9 for factor in (1.0, 3.0, 2.0)))


def test_the_best_matmul_rate_is_that_of_the_fastest_size() -> None:
    points = (Point((512, 64, 64), (6 * 512 * 64 * 64 / 1e9,)), Point((512, 256, 64), (6 * 512 * 256 * 64 / 4e9,)))
    assert with_points("matmul", *points).best_matmul == pytest.approx(4e9)


def test_a_size_that_takes_too_long_is_scaled_from_the_nearest_smaller_one() -> None:
    known = [(1024, 1024, 64), (1024, 1024, 256), (1024, 4096, 64)]
    assert nearest_smaller("loss", (1024, 1024, 1024), known) == (1024, 1024, 256)
    assert nearest_smaller("loss", (1024, 16384, 64), known) == (1024, 4096, 64)
    assert nearest_smaller("loss", (512, 1024, 64), known) is None


def test_every_grid_is_complete_so_that_no_corner_is_guessed() -> None:
    for name, kind in KINDS.items():
        keys = {kind.coordinates(sizes) for sizes in kind.grid}
        assert len(keys) == len(kind.grid) == math.prod(len(set(axis)) for axis in zip(*keys, strict=True)), name


def test_a_file_keeps_everything() -> None:
    rates = machine_rates(rounds=(1.0, 2.0))
    assert decode(msgspec.json.encode(rates)) == rates


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"version": 0}, "version 0"),
        ({"points": {}}, "operation"),
        ({"threads": 0}, "threads"),
    ],
)
def test_a_file_that_is_wrong_or_of_another_version_is_refused(changes: dict[str, object], reason: str) -> None:
    written = {**msgspec.to_builtins(machine_rates()), **changes}
    with pytest.raises(msgspec.MsgspecError, match=reason):
        decode(msgspec.json.encode(written))


def test_points_of_different_rounds_are_refused() -> None:
    with pytest.raises(ValueError, match="as many rounds"):
        with_points("gelu", Point((1000,), (1e-3, 2e-3)))
