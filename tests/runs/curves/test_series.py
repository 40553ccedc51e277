"""Curves match the log at every zoom and on every axis, also after steps became void and lines were damaged."""

from __future__ import annotations

import math
import shutil
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from seedbed import events
from seedbed.chart.axes import Line
from seedbed.presentation import curves
from seedbed.runs.curves.index_writer import IndexWriter
from seedbed.runs.curves.points import AXES, KEYS, Point, ema
from seedbed.runs.curves.rows import STEPS_A_ROW
from seedbed.runs.curves.series import Series
from seedbed.runs.store import RunDir


def write_index(run: RunDir) -> None:
    writer = IndexWriter(run)
    while not writer.advance():
        pass
    writer.close()
    assert writer.problem is None


def lines(series: Series, **options: Any) -> list[Line]:
    return curves.lines([curves.Drawn("alpha", series)], **options)


def expected(steps: Sequence[Any], axis: str, key: str) -> Point:
    """The point that these steps are gathered into."""
    pairs = [pair for step in steps if (pair := step.weight_and_total(key)) is not None]
    values = [total / weight for weight, total in pairs] or [math.nan]
    weight = math.fsum(weight for weight, _ in pairs)
    x0, x1 = steps[0].x(axis), steps[-1].x(axis)
    return Point(
        x=(x0 + x1) / 2,
        mean=math.fsum(total for _, total in pairs) / weight if weight else math.nan,
        low=min(values),
        high=max(values),
        last=values[-1],
        num_odd=sum(step.loss is None for step in steps) if key == "loss" else 0,
        x0=x0,
        x1=x1,
    )


def is_close(found: Point, wanted: Point) -> bool:
    return all(
        math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12) or (math.isnan(one) and math.isnan(other))
        for one, other in zip(found, wanted, strict=True)
    )


def check(
    points: Sequence[Point], truth: Any, x0: float, x1: float, px: int, axis: str, key: str, finest: bool = False
) -> None:
    """Assert that the points gather consecutive steps correctly, from the one before the window to the one after it.

    With `finest` no two pixels share a point; otherwise a row of 64 steps may extend beyond the edge of a pixel.
    """
    steps = truth.steps
    xs = [step.x(axis) for step in steps]
    if not steps:
        assert points == []
        return
    inside = [number for number, x in enumerate(xs) if x0 <= x <= x1]
    left = max((number for number, x in enumerate(xs) if x < x0), default=None)
    right = min((number for number, x in enumerate(xs) if x > x1), default=None)
    first = min(filter(lambda number: number is not None, (left, *inside[:1], right)))
    last = max(filter(lambda number: number is not None, (left, *inside[-1:], right)))
    # Several steps may share an x, so that a point may begin and end at any of them.
    starts = {number for number, x in enumerate(xs[: first + 1]) if x == points[0].x0}
    for point in points:
        candidates = [
            (start, end)
            for start in starts
            for end in range(start, bisect_right(xs, point.x1))
            if (xs[start], xs[end]) == (point.x0, point.x1)
        ]
        matching = [
            (start, end) for start, end in candidates if is_close(point, expected(steps[start : end + 1], axis, key))
        ]
        assert matching, (point, [expected(steps[start : end + 1], axis, key) for start, end in candidates])
        width = (x1 - x0) / px
        if width > 0:
            edge = x0 + (point.x1 - x0) // width * width - 1e-6 * width
            excess = min(bisect_left(xs, edge, start) - start for start, _ in matching)
            assert excess < (1 if finest else STEPS_A_ROW), "steps of other pixels are in the point"
        starts = {end + 1 for _, end in matching}
    assert max(starts) > last
    assert len(points) <= px + 4


@pytest.mark.parametrize("seed", range(12))
def test_every_key_axis_and_zoom_of_a_random_run_matches_its_log(
    seed: int, run: RunDir, make_log_writer: Any, truth_of: Any
) -> None:
    log_writer = make_log_writer(run, seed)
    log = log_writer.random_log(300 + 150 * seed)
    log_writer.append(log)
    truth = truth_of(log)
    if seed % 2:
        write_index(run)
    series = Series.load(run)
    assert len(series) == len(truth.steps) > 20
    for axis in AXES:
        low, high = truth.steps[0].x(axis), truth.steps[-1].x(axis)
        assert series.extent(axis) == (low, high)
        for key in KEYS:
            for px in (1, 3, 50, 5000):
                check(series.window(px=px, axis=axis, key=key), truth, low, high, px, axis, key)
            for _ in range(6):
                x0, x1 = sorted(log_writer.random.uniform(low - 5, high + 5) for _ in range(2))
                px = log_writer.random.choice((1, 2, 7, 40, 400))
                check(series.window(x0, x1, px, axis, key), truth, x0, x1, px, axis, key)
            x = log_writer.random.choice(truth.steps).x(axis)
            check(series.window(x, x, 1, axis, key), truth, x, x, 1, axis, key)


@pytest.mark.parametrize("seed", range(12, 40))
def test_validations_checkpoints_and_restarts_have_their_step_tokens_and_time(
    seed: int, run: RunDir, make_log_writer: Any, truth_of: Any
) -> None:
    log_writer = make_log_writer(run, seed)
    log = log_writer.random_log(400)
    log_writer.append(log)
    truth = truth_of(log)
    plain = Series.load(run)
    write_index(run)
    for series in (plain, Series.load(run)):
        for found, wanted in (
            (series.validations, truth.validations),
            (series.checkpoints, truth.checkpoints),
            (series.restarts, truth.restarts),
        ):
            assert [(mark.step, mark.tokens, mark.best) for mark in found] == [
                (mark.step, mark.tokens, mark.best) for mark in wanted
            ]
            assert [mark.time for mark in found] == pytest.approx([mark.time for mark in wanted])
        assert [mark.loss for mark in series.validations] == [mark.loss for mark in truth.validations]


def test_a_spike_of_a_single_step_is_visible_at_every_zoom(run: RunDir, log_writer: Any) -> None:
    num, at = 60_000, 41_337
    log_writer.tokens = [500 * step for step in range(num + 1)]
    log_writer.begin(1, 0)
    log_writer.append(
        b"".join(
            log_writer.line(
                events.Step(
                    step=step,
                    loss=99.0 if step == at else 2.0,
                    lr=0.5 if step == at else 0.1,
                    grad_norm=77.0 if step == at else 1.0,
                    tokens=500 * step,
                    step_s=0.01 if step == at else 0.1,
                )
            )
            for step in range(1, num + 1)
        )
    )
    write_index(run)
    series = Series.load(run)
    spikes = {"loss": 99.0, "lr": 0.5, "grad_norm": 77.0, "tokens_per_s": 50_000.0}
    for axis in AXES:
        low, high = series.extent(axis) or (0, 0)
        x = low + (high - low) * (at - 1) / (num - 1)
        for key, spike in spikes.items():
            for reach in (num, num / 2, 7000, 640, 100, 3):
                share = reach * (high - low) / (num - 1)
                for px in (1, 2, 80, 400):
                    points = series.window(x - share / 3, x + share / 2, px, axis, key)
                    seen = [point for point in points if point.x0 - 1e-3 <= x <= point.x1 + 1e-3]
                    assert max(point.high for point in seen) == pytest.approx(spike), (axis, key, reach, px)
                    assert all(point.low < spike for point in points if point not in seen)
    (line,) = lines(series, px=100)
    assert line.high is not None
    assert max(line.high) == 99.0
    assert len(line.x) <= 102
    assert list(line.x) == sorted(line.x)


def test_a_narrow_window_of_a_long_run_shows_single_steps(run: RunDir, log_writer: Any, truth_of: Any) -> None:
    log_writer.begin(1, 0)
    log_writer.steps(1, 4000)
    truth = truth_of(run.events.read_bytes())
    write_index(run)
    series = Series.load(run)
    (point,) = [point for point in series.window(1000, 1000, px=1) if point.x0 == 1000]
    assert point.low == point.mean == point.high == truth.steps[999].loss, "a single step is shown as a mean of many"
    points = series.window(2000, 2199, px=400)
    assert [point.x for point in points] == list(range(1999, 2201))
    assert [point.mean for point in points] == [step.loss for step in truth.steps[1998:2200]]
    for axis in AXES:
        for key in KEYS:
            x0, x1 = truth.steps[1200].x(axis), truth.steps[3100].x(axis)
            check(series.window(x0, x1, 60, axis, key), truth, x0, x1, 60, axis, key, finest=True)


def test_empty_runs_and_empty_windows_have_no_points(run: RunDir, log_writer: Any) -> None:
    for series in (Series(run), Series.load(run)):
        assert series.window() == series.validations == series.restarts == lines(series) == []
        assert series.extent() is series.extent("time") is None
        assert len(series) == 0
        assert not series.refresh()
    log_writer.begin(1, 0)
    log_writer.steps(1, 300)
    series = Series.load(run)
    assert series.window(px=0) == series.window(5, 4) == series.window(math.nan, 9) == series.window(9, math.nan) == []
    assert series.window(-math.inf, math.inf, 7) == series.window(px=7)
    assert [point.x0 for point in series.window(900, 1000)] == [300], "the last step before the window is included"
    assert [point.x1 for point in series.window(-9, -5)] == [1]
    with pytest.raises(ValueError, match="epoch"):
        series.window(axis="epoch")
    assert all(math.isnan(point.mean) for point in series.window(key="perplexity")), "a metric that was not logged"


def test_steps_with_the_same_time_are_gathered_into_few_points(run: RunDir, log_writer: Any, truth_of: Any) -> None:
    log_writer.begin(1, 0)
    log_writer.steps(1, 1000, after=0.0)
    truth = truth_of(run.events.read_bytes())
    series = Series.load(run)
    x = truth.steps[0].time
    for px in (1, 5, 400):
        check(series.window(px=px, axis="time"), truth, x, x, px, "time", "loss")


def test_a_session_that_goes_back_voids_later_steps_and_marks(run: RunDir, log_writer: Any) -> None:
    log_writer.begin(1, 0)
    for step in range(1, 201):
        log_writer.log(log_writer.step_event(step, 300.0 - step))
        if step % 20 == 0:
            log_writer.eval(step)
            log_writer.checkpoint(step)
    log_writer.begin(2, 100, after=500.0)
    series = Series.load(run)
    assert len(series) == 100
    assert series.extent() == (1, 100)
    assert (
        [mark.step for mark in series.validations]
        == [mark.step for mark in series.checkpoints]
        == [20, 40, 60, 80, 100]
    )
    assert [(mark.step, mark.tokens) for mark in series.restarts] == [(100, log_writer.tokens[100])]
    log_writer.log(log_writer.step_event(101, 7.0))
    assert series.refresh()
    points = series.window(px=500)
    assert [(point.x, point.mean) for point in points[-2:]] == [(100, 200.0), (101, 7.0)]
    training, validation = lines(series, px=500)
    assert (training.y[-1], list(validation.x)) == (7.0, [20, 40, 60, 80, 100])


@pytest.mark.parametrize("cut", [0, 1, 63, 64, 65, 100, 127, 128, 129, 200])
def test_a_restart_inside_a_row_keeps_the_steps_before_it(
    cut: int, run: RunDir, log_writer: Any, truth_of: Any
) -> None:
    log_writer.begin(1, 0)
    log_writer.steps(1, 100, after=1.0)
    log_writer.eval(100, after=45.0)
    log_writer.log(events.Hardware(rss_bytes=3), 45.0)
    log_writer.steps(101, 200, after=1.0)
    write_index(run)
    opened = Series.load(run)
    opened.window(px=400, axis="time")
    for number, start in enumerate((cut, cut, cut // 2)):
        log_writer.begin(2 + number, start, after=900.0)
        log_writer.steps(start + 1, start + 70, after=1.0)
        truth = truth_of(run.events.read_bytes())
        opened.refresh()
        plain = Series.load(RunDir(shutil.copytree(run.path, run.path / f"copy-{number}", ignore=_all_but_the_log)))
        write_index(run)
        for series in (opened, plain, Series.load(run)):
            assert len(series) == len(truth.steps)
            for axis in AXES:
                low, high = truth.steps[0].x(axis), truth.steps[-1].x(axis)
                for key in KEYS:
                    for px in (2, 300):
                        check(series.window(px=px, axis=axis, key=key), truth, low, high, px, axis, key)


def _all_but_the_log(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name != "events.jsonl"]


def test_a_run_event_without_planned_steps_voids_nothing(run: RunDir, log_writer: Any) -> None:
    log_writer.begin(1, 0)
    log_writer.steps(1, 10)
    log_writer.log(events.Run(status="running", session=2))
    series = Series.load(run)
    assert (len(series), series.restarts) == (10, [])


def test_nan_losses_are_counted_and_leave_gaps(run: RunDir, log_writer: Any) -> None:
    log_writer.begin(1, 0)
    for step in range(1, 401):
        log_writer.log(log_writer.step_event(step, math.nan if 101 <= step <= 300 else float(step)))
    series = Series.load(run)
    assert len(series) == 400
    assert sum(point.num_odd for point in series.window(px=3)) == 200
    assert all(math.isnan(p.mean) and math.isnan(p.low) for p in series.window(px=400)[100:300])
    (line,) = lines(series, px=400)
    assert [math.isnan(y) for y in line.y] == [101 <= step <= 300 for step in range(1, 401)]
    assert all(point.num_odd == 0 and math.isfinite(point.mean) for point in series.window(px=3, key="grad_norm"))


def test_a_run_with_only_nan_losses_has_no_line(run: RunDir, log_writer: Any) -> None:
    log_writer.begin(1, 0)
    for step in range(1, 100):
        log_writer.log(log_writer.step_event(step, math.nan))
    assert lines(Series.load(run)) == []


def test_time_excludes_sleep_and_the_time_between_sessions(run: RunDir, log_writer: Any) -> None:
    log_writer.begin(1, 0)  # 1.1 s from the first event to here
    log_writer.steps(1, 100, after=0.5)
    log_writer.begin(2, 100, after=86_400.0)  # and 1.1 s again
    log_writer.steps(101, 150, after=0.5)
    log_writer.t += 7200.0  # the machine sleeps: 60 s of it count
    log_writer.steps(151, 200, after=0.5)
    log_writer.t -= 3600.0  # the clock is set back
    log_writer.steps(201, 210, after=0.5)
    series = Series.load(run)
    low, high = series.extent("time") or (0, 0)
    assert low == pytest.approx(1.1 + 0.5)
    assert high == pytest.approx(1.1 + 50 + 1.1 + 25 + 60 + 24.5 + 4.5)


def test_a_long_validation_moves_only_the_steps_after_it(run: RunDir, log_writer: Any) -> None:
    log_writer.begin(1, 0)
    log_writer.steps(1, 10, after=1.0)
    series = Series.load(run)
    before = [point.x for point in series.window(px=1000, axis="time")]
    log_writer.log(events.Phase(name="evaluate"), 1.0)
    log_writer.log(events.Hardware(rss_bytes=3), 50.0)
    log_writer.eval(10, after=50.0)
    series.refresh()
    assert [point.x for point in series.window(px=1000, axis="time")] == pytest.approx(before)
    assert series.validations[0].time == pytest.approx(before[-1] + 101.0)
    log_writer.steps(11, 12, after=1.0)
    series.refresh()
    times = [point.x for point in series.window(px=1000, axis="time")]
    assert times == pytest.approx([*before, before[-1] + 102.0, before[-1] + 103.0])


def test_the_speed_is_tokens_over_seconds_and_not_a_mean_of_rates(run: RunDir, log_writer: Any) -> None:
    log_writer.begin(1, 0)
    for step in range(1, 201):
        slow = step % 2 == 0
        made = events.Step(step=step, loss=2.0, lr=0.1, grad_norm=1.0, tokens=100 * step, step_s=0.9 if slow else 0.1)
        log_writer.log(made)
    series = Series.load(run)
    (point,) = series.window(1, 200, px=1, key="tokens_per_s")[:1]
    assert point.mean == pytest.approx(200, rel=0.02)
    assert (point.low, point.high) == pytest.approx((100 / 0.9, 1000))


def test_steps_after_a_gap_have_no_speed(run: RunDir, log_writer: Any) -> None:
    log_writer.begin(1, 0)
    log_writer.steps(1, 10)
    log_writer.begin(2, 5)
    log_writer.steps(6, 8)
    log_writer.steps(12, 14)
    speeds = {point.x: point.mean for point in Series.load(run).window(px=400, key="tokens_per_s")}
    assert [step for step, speed in speeds.items() if math.isnan(speed)] == [6, 12]


def test_refresh_follows_a_log_that_grows_by_partial_lines(run: RunDir, make_log_writer: Any, truth_of: Any) -> None:
    log_writer = make_log_writer(run, 77)
    log = log_writer.random_log(900)
    series, offset, num_checks = Series(run), 0, 0
    while offset < len(log):
        piece = log[offset : offset + log_writer.random.choice((1, 30, 200, 5000))]
        log_writer.append(piece)
        offset += len(piece)
        new = series.refresh()
        assert new == (b"\n" in piece), "refresh returned the wrong value"
        assert not series.refresh()
        if new and log_writer.random.random() < 0.5:
            num_checks += 1
            truth = truth_of(log[:offset])
            assert len(series) == len(truth.steps)
            if truth.steps:
                for axis in AXES:
                    low, high = truth.steps[0].x(axis), truth.steps[-1].x(axis)
                    check(series.window(px=60, axis=axis), truth, low, high, 60, axis, "loss")
    assert num_checks > 20


def test_progress_is_reported_up_to_the_size_of_the_log(run: RunDir, log_writer: Any) -> None:
    log_writer.tokens = list(range(40_000))
    log_writer.begin(1, 0)
    log_writer.steps(1, 39_000)
    seen: list[tuple[int, int]] = []
    series = Series.load(run, lambda read, total: seen.append((read, total)))
    size = run.events.stat().st_size
    assert len(seen) > 2, "a large log is read in one go"
    assert seen == sorted(seen)
    assert {total for _, total in seen} == {size}
    assert series.progress == (size, size)


def delete(run: RunDir) -> None:
    shutil.rmtree(run.path)


def empty(run: RunDir) -> None:
    run.events.write_bytes(b"")


@pytest.mark.parametrize("remove", [delete, empty])
@pytest.mark.parametrize("indexed", [False, True])
def test_a_deleted_or_emptied_run_has_no_steps(
    indexed: bool, remove: Callable[[RunDir], None], run: RunDir, log_writer: Any
) -> None:
    log_writer.begin(1, 0)
    log_writer.steps(1, 300)
    log_writer.eval(300)
    if indexed:
        write_index(run)
    series = Series.load(run)
    assert len(series) == 300
    remove(run)
    series.window(1, 10, px=400)
    assert series.refresh()
    assert (len(series), series.validations, series.window(), series.extent()) == (0, [], [], None)
    assert not series.refresh()


@pytest.mark.parametrize("longer", [False, True])
@pytest.mark.parametrize("indexed", [False, True])
def test_a_replaced_log_is_read_from_its_start(
    indexed: bool, longer: bool, run: RunDir, log_writer: Any, make_log_writer: Any
) -> None:
    log_writer.begin(1, 0)
    log_writer.steps(1, 300)
    if indexed:
        write_index(run)
    series = Series.load(run)
    run.events.unlink()
    other = make_log_writer(run, 5)
    other.begin(1, 0)
    other.steps(1, 500 if longer else 200)
    assert series.refresh()
    assert len(series) == (500 if longer else 200)
    assert series.window(px=1000) == Series.load(run).window(px=1000)


def test_a_truncated_log_is_read_again(run: RunDir, log_writer: Any, truth_of: Any) -> None:
    log_writer.begin(1, 0)
    log_writer.steps(1, 300)
    write_index(run)
    series = Series.load(run)
    log = run.events.read_bytes()
    for size in (len(log) * 2 // 3 + 5, len(log) // 3):
        run.events.write_bytes(log[:size])
        assert series.refresh()
        truth = truth_of(log[:size])
        for each in (series, Series.load(run)):
            assert len(each) == len(truth.steps)
            check(each.window(px=400), truth, 1, truth.steps[-1].step, 400, "step", "loss")


@pytest.mark.parametrize("smoothing", [0.1, 0.5, 0.9, 0.99])
def test_an_exponential_mean_is_the_weighted_mean_of_the_values_so_far(smoothing: float, log_writer: Any) -> None:
    values = [log_writer.random.choice((1.0, 5.0, 2.5, math.nan)) for _ in range(60)]
    for end, found in enumerate(ema(values, smoothing), 1):
        known = [value for value in values[:end] if not math.isnan(value)]
        if math.isnan(values[end - 1]):
            assert math.isnan(found), "a gap was filled"
        else:
            weights = [smoothing**age for age in range(len(known) - 1, -1, -1)]
            mean = math.fsum(map(math.prod, zip(weights, known, strict=True))) / math.fsum(weights)
            assert found == pytest.approx(mean)


def test_zero_smoothing_changes_nothing_and_smoothed_lines_have_no_spread(run: RunDir, log_writer: Any) -> None:
    assert ema([1.0, 2.0], 0.0) == ema([1.0, 2.0], 1.0) == [1.0, 2.0]
    log_writer.begin(1, 0)
    log_writer.steps(1, 50)
    series = Series.load(run)
    (rough,), (behind, smooth) = lines(series, px=100), lines(series, px=100, smoothing=0.9)
    assert (behind.y, behind.low, behind.high) == (rough.y, rough.low, rough.high)
    assert smooth.low is smooth.high is None
    assert list(smooth.y) == ema(list(rough.y), 0.9)
