"""Reading in ranges: every line once, in order, by one process or several."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seedbed.curation.drops import Drops
from seedbed.curation.splitting import ranges
from seedbed.curation.splitting.assign import EVAL
from seedbed.curation.splitting.ledger import encode_line
from seedbed.curation.splitting.ranges import computed, ranges_of, read_parts
from seedbed.curation.splitting.split import SplitOptions, split
from seedbed.errors import SeedbedError
from split_rows import fim, prose, text_row, write


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.integers(0, 300), max_size=12), st.integers(1, 2000))
def test_every_line_is_in_one_range(tmp_path: Path, lengths: list[int], size: int) -> None:
    part = write(tmp_path / "rows.jsonl", [text_row("x" * length) for length in lengths])
    found = [each for lines in ranges_of([part], size) for each in lines.records()]
    assert [len(record.text or "") for _, record in found] == lengths
    content = part.read_bytes()
    assert all(content[offset - 1 : offset] in (b"", b"\n") for offset, _ in found)
    assert [offset for offset, _ in found] == [offset for _, offset, _ in read_parts([part], lambda _: None)]


def test_a_bad_line_is_named_by_its_number_in_the_file(tmp_path: Path) -> None:
    part = write(tmp_path / "rows.jsonl", [text_row("x" * 50)] * 20)
    part.write_bytes(part.read_bytes() + b"[]\n")
    with pytest.raises(SeedbedError, match="Line 21 of"):
        [list(lines.records()) for lines in ranges_of([part], 1000)]


def test_several_processes_find_what_one_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "ranges_of", lambda parts: ranges_of(parts, 20_000))
    rng = random.Random(1)
    records = [fim(text := prose(rng, 60), 50, len(text) - 50, f"{n // 3}.py") for n in range(120)]
    records += [text_row((each.prefix or "") + (each.middle or "")) for each in records[:20]]
    parts = [write(tmp_path / "a.jsonl", records[:70]), write(tmp_path / "b.jsonl", records[70:])]
    read: list[int] = []
    one, two = (split(parts, SplitOptions(workers=workers), Drops(), read.append) for workers in (1, 2))
    assert one.split.tolist() == two.split.tolist()
    assert one.group.tolist() == two.group.tolist()
    assert one.leakage == two.leakage
    assert one.ledger == two.ledger
    assert sum(read) % sum(part.stat().st_size for part in parts) == 0


def test_rows_that_show_old_answers_are_found_in_every_range(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(2)
    records = [text_row(prose(rng, 60)) for _ in range(60)]
    part, ledger = write(tmp_path / "rows.jsonl", records), tmp_path / "ledger.jsonl"
    first = split([part], SplitOptions(), Drops(), lambda _: None)
    ledger.write_bytes(b"".join(encode_line(each) for each in first.ledger))
    evaluated = [each for each, where in zip(records, first.split, strict=True) if where == EVAL]
    quoting = [text_row(f"{prose(rng, 10)} {each.text} {prose(rng, 10)}") for each in evaluated]
    others = [text_row(prose(rng, 60)) for _ in range(30)]
    part = write(tmp_path / "rows.jsonl", [*others, *quoting])  # the evaluated rows are gone; their answers are not
    whole = split([part], SplitOptions(ledger=ledger), Drops(), lambda _: None)
    monkeypatch.setattr(ranges, "ranges_of", lambda parts: ranges_of(parts, 5_000))
    cut = split([part], SplitOptions(ledger=ledger), Drops(), lambda _: None)
    assert len(ranges_of([part], 5_000)) > 3
    assert whole.split.tolist() == cut.split.tolist()
    assert len(evaluated) >= 5
    assert all(where == EVAL for where in cut.split[len(others) :])


def count(lines: ranges.Range) -> int:
    return sum(1 for _ in lines.records())


def test_a_report_that_raises_ends_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "ranges_of", lambda parts: ranges_of(parts, 1000))
    part = write(tmp_path / "rows.jsonl", [text_row("x" * 50)] * 200)

    def stop(_: int) -> None:
        raise InterruptedError

    for workers in (1, 2):
        with pytest.raises(InterruptedError):
            list(computed([part], count, stop, workers))
