"""A log that any version of schema 1 wrote can still be read, with the same meaning."""

from __future__ import annotations

import json
import math
from pathlib import Path

import msgspec
import pytest

from seedbed.events import KINDS, SCHEMA, Record, decode, encode
from seedbed.runs.curves.series import Series
from seedbed.runs.log import Reader
from seedbed.runs.store import RunDir
from seedbed.runs.summary import summary
from seedbed.runs.view import view_of

GOLDEN = Path(__file__).parent / "golden" / "events_v1.jsonl"


@pytest.fixture
def records() -> list[Record]:
    return list(Reader(GOLDEN).new())


def test_every_kind_is_in_the_golden_file_and_every_line_is_decoded(records: list[Record]) -> None:
    assert {record.kind for record in records} == KINDS.keys()
    assert [record.n for record in records] == list(range(len(records)))
    for record in records:
        assert record.event is not None, record
        # A field that the types no longer have would be dropped silently.
        assert record.raw.keys() <= set(record.event.__struct_fields__), record.kind


def test_golden_events_are_still_encoded_to_the_same_lines(records: list[Record]) -> None:
    assert SCHEMA == 1
    for line, record in zip(GOLDEN.read_bytes().splitlines(), records, strict=True):
        assert record.event is not None
        again = json.loads(encode(record.event, record.n, record.t))
        written = json.loads(line)
        assert {key: again[key] for key in written} == written
        assert list(again)[:4] == ["v", "n", "t", "kind"]


def test_the_golden_log_still_gives_the_same_summary(records: list[Record]) -> None:
    view = view_of(records[:20])
    found = summary(view)
    expected = {
        "reason": "Out of memory.",
        "session": 2,
        "step": 3,
        "steps": 700,
        "loss": 7.1,
        "val_loss": 7.5,
        "best_step": 2,
        "tokens": 12288,
        "device": "cpu",
        "precision": "bf16",
        "pid": 4300,
        "checkpoint_step": 2,
        "started": 1795248903.25,
    }
    assert {key: found[key] for key in expected} == expected
    assert view.status == "failed"
    assert found["elapsed_s"] == pytest.approx(7.25 + 2.0)
    assert found["epoch"] == pytest.approx(3 / 240.5)


def test_the_golden_log_still_gives_the_same_codes_clock_and_open_metrics(records: list[Record]) -> None:
    waiting, simulated, ended = view_of(records[:22]), view_of(records[:27]), view_of(records)
    assert (waiting.status, waiting.waits_for) == ("queued", "20261121-101010-000-first")
    assert simulated.code == "asked"
    assert simulated.elapsed_s - waiting.elapsed_s == pytest.approx(3600.0)
    assert simulated.metrics == {"goodput": 0.93, "mfu": None, "val_accuracy": 0.125}
    assert (ended.status, ended.code) == ("stopped", "not-resumed")
    assert (summary(simulated)["num_nodes"], summary(ended)["num_nodes"]) == (None, 2048)


def test_a_missing_number_in_a_step_is_read_as_nan(records: list[Record], tmp_path: Path) -> None:
    step = records[7].event
    assert step is not None
    assert math.isnan(msgspec.structs.asdict(step)["loss"])
    run = RunDir(tmp_path)
    run.events.write_bytes(GOLDEN.read_bytes())
    series = Series.load(run)
    assert [(point.x, point.num_odd) for point in series.window()] == [(1, 0), (2, 1), (3, 0), (4, 0)]


def test_lines_of_a_later_schema_version_keep_their_raw_fields() -> None:
    record = decode(b'{"v":2,"n":1,"t":1.0,"kind":"step","step":"three"}')
    assert record is not None
    assert record.event is None
    assert record.raw == {"step": "three"}
