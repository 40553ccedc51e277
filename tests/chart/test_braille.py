"""Curves in Braille characters: positions, visibility, labels, unusual values. Some tests draw the same lines as SVG."""

from __future__ import annotations

import math
import time
import xml.etree.ElementTree as ET

import pytest

import patience
from seedbed.chart.axes import AXIS, Box, Line, Marks
from seedbed.chart.braille import Picture, Span, braille, plot
from seedbed.chart.svg import svg

SVG = "{http://www.w3.org/2000/svg}"


def rows(drawn: list[list[Span]]) -> list[str]:
    return ["".join(span.text for span in row) for row in drawn]


def dots(drawn: list[list[Span]]) -> set[tuple[int, int]]:
    """(x, y) of every dot, from the Unicode definition of Braille patterns (U+2800 plus a bit per dot)."""
    bit = {0: (0, 0), 1: (0, 1), 2: (0, 2), 3: (1, 0), 4: (1, 1), 5: (1, 2), 6: (0, 3), 7: (1, 3)}
    found = set()
    for row, text in enumerate(rows(drawn)):
        for column, char in enumerate(text):
            if 0x2800 <= ord(char) < 0x2900:
                mask = ord(char) - 0x2800
                found |= {(column * 2 + bit[k][0], row * 4 + bit[k][1]) for k in range(8) if mask >> k & 1}
    return found


def test_a_falling_line_spans_the_picture_without_gaps() -> None:
    drawn = braille([Line("loss", range(100), [float(100 - x) for x in range(100)])], 40, 11)
    found = dots(drawn)
    columns = sorted({x for x, _ in found})
    assert columns == list(range(columns[0], columns[-1] + 1)), "the line has gaps"
    middles = [sum(y for x, y in found if x == column) / sum(x == column for x, _ in found) for column in columns]
    assert middles == sorted(middles), "the line does not fall steadily"
    assert min(y for _, y in found) == 0
    assert max(y for _, y in found) == 39
    assert len(drawn) == 11
    assert all(len(row) <= 40 for row in rows(drawn))


def test_sparse_points_are_joined_without_overshooting() -> None:
    found = dots(braille([Line("v", [0, 50, 100], [10.0, 5.0, 5.0])], 60, 8))
    columns = {x for x, _ in found}
    assert columns == set(range(min(columns), max(columns) + 1))
    last = [y for x, y in found if x > max(columns) - 20]
    assert set(last) == {max(y for _, y in found)}, "the flat part is not flat"


def test_a_spike_of_one_point_among_many_stays_visible() -> None:
    values = [1.0] * 5000
    values[2500] = 9.0
    found = dots(braille([Line("loss", range(5000), values)], 60, 10))
    assert min(y for _, y in found) == 0


def test_a_cell_shows_only_the_line_that_was_drawn_last() -> None:
    flat = [1.0, 1.0]
    drawn = braille([Line("a", [0, 9], flat), Line("b", [0, 9], flat), Line("c", [0, 9], [0.0, 2.0])], 30, 6)
    owners = {span.series for row in drawn for span in row}
    assert owners >= {AXIS, 2}
    assert 0 not in owners, "a line below another is visible"
    # A thin line over a wide band stays thin: the band's dots would have its colour.
    band = Line("band", range(10), [1.0] * 10, [0.0] * 10, [2.0] * 10)
    spans = [span for row in braille([band, Line("thin", [0, 9], [1.0, 1.0])], 30, 6) for span in row]
    prune_checkpoints = {char for span in spans if span.series == 1 for char in span.text.strip()}
    assert prune_checkpoints
    assert all((ord(char) - 0x2800).bit_count() <= 2 for char in prune_checkpoints)


@pytest.mark.parametrize(
    "line",
    [
        Line("none", [], []),
        Line("nan", [1.0], [math.nan]),
        Line("inf", [1.0, 2.0], [math.inf, -math.inf]),
    ],
)
def test_lines_without_points_give_no_picture(line: Line) -> None:
    assert braille([line], 40, 10) == []
    assert svg([line], title="t", x_label="x", y_label="y") is None


@pytest.mark.parametrize("width", [1, 5, 8, 20, 300])
@pytest.mark.parametrize("height", [1, 2, 3, 40])
@pytest.mark.parametrize("values", [[3.0], [2.0, 2.0], [0.0, 0.0], [1e-9, 2e-9], [1e12, -1e12], [1.0, math.nan, 3.0]])
def test_rows_fit_the_width_for_any_size_and_any_values(width: int, height: int, values: list[float]) -> None:
    drawn = braille([Line("x", range(len(values)), values)], width, height)
    assert all(len(row) <= max(width, 1) for row in rows(drawn))


def drawn(lines: list[Line], width: int, height: int, **options: object) -> Picture:
    picture = plot(lines, width, height, **options)  # type: ignore[arg-type]
    assert picture is not None
    return picture


def test_an_exponential_is_straight_on_a_logarithmic_scale_with_powers_as_labels() -> None:
    decay = Line("loss", range(201), [1000 * 10 ** (-x / 50) for x in range(201)])
    picture = drawn([decay], 60, 22, log=True)
    found = dots(picture.rows)
    columns = sorted({x for x, _ in found})
    middles = {c: sum(y for x, y in found if x == c) / sum(x == c for x, _ in found) for c in columns}
    first, last = columns[0], columns[-1]
    slope = (middles[last] - middles[first]) / (last - first)
    for column, y in middles.items():
        assert y == pytest.approx(middles[first] + slope * (column - first), abs=1.5)
    labels = {row[: picture.margin].strip(" ┤│") for row in rows(picture.rows)}
    assert {"0.1", "1", "10", "100", "1000"} <= labels


def test_a_logarithmic_scale_omits_values_that_are_not_above_zero() -> None:
    line = Line("x", [0, 1, 2, 3], [0.0, -1.0, 5.0, 10.0], [-1.0, -2.0, 0.0, 9.0], [0.0, 0.0, 6.0, 11.0])
    picture = drawn([line], 40, 8, log=True)
    assert picture.box.y0 == 5.0
    assert {x for x, _ in dots(picture.rows)} <= set(range(picture.margin * 2 + 36, 80))
    assert plot([Line("x", [0, 1], [-1.0, 0.0])], 40, 8, log=True) is None
    assert svg([line], title="t", x_label="x", y_label="y", log=True) is not None
    assert svg([Line("x", [0, 1], [-1.0, 0.0])], title="t", x_label="x", y_label="y", log=True) is None


def test_a_fixed_box_cuts_lines_at_its_edges() -> None:
    ramp = Line("x", [0, 1000], [0.0, 1000.0])
    picture = drawn([ramp], 46, 11, box=Box(400, 600, 450, 550))
    found = dots(picture.rows)
    columns = {x - picture.margin * 2 for x, _ in found}
    width = picture.columns * 2
    assert min(columns) == pytest.approx(width / 4, abs=1.5), "the line enters the box at a quarter of its width"
    assert max(columns) == pytest.approx(width * 3 / 4, abs=1.5)
    outside = drawn([Line("x", [0, 1], [5.0, 5.0])], 46, 11, box=Box(10, 20, 0, 1))
    assert dots(outside.rows) == set()


def test_marks_have_rows_of_their_own_below_the_curves() -> None:
    line = Line("x", [0, 100], [1.0, 2.0])
    marks = [Marks("c", [0, 50], 3), Marks("R", [50, 900], 4), Marks("e", [100], 5, row=1)]
    picture = drawn([line], 60, 10, marks=marks)
    text = rows(picture.rows)
    assert len(text) == 10
    checkpoints, evaluations = text[7], text[8]
    middle = picture.column_of(50)
    assert middle is not None
    assert checkpoints.strip() == "c" + " " * (middle - picture.margin - 1) + "R"
    assert checkpoints.index("c") == picture.column_of(0) == picture.margin
    assert evaluations.strip() == "e"
    assert evaluations.rstrip().endswith("e")
    assert {span.series for span in picture.rows[7]} == {AXIS, 3, 4}
    assert len(evaluations.rstrip()) == 60


def test_a_tag_marks_the_last_visible_point_of_its_line() -> None:
    """Tags tell lines apart without colours. Two lines that end at the same point have their tags side by side."""
    lines = [
        Line("", [0, 100], [3.0, 1.0], tag="1"),
        Line("", [0, 50], [3.0, 3.0], tag="2"),
        Line("", [0, 100], [2.0, 1.0], tag="3"),
        Line("", [0, math.nan], [2.0, math.nan], tag=""),
    ]
    text = rows(drawn(lines, 60, 10).rows)
    last = text[8]
    assert last.endswith("31")
    [second] = [line for line in text if "2" in line.partition("┤")[2].partition("│")[0] and "┤" in line]
    assert abs(second.index("2", second.index("┤")) - (second.index("┤") + 1 + 28)) <= 2
    # In a zoom it marks the last visible point; a curve outside the box has no tag.
    dense = Line("", range(101), [3.0 - x / 50 for x in range(101)], tag="1")
    far = Line("", range(101), [9.0] * 101, tag="4")
    zoomed = rows(drawn([dense, far], 60, 10, box=Box(0, 20, 2.5, 3.5)).rows)[:9]
    assert [row[-1] for row in zoomed if row[-1] in "14"] == ["1"]
    assert not any("4" in row.partition("│")[2] for row in zoomed)


def test_columns_of_the_picture_convert_to_x_and_back() -> None:
    picture = drawn([Line("x", [100, 300], [1.0, 2.0])], 80, 10)
    assert picture.x_at(picture.margin - 1) is None
    assert picture.x_at(80) is None
    for column in range(picture.margin, 80):
        x = picture.x_at(column)
        assert x is not None
        assert picture.column_of(x) == column
    assert picture.column_of(301) is None


def test_series_selects_the_colour_of_a_line() -> None:
    pair = [Line("a", [0, 9], [1.0, 1.0], series=7), Line("b", [0, 9], [3.0, 3.0], series=2)]
    owners = {span.series for row in drawn(pair, 40, 8).rows for span in row}
    assert owners == {AXIS, 7, 2}
    picture = svg(pair, title="t", x_label="x", y_label="y")
    assert picture is not None
    assert 'class="line s1"' in picture
    assert 'class="line s2"' in picture


def test_a_nan_leaves_a_gap() -> None:
    line = Line("x", range(9), [1.0, 1.0, 1.0, math.nan, math.nan, math.nan, 1.0, 1.0, 1.0])
    columns = {x for x, _ in dots(drawn([line], 50, 6).rows)}
    middle = (min(columns) + max(columns)) // 2
    assert not columns & set(range(middle - 5, middle + 5))


def test_the_x_axis_has_round_numbers_or_the_labels_of_x_text() -> None:
    line = Line("x", [0, 1_000_000], [1.0, 2.0])
    axis = rows(drawn([line], 100, 8).rows)[-1]
    assert axis.split() == ["0", "200k", "400k", "600k", "800k", "1M"]
    timed = rows(drawn([line], 100, 8, x_text=lambda x: f"{x / 3600:.0f}h").rows)[-1]
    assert timed.split() == ["0h", "278h"]


def test_a_wide_picture_of_many_noisy_lines_is_drawn_quickly() -> None:
    noisy = [1 + (x * 7919 % 1000) / 500 for x in range(800)]
    lines = [Line(str(k), range(800), noisy, [0.5] * 800, [4.0] * 800, series=k) for k in range(4)]
    begun = time.process_time()
    drawn(lines, 400, 40, log=True)
    assert time.process_time() - begun < patience.limit(0.5), "drawing is too slow for a window"


@pytest.mark.parametrize("last", [1, 2, 3, 5, 7, 12, 100, 12345])
def test_whole_x_labels_only_whole_numbers(last: int) -> None:
    line = Line("loss", range(1, last + 1), [float(step) for step in range(last)])
    picture = plot([line], 100, 10, whole_x=True)
    assert picture is not None
    labels = rows(picture.rows)[-1].split()
    assert labels
    assert all(label.isdecimal() for label in labels if label.isascii() and "k" not in label), labels
    drawn = svg([line], title="t", x_label="step", y_label="loss", whole_x=True)
    assert drawn is not None
    foot = [each.text or "" for each in ET.fromstring(drawn).iter(f"{SVG}text") if each.get("y") == "374"]
    assert foot
    assert all(label.isdecimal() for label in foot if "k" not in label), foot
