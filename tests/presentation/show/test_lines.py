"""The scrolling view: what its rows say, and that they fit."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

import pytest

from seedbed.events import Comm, Message
from seedbed.presentation.show.lines import clock, rows_of
from seedbed.presentation.show.reminder import reminder
from seedbed.presentation.show.rows import ASCII, UNICODE, Row, Segment, ansi, row, wrapped
from seedbed.presentation.show.scrolling import Scrolling
from seedbed.simulate.show import items
from shown_runs import Played, first_run, fixed_run

SNAPSHOTS = Path(__file__).parent / "snapshots"
SIZES = [(80, 24), (120, 36), (200, 60)]


def shown_rows(run: Played, width: int = 80, height: int = 24, glyphs: object = UNICODE) -> list[Row]:
    """The rows of a run in the scrolling view."""
    view = Scrolling(run.take.options.seed, UNICODE if glyphs is UNICODE else ASCII, width, height)
    return [reminder(run.take.options.seed, width), *(each for beat in run.beats for each in view.rows(beat.item))]


def lasting(rows: list[Row]) -> list[Row]:
    return [each for each in rows if each.is_kept]


@pytest.mark.parametrize("width", [1, 7, 20, 40, 60, 79, 80, 120, 200])
def test_no_row_is_wider_than_the_terminal(width: int) -> None:
    for seed in range(12):
        for each in shown_rows(first_run(seed), width):
            assert len(each.text) <= width
            assert "\n" not in each.text


ADAPTS = (items.RunBegins, items.Ring, items.LearningRate, items.Training, items.Bar, items.GpuTable, items.RunEnds)
"""Items that say less, or in another form, where there is less room."""


@pytest.mark.parametrize("width", [20, 33, 48, 60, 80])
def test_a_narrow_terminal_gets_more_lines_and_the_whole_text(width: int) -> None:
    for seed in range(12):
        for beat in first_run(seed).beats:
            narrow, wide = ("".join("".join(row.text.split()) for row in rows_of(beat.item, columns, UNICODE))
                            for columns in (width, 400))  # fmt: skip
            if not isinstance(beat.item, ADAPTS):
                assert narrow == wide


def test_no_figure_is_cut_in_20_columns() -> None:
    run = first_run(0)
    for item in run.all(items.Training):
        *figures, progress = rows_of(item, 20, UNICODE)
        assert f"loss {item.loss:.4f}" in [part.text for row in figures for part in row.segments]
        assert re.fullmatch(r"\d/\d +\d+% \|[█░]{4,}\|", progress.text)
    summary, end = "\n".join(row.text for row in rows_of(run.one(items.RunEnds), 20, UNICODE)), run.one(items.RunEnds)
    assert f"perplexity: {end.perplexity:,.2f}" in summary
    assert "".join(end.target.split()) in "".join(summary.split())
    table = run.all(items.GpuTable)[0]
    assert next(row.text for row in rows_of(table, 20, UNICODE)) == f"000/0 {table.rows[0].fraction:.0%}"


def test_a_row_is_broken_at_spaces_with_its_styles() -> None:
    found = wrapped(row(("[data] ", "blue"), "a-word-that-is-long and", (" more  words", "bold")), 16)
    assert [each.text for each in found] == ["[data]", "  a-word-that-", "  is-long and", "  more  words"]
    assert found[0].segments == (Segment("[data]", "blue"),)
    assert found[2].segments == (Segment("  is-long and"),)
    assert found[3].segments == (Segment("  more  words", "bold"),)


def test_a_bar_leaves_the_last_column_free() -> None:
    for each in shown_rows(first_run(0)):
        if each.is_bar:
            assert len(each.text) < 80


@pytest.mark.parametrize("height", [6, 10, 24, 60])
def test_every_screenful_says_that_it_is_simulated(height: int) -> None:
    for seed in range(12):
        rows = lasting(shown_rows(first_run(seed), 80, height))
        marked = [number for number, each in enumerate(rows) if "SIMULATED" in each.text]
        assert marked[0] == 0
        gaps = [later - earlier for earlier, later in zip(marked, [*marked[1:], len(rows)], strict=True)]
        assert max(gaps) < height


def test_the_reminder_says_so_in_20_columns_too() -> None:
    assert "SIMULATED" in reminder(7, 20).text
    assert "SIMULATED" in rows_of(first_run(0).one(items.RunBegins), 20, UNICODE)[0].text


def test_less_than_five_percent_of_the_rows_are_warnings() -> None:
    for seed in range(60):
        rows = lasting(shown_rows(first_run(seed)))
        warnings = [each for each in rows if any(style in ("yellow", "red") for _, style in each.segments)]
        assert len(warnings) < 0.05 * len(rows)


def test_the_printed_perplexity_is_e_to_the_printed_loss() -> None:
    found = 0
    for seed in range(12):
        for each in shown_rows(first_run(seed)):
            match = re.search(r"loss (\d+\.\d{4})\b.*?ppl ([\d,]+\.\d\d)", each.text)
            if match:
                found += 1
                assert float(match[2].replace(",", "")) == pytest.approx(math.exp(float(match[1])), abs=0.0051)
    assert found > 500


def test_a_training_row_has_step_loss_perplexity_rate_and_gradient_norm() -> None:
    item = first_run(0).all(items.Training)[5]
    line, progress = rows_of(item, 80, UNICODE)
    assert re.fullmatch(
        r"step +\d+/\d+  loss \d+\.\d{4}  ppl [\d,.]+  lr \d\.\d\de-\d\d  grad_norm \d+\.\d{3}", line.text
    )
    assert re.fullmatch(
        r"Epoch 1/3 +\d+% \|[█░]+\| \[[\d:]+<[\d:]+, [\d.]+[kMB]? tok/s, \d+ seq/s, MFU [\d.]+%\]", progress.text
    )


def test_a_wide_row_has_more_figures() -> None:
    item = first_run(0).all(items.Training)[5]
    wide = rows_of(item, 120, UNICODE)[0].text
    assert "samples/s" in wide
    assert "step time" in wide


def test_a_narrow_row_keeps_step_and_loss() -> None:
    item = first_run(0).all(items.Training)[5]
    assert re.search(r"\d+/\d+ loss \d", rows_of(item, 24, UNICODE)[0].text)


def test_the_summary_has_plain_borders_and_a_green_line_follows() -> None:
    rows = rows_of(first_run(0).one(items.RunEnds), 80, UNICODE)
    table, success = rows[:-1], rows[-1]
    assert all(re.fullmatch(r"[+|].*[+|]", each.text) for each in table)
    assert set(table[0].text) == set("+-")
    assert success.segments[0].style == "bold green"
    assert "complete" in success.text


def test_all_characters_of_the_ascii_view_are_ascii() -> None:
    for each in shown_rows(first_run(0), glyphs=ASCII):
        assert each.text.isascii()


def test_colours_are_reset_at_the_end_of_each_piece() -> None:
    for each in shown_rows(first_run(0)):
        coloured = ansi(each, colour=True)
        assert coloured.count("\x1b[0m") * 2 == coloured.count("\x1b[")
        assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == ansi(each, colour=False) == each.text


def test_every_kind_of_item_has_rows() -> None:
    kinds = {type(beat.item) for seed in range(40) for beat in first_run(seed).beats}
    silent = {kind.__name__ for kind in kinds if not rows_of_any(kind)}
    assert silent == {"Hardware"}


def rows_of_any(kind: type) -> list[Row]:
    """The rows of the first item of a kind that has some."""
    for seed in range(40):
        for beat in first_run(seed).beats:
            if type(beat.item) is kind and (found := rows_of(beat.item, 80, UNICODE)):
                return found
    return []


def test_a_collective_shows_its_size_its_time_and_its_rate() -> None:
    (line,) = rows_of(Comm(op="all_reduce", size_bytes=1 << 30, elapsed_s=0.01, step=7), 80, UNICODE)
    assert line.text == "[comm] AllReduce 1.0 GiB in 10.0 ms (107 GB/s) step 7"


def test_a_long_warning_goes_over_several_rows() -> None:
    rows = rows_of(Message(level="warning", code="failure", text="word " * 40), 80, UNICODE)
    assert len(rows) == 3
    assert all(each.segments[0].style == "yellow" for each in rows)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "00:00"), (67, "01:07"), (3_907, "1:05:07"), (172_800, "2d 00:00"), (183_900, "2d 03:05")],
)
def test_clock(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_text_of_a_run_equals_its_snapshot(width: int, height: int) -> None:
    """To change it: UPDATE_GOLDEN=1 pytest; then read the difference."""
    path = SNAPSHOTS / f"scrolling-{width}x{height}.txt"
    found = "".join(each.text.rstrip() + "\n" for each in lasting(shown_rows(fixed_run(), width, height)))
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(found)
    assert found == path.read_text()
