"""An index changes nothing but the time that a curve takes: whatever becomes of it, the log is what counts."""

from __future__ import annotations

import math
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from patience import until
from seedbed import events
from seedbed.runs import lifecycle
from seedbed.runs.curves import index_file, index_writer
from seedbed.runs.curves.index_file import ROW_BYTES, index_path, read_index
from seedbed.runs.curves.index_writer import IndexWriter
from seedbed.runs.curves.points import AXES, KEYS
from seedbed.runs.curves.rows import STEPS_A_ROW
from seedbed.runs.curves.series import Series
from seedbed.runs.session import Session
from seedbed.runs.store import RunDir


def write_all(run: RunDir) -> bytes:
    """The index that is written in one go."""
    writer = IndexWriter(run)
    while not writer.advance():
        pass
    writer.close()
    assert writer.problem is None
    return index_path(run).read_bytes()


def curves(series: Series) -> list[Any]:
    """All that a series tells, to the last bit."""
    found: list[Any] = [len(series), series.validations, series.checkpoints, series.restarts]
    for axis in AXES:
        found.append(series.extent(axis))
        for key in KEYS:
            found += [series.window(px=px, axis=axis, key=key) for px in (2, 40, 4000)]
    return [repr(each) for each in found]  # nan is equal to nan in words


def without_index(run: RunDir) -> list[Any]:
    kept = index_path(run).rename(run.path / "aside") if index_path(run).exists() else None
    found = curves(Series.load(run))
    if kept is not None:
        kept.rename(index_path(run))
    return found


@pytest.mark.parametrize("seed", range(8))
def test_written_by_bits_it_is_what_it_would_be_at_once(seed: int, run: RunDir, write_as: Any) -> None:
    scribe = write_as(run, seed)
    log, chance = scribe.life(1200), scribe.random
    writer, place = IndexWriter(run), 0
    while place < len(log):
        piece = log[place : place + chance.choice((1, 90, 700, 9000))]
        place += len(piece)
        scribe.raw(piece)
        for _ in range(chance.randint(0, 2)):
            writer.advance(chance.choice((1, 300, 8000, 1 << 23)))
        if chance.random() < 0.1:
            writer.close()  # and another session goes on with it
            writer = IndexWriter(run)
    while not writer.advance():
        pass
    assert writer.problem is None
    writer.close()
    by_bits = index_path(run).read_bytes()
    index_path(run).unlink()
    assert write_all(run) == by_bits
    assert curves(Series.load(run)) == without_index(run)


@pytest.mark.parametrize("seed", range(8, 16))
def test_a_writer_that_dies_in_the_middle_of_a_write_is_followed_by_one_that_mends(
    seed: int, run: RunDir, write_as: Any
) -> None:
    scribe = write_as(run, seed)
    log, chance = scribe.life(1500), scribe.random
    for cut in sorted(chance.randrange(len(log)) for _ in range(8)):
        done = run.events.stat().st_size if run.events.exists() else 0
        scribe.raw(log[done:cut])
        writer = IndexWriter(run)
        while not writer.advance():
            pass
        writer.close()
        if index_path(run).exists():
            size = index_path(run).stat().st_size
            os.truncate(index_path(run), max(0, size - chance.choice((0, 1, 7, 8, 100, ROW_BYTES, 2 * ROW_BYTES + 3))))
            assert curves(Series.load(run)) == without_index(run)
    scribe.raw(log[run.events.stat().st_size :])
    mended = write_all(run)
    index_path(run).unlink()
    assert write_all(run) == mended


@pytest.fixture
def written(run: RunDir, write_as: Any) -> RunDir:
    """A run with an index of some dozen rows, and steps that are in none yet."""
    scribe = write_as(run, 3)
    scribe.begin(1, 0)
    scribe.steps(1, 500)
    scribe.eval(500)
    scribe.checkpoint(500)
    scribe.begin(2, 300)
    scribe.steps(301, 390)
    scribe.eval(390, 2.5)
    scribe.steps(391, 430)
    scribe.steps(420, 660)
    write_all(run)
    return run


def test_it_is_used_and_the_log_is_not_read_where_the_rows_will_do(written: RunDir) -> None:
    before = {px: Series.load(written).window(px=px) for px in (1, 3, 6, 9)}
    log = bytearray(written.events.read_bytes())
    start = log.index(b"\n") + 1
    end = log.index(b'"step":250,')
    log[start:end] = b"x" * (end - start - 1) + b"\n"
    written.events.write_bytes(log)
    after = Series.load(written)
    assert len(after) == 660
    for px, points in before.items():
        assert after.window(px=px) == points
    index_path(written).unlink()
    assert len(Series.load(written)) < 500, "the log is not damaged"


def test_it_is_small(run: RunDir, scribe: Any) -> None:
    scribe.begin(1, 0)
    scribe.steps(1, 4000)
    assert len(write_all(run)) < 0.05 * run.events.stat().st_size


def test_damage_anywhere_is_never_believed(written: RunDir) -> None:
    chance, whole, truth = random.Random(1), index_path(written).read_bytes(), without_index(written)
    harmed = []
    for place in [*range(70), *(chance.randrange(70, len(whole)) for _ in range(300))]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << chance.randrange(8)
        harmed.append(bytes(damaged))
    for size in (0, 1, 15, 16, 63, 64, 65, ROW_BYTES, 64 + ROW_BYTES - 1, 64 + ROW_BYTES, len(whole) // 2, len(whole)):
        tails = (b"\0" * ROW_BYTES, b"\xff" * 3 * ROW_BYTES, whole[64 : 64 + ROW_BYTES], b"")
        harmed += [whole[:size] + tail for tail in tails]
    for number, bad in enumerate(harmed):
        index_path(written).write_bytes(bad)
        assert whole[64:].startswith(read_index(written)), number
        if number % 40 == 0:
            assert curves(Series.load(written)) == truth, number


def test_what_is_whole_before_the_damage_is_kept(written: RunDir) -> None:
    whole = index_path(written).read_bytes()
    damaged = bytearray(whole)
    damaged[64 + 5 * ROW_BYTES + 20] ^= 1
    index_path(written).write_bytes(damaged)
    assert read_index(written) == whole[64 : 64 + 5 * ROW_BYTES]


def test_another_version_is_passed_over_and_replaced(written: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, truth = index_path(written).read_bytes(), without_index(written)
    monkeypatch.setattr(index_file, "_VERSION", 99)
    assert read_index(written) == b""
    assert curves(Series.load(written)) == truth
    renewed = write_all(written)
    assert renewed != whole
    assert len(renewed) == len(whole)
    monkeypatch.undo()
    assert read_index(written) == b"", "rows of a version that is not known yet are read"
    assert write_all(written) == whole


def test_the_index_of_another_run_is_passed_over(written: RunDir, tmp_path: Path, write_as: Any) -> None:
    other = RunDir(tmp_path / "other")
    other.path.mkdir()
    scribe = write_as(other, 4)
    scribe.begin(1, 0)
    scribe.steps(1, 700)
    index_path(other).write_bytes(index_path(written).read_bytes())
    assert read_index(other) == b""
    truth = without_index(other)
    assert curves(Series.load(other)) == truth
    write_all(other)
    assert curves(Series.load(other)) == truth


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_log_that_lost_its_end_is_not_completed_out_of_the_index(share: float, written: RunDir) -> None:
    log = written.events.read_bytes()
    written.events.write_bytes(log[: int(share * len(log))])
    truth = without_index(written)
    assert curves(Series.load(written)) == truth
    writer = IndexWriter(written)
    while not writer.advance():
        pass
    assert writer.problem is None
    writer.close()
    assert curves(Series.load(written)) == truth


def test_a_log_that_went_another_way_after_a_loss_is_not_taken_for_the_old_one(written: RunDir, write_as: Any) -> None:
    log = written.events.read_bytes()
    written.events.write_bytes(log[: log.index(b'"step":400,')] + b"\n")
    scribe = write_as(written, 9)
    scribe.begin(3, 350)
    scribe.steps(351, 800)
    truth = without_index(written)
    assert curves(Series.load(written)) == truth
    write_all(written)
    assert curves(Series.load(written)) == truth


def test_without_a_log_there_is_no_index(written: RunDir) -> None:
    written.events.unlink()
    assert read_index(written) == b""
    assert len(Series.load(written)) == 0
    assert IndexWriter(written).advance()
    written.events.write_bytes(b"")
    assert len(Series.load(written)) == 0
    written.events.write_bytes(b'{"kind":"run","t":1.0')
    assert len(Series.load(written)) == 0
    assert IndexWriter(written).advance()


def thrown_away(run: RunDir) -> None:
    index_path(run).unlink()


def emptied(run: RunDir) -> None:
    index_path(run).write_bytes(b"")


def replaced(run: RunDir) -> None:
    index_path(run).unlink()
    index_path(run).write_bytes(b"something else\n" * 5000)


@pytest.mark.parametrize("harm", [thrown_away, emptied, replaced])
def test_an_index_that_is_thrown_away_under_its_writer_is_written_anew(
    harm: Callable[[RunDir], None], run: RunDir, scribe: Any
) -> None:
    scribe.begin(1, 0)
    scribe.steps(1, 1000)
    writer = IndexWriter(run)
    writer.advance()
    harm(run)
    scribe.steps(1001, 1200)
    while not writer.advance():
        pass
    writer.close()
    renewed = index_path(run).read_bytes()
    assert len(read_index(run)) == (1 + 1200 // STEPS_A_ROW) * ROW_BYTES
    index_path(run).unlink()
    assert write_all(run) == renewed


def test_a_writer_that_cannot_write_says_why_and_tries_again(
    run: RunDir, scribe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_writer, "_RETRY_S", 0.05)
    scribe.begin(1, 0)
    scribe.steps(1, 200)
    index_path(run).mkdir()
    writer = IndexWriter(run)
    assert writer.advance()
    assert "directory" in (writer.problem or "")
    assert len(Series.load(run)) == 200
    index_path(run).rmdir()
    until(lambda: writer.advance() or index_path(run).exists())
    while not writer.advance():
        pass
    assert writer.problem is None
    assert len(read_index(run)) == 4 * ROW_BYTES
    writer.close()


def test_on_a_full_disk_the_rows_that_were_written_stay_whole(
    small_disk: Path, write_as: Any, fill: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_writer, "_RETRY_S", 0.0)
    run = RunDir(small_disk / "run")
    run.path.mkdir()
    scribe = write_as(run, 2)
    scribe.begin(1, 0)
    scribe.steps(1, 4000)
    log, writer = run.events.read_bytes(), IndexWriter(run)
    run.events.write_bytes(log[: len(log) // 2])
    writer.advance()
    before = len(read_index(run))
    assert before > 20 * ROW_BYTES
    run.events.write_bytes(log)
    filler = fill(small_disk)
    writer.advance()
    assert writer.problem is not None
    assert len(read_index(run)) >= before
    assert curves(Series.load(run)) == without_index(run)
    filler.unlink()
    while not writer.advance():
        pass
    assert writer.problem is None
    assert len(read_index(run)) == (1 + 4000 // STEPS_A_ROW) * ROW_BYTES
    writer.close()


def job(path: Path, first: int) -> None:
    """A session that steps as fast as it can until it is killed."""
    step = first
    with Session(path, heartbeat_s=0.001) as session:
        session.emit(events.Run(status="running", session=session.number, step=first, steps=10**6))
        while True:
            step += 1
            loss = math.sin(step) + 2
            session.emit(events.Step(step=step, loss=loss, lr=0.1, grad_norm=1.0, tokens=9 * step, step_s=0.1))
            if step % 50 == 0:
                time.sleep(0.001)


def test_jobs_killed_again_and_again_leave_an_index_that_is_right(
    run: RunDir, truth_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "POLL_S", 0.002)
    chance, first = random.Random(5), 0
    for _ in range(6):
        before = index_path(run).stat().st_size if index_path(run).exists() else 0
        child = multiprocessing.get_context("fork").Process(target=job, args=(run.path, first))
        child.start()

        def grown(before: int = before) -> bool:
            Series.load(run).window()
            return index_path(run).exists() and index_path(run).stat().st_size > before + 2 * ROW_BYTES

        until(grown, told=lambda: "no index is written")
        time.sleep(chance.random() * 0.05)
        os.kill(child.pid or 0, signal.SIGKILL)
        child.join()
        truth = truth_of(run.events.read_bytes())
        assert len(read_index(run)) > 0
        series = Series.load(run)
        assert len(series) == len(truth.steps)
        assert [p.mean for p in series.window(px=10**6)] == [step.loss for step in truth.steps]
        assert curves(series) == without_index(run)
        first = chance.randint(0, truth.steps[-1].step)
