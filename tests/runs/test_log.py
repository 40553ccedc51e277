"""An event log is read while it grows, also with partial and invalid lines."""

from __future__ import annotations

from pathlib import Path

from seedbed import events
from seedbed.events import encode
from seedbed.runs.log import Reader


def line(n: int) -> bytes:
    return encode(events.Message(level="info", code="x", text=f"number {n}"), n, float(n))


def test_only_new_and_complete_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    reader = Reader(path)
    assert list(reader.new()) == [], "a missing log is empty"
    path.write_bytes(line(0) + line(1)[:20])
    assert [record.n for record in reader.new()] == [0]
    with path.open("ab") as log:
        log.write(line(1)[20:] + line(2))
    assert [record.n for record in reader.new()] == [1, 2]
    assert list(reader.new()) == []


def test_partial_and_invalid_lines_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(line(0) + line(1)[:15] + b"\n" + b"\xff\x00\n[1]\n\n" + line(2))
    assert [record.n for record in Reader(path).new()] == [0, 2]


def test_records_are_read_up_to_a_given_offset(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(line(0) + line(1) + line(2))
    end = len(line(0) + line(1))
    reader = Reader(path)
    assert [record.n for record in reader.new(end)] == [0, 1]
    assert [record.n for record in reader.new()] == [2]


def test_all_records_of_a_log_larger_than_a_block_are_read(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join(line(n) for n in range(80_000)))
    assert path.stat().st_size > 4 << 20
    assert [record.n for record in Reader(path).new()] == list(range(80_000))
