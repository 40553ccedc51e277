"""A run's log in lines: the last lines of a long log without reading all of it, then the new lines at each call."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from seedbed.events import Eval, Event, Message, Record, Run, Step, decode, encode
from seedbed.presentation.log import Narrator, RunLog
from seedbed.runs.store import RunDir, Store
from seedbed.runs.view import View


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return Store(tmp_path).create("train", "alpha", "", {})


def step(number: int) -> Step:
    return Step(step=number, loss=2.0, lr=0.1, grad_norm=1.5, tokens=100 * number, step_s=1.0)


def write(run: RunDir, timed: list[tuple[float, Event]]) -> None:
    with run.events.open("ab") as log:
        log.write(b"".join(encode(event, n, t) for n, (t, event) in enumerate(timed)))


def begin(steps: int) -> list[tuple[float, Event]]:
    return [
        (1000.0, Run(status="running", session=1, pid=7)),
        (1000.0, Run(status="running", session=1, steps=steps, device="cpu", tokens_per_step=100)),
    ]


def test_progress_lines_become_rarer_until_there_is_one_a_minute() -> None:
    narrator, view = Narrator(), View()
    times: list[float] = []
    for n, (t, event) in enumerate([*begin(9000), *((1000.0 + number, step(number)) for number in range(1, 9001))]):
        record = decode(encode(event, n, t))
        assert isinstance(record, Record)
        view.add(record)
        if narrator.tell(record, view) and isinstance(event, Step):
            times.append(t - 1000)
    gaps = [after - before for before, after in pairwise(times)]
    assert times[0] == 1
    assert gaps[0] == 5
    assert gaps == sorted(gaps)
    assert set(gaps[-20:]) == {60}


def test_progress_lines_continue_after_the_clock_was_set_back() -> None:
    narrator, view = Narrator(), View()
    count = 0
    for t in (1000.0, 1006.0, 10.0, 16.0):
        record = decode(encode(step(1), 0, t))
        assert record is not None
        view.add(record)
        count += len(narrator.tell(record, view))
    assert count == 4


def test_the_last_lines_of_a_long_log_are_found_without_reading_all_of_it(run: RunDir) -> None:
    events = begin(30_000)
    for number in range(1, 30_001):
        events.append((1000.0 + number, step(number)))
        if number % 5000 == 0:
            events.append((1000.0 + number, Eval(step=number, loss=1.0, perplexity=2.7, tokens=5)))
    write(run, events)
    whole = RunLog(run).new()
    assert len(whole) > 400
    short = RunLog(run, 40)
    lines = short.new()
    assert len(lines) == 40
    assert (
        lines[-1].text == whole[-1].text == "validation at step 30000: loss 1.0000, perplexity 2.70, over all 5 tokens"
    )
    assert short._view.started != whole[0].t, "all of the log was read"
    progress = [line.text for line in lines if line.text.startswith("step ")]
    assert all("/30000" in line and "tok/s" in line for line in progress[1:]), "the horizon is missing"
    write(run, [(50_000.0, Message(level="warning", code="x", text="It is late."))])
    assert [line.text for line in short.new()] == ["warning: It is late."]
    assert short.new() == []


def test_an_unfinished_printed_line_is_returned_only_once_the_run_has_ended(run: RunDir) -> None:
    log = RunLog(run)
    assert log.new() == []
    run.log.write_bytes(b"one\ntw")
    assert [line.raw for line in log.new()] == [b"one\n"]
    with run.log.open("ab") as handle:
        handle.write(b"o\nthr\x1b[31mee\r4")
    assert [line.raw for line in log.new()] == [b"two\n"]
    (last,) = log.new(ended=True)
    assert (last.raw, last.text) == (b"thr\x1b[31mee\r4", "4")
    assert log.new(ended=True) == []
    run.log.write_bytes(b"new\n")
    assert [line.text for line in log.new()] == ["new"], "a log that replaced the old one is not read from its start"


def test_a_long_progress_bar_without_a_newline_is_returned_before_the_end(run: RunDir) -> None:
    log = RunLog(run)
    run.log.write_bytes(b"\r".join(b"%d%% done" % number for number in range(20_000)))
    assert [line.text for line in log.new()] == ["19999% done"]


def test_a_printed_line_without_a_time_has_the_time_of_the_line_before(run: RunDir) -> None:
    run.log.write_bytes(b"early\n2023-11-14 22:13:20+00:00  one\ntwo\n2023-11-14 22:13:25+00:00  three\r4\n")
    lines = RunLog(run).new()
    assert [(line.t, line.text) for line in lines] == [
        (None, "early"),
        (1_700_000_000.0, "one"),
        (1_700_000_000.0, "two"),
        (1_700_000_005.0, "4"),
    ]
    assert [line.raw for line in lines] == [b"early\n", b"one\n", b"two\n", b"three\r4\n"]
    (last,) = RunLog(run, 1).new()
    assert last == lines[-1]
    assert RunLog(run, 2).new() == lines[-2:], "the first line lacks the time of the line before it"
