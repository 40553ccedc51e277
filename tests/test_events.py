"""Event lines: encoding and decoding, unknown kinds and fields, and truncated lines."""

from __future__ import annotations

import json
import math
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed import events
from seedbed.events import Eval, Message, Run, Step

STEP = Step(step=3, loss=2.5, lr=0.01, grad_norm=1.25, tokens=768, step_s=0.05)


def test_a_step_is_one_flat_line_with_every_field() -> None:
    line = events.encode(STEP, 7, 1000.5)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert json.loads(line) == {
        "v": 1, "n": 7, "t": 1000.5, "kind": "step", "step": 3, "loss": 2.5, "lr": 0.01, "grad_norm": 1.25,
        "tokens": 768, "step_s": 0.05,
    }  # fmt: skip


@pytest.mark.parametrize(
    "event",
    [
        STEP,
        Eval(step=1, loss=1.0, perplexity=math.e, tokens=10, best=True),
        Run(status="running", session=2, pid=4, versions={"torch": "2"}),
        Message(level="warning", code="x", text="line\nbreak \x1b[31m"),
    ],
)
def test_an_event_survives_a_round_trip(event: events.Event) -> None:
    record = events.decode(events.encode(event, 1, 2.0))
    assert record is not None
    assert record.event == event
    assert (record.n, record.t, record.kind) == (1, 2.0, event.kind)


def test_a_nan_loss_survives_json() -> None:
    line = events.encode(Step(step=1, loss=math.nan, lr=0, grad_norm=math.inf, tokens=1, step_s=0), 0, 0.0)
    json.loads(line, parse_constant=lambda constant: pytest.fail(f"{constant} is not JSON"))
    record = events.decode(line)
    assert record is not None
    assert isinstance(record.event, Step)
    assert math.isnan(record.event.loss)


def test_unknown_kinds_and_fields_are_accepted() -> None:
    future = events.decode(b'{"v":2,"n":1,"t":1.0,"kind":"hologram","depth":3}')
    assert future is not None
    assert future.event is None
    assert future.raw == {"depth": 3}
    wider = events.decode(b'{"v":1,"n":1,"t":1,"kind":"sample","step":1,"prompt":"a","text":"b","mood":"good"}')
    assert wider is not None
    assert wider.event is not None


@pytest.mark.parametrize(
    "line", [b"", b"{", b"[1]", b'{"no":"kind"}', b"\xff\xfe", b'{"kind":3}', b'{"kind":"step","n":"x"}']
)
def test_truncated_and_invalid_lines_decode_to_none(line: bytes) -> None:
    assert events.decode(line) is None


@given(st.binary(max_size=200))
def test_random_bytes_do_not_crash_the_decoder(noise: bytes) -> None:
    events.decode(noise)


def test_a_known_kind_with_invalid_fields_keeps_its_raw_fields() -> None:
    record = events.decode(b'{"v":1,"n":1,"t":1.0,"kind":"step","step":"three"}')
    assert record is not None
    assert record.event is None
    assert record.raw["step"] == "three"


def test_a_file_name_that_is_not_utf_8_is_escaped_in_an_event() -> None:
    name = os.fsdecode(b"caf\xe9.txt")
    line = events.encode(Run(status="failed", session=1, reason=name, versions={name: name}), 1, 2.0)
    record = events.decode(line)
    assert record is not None
    assert isinstance(record.event, Run)
    assert record.event.reason == "caf\\xe9.txt"
    assert record.event.versions == {"caf\\xe9.txt": "caf\\xe9.txt"}


@pytest.mark.parametrize(
    ("status", "reason", "code", "waits_for"),
    [
        ("paused", "asked to pause", "asked", None),
        ("paused", "The disk is full: not even the log can be written.", "storage", None),
        ("queued", 'It waits for "a (b)" (20261121-101010-000-a-b).', None, "20261121-101010-000-a-b"),
        ("queued", "It waits.", None, None),
        ("completed", "The run was not resumed: it was stopped before it trained a step.", "not-resumed", None),
        ("failed", "Out of memory.", None, None),
    ],
)
def test_codes_are_derived_for_logs_that_were_written_without_them(
    status: str, reason: str, code: str | None, waits_for: str | None
) -> None:
    record = events.decode(events.encode(Run(status=status, session=1, reason=reason), 0, 1.0))
    assert record is not None
    assert isinstance(record.event, Run)
    assert (record.event.code, record.event.waits_for) == (code, waits_for)


def test_a_written_code_is_not_derived_from_the_reason() -> None:
    record = events.decode(
        events.encode(Run(status="paused", session=1, code="storage", reason="asked to pause"), 0, 1.0)
    )
    assert record is not None
    assert isinstance(record.event, Run)
    assert record.event.code == "storage"
