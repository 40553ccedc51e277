"""Tests of reading rows in ranges: no line is lost or read twice, and several processes find what one finds."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from seedbed.curation.drops import Drops
from seedbed.curation.record import encode
from seedbed.curation.splitting import ranges
from seedbed.curation.splitting.split import SplitOptions, split
from seedbed.errors import SeedbedError
from split_rows import chat, prose, text_row, windows

SOURCES = Path(__file__).resolve().parents[3] / "src" / "seedbed" / "curation"


def test_every_line_is_read_once_whatever_the_size_of_ranges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(1)
    lines = [encode(text_row(prose(rng, rng.randint(1, 60)))) for _ in range(50)]
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\n".join(lines))  # without a newline at its end
    starts = [0, *np.cumsum([len(line) + 1 for line in lines])[:-1].tolist()]
    for size in (1, 7, 100, 1000, 1 << 20):
        monkeypatch.setattr(ranges, "RANGE_BYTES", size)
        found = [each for one in ranges.ranges_of([path]) for each in one.records()]
        assert [offset for offset, _ in found] == starts
        assert [encode(record) for _, record in found] == lines


def test_several_processes_give_the_same_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "RANGE_BYTES", 1 << 16)
    rng = random.Random(2)
    records = [
        row
        for path in sorted(SOURCES.rglob("*.py"))[:60]
        if len(text := path.read_text()) > 400
        for row in windows(text, path.name, rng)
    ]
    records += [chat(prose(rng, 30), prose(rng, 40), source="sharegpt") for _ in range(60)]
    paths = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    for path, rows in zip(paths, (records[:100], records[100:]), strict=True):
        path.write_bytes(b"".join(encode(row) + b"\n" for row in rows))
    read = [0, 0]

    def result_with(workers: int) -> tuple[bytes, bytes, object]:
        def report(size: int) -> None:
            read[workers - 1] += size

        found = split(paths, SplitOptions(workers=workers, eval_fraction=0.3), Drops(), report, tmp_path)
        return found.split.tobytes(), found.group.tobytes(), (found.leakage, found.ledger)

    assert result_with(2) == result_with(1)
    assert read[0] == read[1] >= 2 * sum(path.stat().st_size for path in paths)


def test_a_damaged_line_is_named_by_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(encode(text_row("a")) + b"\n{half\n")
    (whole,) = ranges.ranges_of([path])
    with pytest.raises(SeedbedError, match="Line 2 of"):
        list(whole.records())
    monkeypatch.setattr(ranges, "RANGE_BYTES", path.stat().st_size - 6)
    with pytest.raises(SeedbedError, match="line at byte"):
        list(ranges.ranges_of([path])[1].records())
