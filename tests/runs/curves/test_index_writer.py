"""The index only makes curves faster to read: curves match the log, also if the index is damaged, missing or outdated."""

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


def write_index(run: RunDir) -> bytes:
    """Write the whole index at once, and return its bytes."""
    writer = IndexWriter(run)
    while not writer.advance():
        pass
    writer.close()
    assert writer.problem is None
    return index_path(run).read_bytes()


def contents(series: Series) -> list[Any]:
    """Everything that a series returns, as exact text."""
    found: list[Any] = [len(series), series.validations, series.checkpoints, series.restarts]
    for axis in AXES:
        found.append(series.extent(axis))
        for key in KEYS:
            found += [series.window(px=px, axis=axis, key=key) for px in (2, 40, 4000)]
    return [repr(each) for each in found]  # as text, nan equals nan


def contents_without_index(run: RunDir) -> list[Any]:
    kept = index_path(run).rename(run.path / "aside") if index_path(run).exists() else None
    found = contents(Series.load(run))
    if kept is not None:
        kept.rename(index_path(run))
    return found


@pytest.mark.parametrize("seed", range(8))
def test_an_index_written_in_pieces_equals_one_written_at_once(seed: int, run: RunDir, make_log_writer: Any) -> None:
    log_writer = make_log_writer(run, seed)
    log, rng = log_writer.random_log(1200), log_writer.random
    writer, offset = IndexWriter(run), 0
    while offset < len(log):
        piece = log[offset : offset + rng.choice((1, 90, 700, 9000))]
        offset += len(piece)
        log_writer.append(piece)
        for _ in range(rng.randint(0, 2)):
            writer.advance(rng.choice((1, 300, 8000, 1 << 23)))
        if rng.random() < 0.1:
            writer.close()  # another session continues the index
            writer = IndexWriter(run)
    while not writer.advance():
        pass
    assert writer.problem is None
    writer.close()
    in_pieces = index_path(run).read_bytes()
    index_path(run).unlink()
    assert write_index(run) == in_pieces
    assert contents(Series.load(run)) == contents_without_index(run)


@pytest.mark.parametrize("seed", range(8, 16))
def test_the_next_writer_repairs_a_truncated_index(seed: int, run: RunDir, make_log_writer: Any) -> None:
    log_writer = make_log_writer(run, seed)
    log, rng = log_writer.random_log(1500), log_writer.random
    for cut in sorted(rng.randrange(len(log)) for _ in range(8)):
        done = run.events.stat().st_size if run.events.exists() else 0
        log_writer.append(log[done:cut])
        writer = IndexWriter(run)
        while not writer.advance():
            pass
        writer.close()
        if index_path(run).exists():
            size = index_path(run).stat().st_size
            os.truncate(index_path(run), max(0, size - rng.choice((0, 1, 7, 8, 100, ROW_BYTES, 2 * ROW_BYTES + 3))))
            assert contents(Series.load(run)) == contents_without_index(run)
    log_writer.append(log[run.events.stat().st_size :])
    repaired = write_index(run)
    index_path(run).unlink()
    assert write_index(run) == repaired


@pytest.fixture
def indexed_run(run: RunDir, make_log_writer: Any) -> RunDir:
    """A run with an index of about a dozen rows, and steps that are not in the index yet."""
    log_writer = make_log_writer(run, 3)
    log_writer.begin(1, 0)
    log_writer.steps(1, 500)
    log_writer.eval(500)
    log_writer.checkpoint(500)
    log_writer.begin(2, 300)
    log_writer.steps(301, 390)
    log_writer.eval(390, 2.5)
    log_writer.steps(391, 430)
    log_writer.steps(420, 660)
    write_index(run)
    return run


def test_a_series_reads_the_index_instead_of_the_log_where_its_rows_suffice(indexed_run: RunDir) -> None:
    before = {px: Series.load(indexed_run).window(px=px) for px in (1, 3, 6, 9)}
    log = bytearray(indexed_run.events.read_bytes())
    start = log.index(b"\n") + 1
    end = log.index(b'"step":250,')
    log[start:end] = b"x" * (end - start - 1) + b"\n"
    indexed_run.events.write_bytes(log)
    after = Series.load(indexed_run)
    assert len(after) == 660
    for px, points in before.items():
        assert after.window(px=px) == points
    index_path(indexed_run).unlink()
    assert len(Series.load(indexed_run)) < 500, "the log is not damaged"


def test_the_index_is_smaller_than_five_percent_of_the_log(run: RunDir, log_writer: Any) -> None:
    log_writer.begin(1, 0)
    log_writer.steps(1, 4000)
    assert len(write_index(run)) < 0.05 * run.events.stat().st_size


def test_damaged_rows_are_never_used(indexed_run: RunDir) -> None:
    rng, whole, truth = random.Random(1), index_path(indexed_run).read_bytes(), contents_without_index(indexed_run)
    damaged_versions = []
    for offset in [*range(70), *(rng.randrange(70, len(whole)) for _ in range(300))]:
        damaged = bytearray(whole)
        damaged[offset] ^= 1 << rng.randrange(8)
        damaged_versions.append(bytes(damaged))
    for size in (0, 1, 15, 16, 63, 64, 65, ROW_BYTES, 64 + ROW_BYTES - 1, 64 + ROW_BYTES, len(whole) // 2, len(whole)):
        tails = (b"\0" * ROW_BYTES, b"\xff" * 3 * ROW_BYTES, whole[64 : 64 + ROW_BYTES], b"")
        damaged_versions += [whole[:size] + tail for tail in tails]
    for number, bad in enumerate(damaged_versions):
        index_path(indexed_run).write_bytes(bad)
        assert whole[64:].startswith(read_index(indexed_run)), number
        if number % 40 == 0:
            assert contents(Series.load(indexed_run)) == truth, number


def test_rows_before_the_damage_are_kept(indexed_run: RunDir) -> None:
    whole = index_path(indexed_run).read_bytes()
    damaged = bytearray(whole)
    damaged[64 + 5 * ROW_BYTES + 20] ^= 1
    index_path(indexed_run).write_bytes(damaged)
    assert read_index(indexed_run) == whole[64 : 64 + 5 * ROW_BYTES]


def test_an_index_of_another_version_is_ignored_and_replaced(
    indexed_run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, truth = index_path(indexed_run).read_bytes(), contents_without_index(indexed_run)
    monkeypatch.setattr(index_file, "_VERSION", 99)
    assert read_index(indexed_run) == b""
    assert contents(Series.load(indexed_run)) == truth
    renewed = write_index(indexed_run)
    assert renewed != whole
    assert len(renewed) == len(whole)
    monkeypatch.undo()
    assert read_index(indexed_run) == b"", "rows of an unknown version are read"
    assert write_index(indexed_run) == whole


def test_the_index_of_another_run_is_ignored_and_replaced(
    indexed_run: RunDir, tmp_path: Path, make_log_writer: Any
) -> None:
    other = RunDir(tmp_path / "other")
    other.path.mkdir()
    log_writer = make_log_writer(other, 4)
    log_writer.begin(1, 0)
    log_writer.steps(1, 700)
    index_path(other).write_bytes(index_path(indexed_run).read_bytes())
    assert read_index(other) == b""
    truth = contents_without_index(other)
    assert contents(Series.load(other)) == truth
    write_index(other)
    assert contents(Series.load(other)) == truth


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_rows_beyond_the_end_of_a_truncated_log_are_not_used(share: float, indexed_run: RunDir) -> None:
    log = indexed_run.events.read_bytes()
    indexed_run.events.write_bytes(log[: int(share * len(log))])
    truth = contents_without_index(indexed_run)
    assert contents(Series.load(indexed_run)) == truth
    writer = IndexWriter(indexed_run)
    while not writer.advance():
        pass
    assert writer.problem is None
    writer.close()
    assert contents(Series.load(indexed_run)) == truth


def test_rows_of_a_log_that_was_truncated_and_continued_differently_are_not_used(
    indexed_run: RunDir, make_log_writer: Any
) -> None:
    log = indexed_run.events.read_bytes()
    indexed_run.events.write_bytes(log[: log.index(b'"step":400,')] + b"\n")
    log_writer = make_log_writer(indexed_run, 9)
    log_writer.begin(3, 350)
    log_writer.steps(351, 800)
    truth = contents_without_index(indexed_run)
    assert contents(Series.load(indexed_run)) == truth
    write_index(indexed_run)
    assert contents(Series.load(indexed_run)) == truth


def test_without_a_log_there_is_no_index(indexed_run: RunDir) -> None:
    indexed_run.events.unlink()
    assert read_index(indexed_run) == b""
    assert len(Series.load(indexed_run)) == 0
    assert IndexWriter(indexed_run).advance()
    indexed_run.events.write_bytes(b"")
    assert len(Series.load(indexed_run)) == 0
    indexed_run.events.write_bytes(b'{"kind":"run","t":1.0')
    assert len(Series.load(indexed_run)) == 0
    assert IndexWriter(indexed_run).advance()


def deleted(run: RunDir) -> None:
    index_path(run).unlink()


def emptied(run: RunDir) -> None:
    index_path(run).write_bytes(b"")


def replaced(run: RunDir) -> None:
    index_path(run).unlink()
    index_path(run).write_bytes(b"something else\n" * 5000)


@pytest.mark.parametrize("change", [deleted, emptied, replaced])
def test_an_index_that_is_deleted_or_changed_under_its_writer_is_written_again(
    change: Callable[[RunDir], None], run: RunDir, log_writer: Any
) -> None:
    log_writer.begin(1, 0)
    log_writer.steps(1, 1000)
    writer = IndexWriter(run)
    writer.advance()
    change(run)
    log_writer.steps(1001, 1200)
    while not writer.advance():
        pass
    writer.close()
    renewed = index_path(run).read_bytes()
    assert len(read_index(run)) == (1 + 1200 // STEPS_A_ROW) * ROW_BYTES
    index_path(run).unlink()
    assert write_index(run) == renewed


def test_a_writer_that_cannot_write_gives_the_reason_and_retries(
    run: RunDir, log_writer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_writer, "_RETRY_S", 0.05)
    log_writer.begin(1, 0)
    log_writer.steps(1, 200)
    index_path(run).mkdir()
    writer = IndexWriter(run)
    assert writer.advance()
    assert "directory" in (writer.problem or "")
    assert len(Series.load(run)) == 200
    index_path(run).rmdir()
    until(lambda: writer.advance() and index_path(run).exists())  # it waits a moment before it tries again
    assert writer.problem is None
    assert len(read_index(run)) == 4 * ROW_BYTES
    writer.close()


def test_a_full_disk_leaves_the_written_rows_intact(
    small_disk: Path, make_log_writer: Any, fill: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_writer, "_RETRY_S", 0.0)
    run = RunDir(small_disk / "run")
    run.path.mkdir()
    log_writer = make_log_writer(run, 2)
    log_writer.begin(1, 0)
    log_writer.steps(1, 4000)
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
    assert contents(Series.load(run)) == contents_without_index(run)
    filler.unlink()
    while not writer.advance():
        pass
    assert writer.problem is None
    assert len(read_index(run)) == (1 + 4000 // STEPS_A_ROW) * ROW_BYTES
    writer.close()


def job(path: Path, first: int) -> None:
    """A session that logs steps as fast as it can until it is killed."""
    step = first
    with Session(path, heartbeat_s=0.001) as session:
        session.emit(events.Run(status="running", session=session.number, step=first, steps=10**6))
        while True:
            step += 1
            loss = math.sin(step) + 2
            session.emit(events.Step(step=step, loss=loss, lr=0.1, grad_norm=1.0, tokens=9 * step, step_s=0.1))
            if step % 50 == 0:
                time.sleep(0.001)


def test_jobs_that_are_killed_repeatedly_leave_a_correct_index(
    run: RunDir, truth_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "POLL_S", 0.002)
    rng, first = random.Random(5), 0
    for _ in range(3):
        before = index_path(run).stat().st_size if index_path(run).exists() else 0
        child = multiprocessing.get_context("fork").Process(target=job, args=(run.path, first))
        child.start()

        def grown(before: int = before) -> bool:
            Series.load(run).window()
            return index_path(run).exists() and index_path(run).stat().st_size > before + 2 * ROW_BYTES

        until(grown, told=lambda: "no index is written")
        time.sleep(rng.random() * 0.05)
        os.kill(child.pid or 0, signal.SIGKILL)
        child.join()
        truth = truth_of(run.events.read_bytes())
        assert len(read_index(run)) > 0
        series = Series.load(run)
        assert len(series) == len(truth.steps)
        assert [p.mean for p in series.window(px=10**6)] == [step.loss for step in truth.steps]
        assert contents(series) == contents_without_index(run)
        first = rng.randint(0, truth.steps[-1].step)
