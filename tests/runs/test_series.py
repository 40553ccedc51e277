"""Curves keep every spike in bounded memory and forget what a later session voids."""

from __future__ import annotations

import math

import pytest

from seedbed import events
from seedbed.events import Event, Record, decode, encode
from seedbed.runs.series import Series


def record(event: Event) -> Record:
    made = decode(encode(event, 0, 0.0))
    assert made is not None
    return made


def step(number: int, loss: float) -> Record:
    return record(events.Step(step=number, loss=loss, lr=0.1, grad_norm=1.0, tokens=number, step_s=0.1))


def test_a_spike_of_one_step_in_many_stays() -> None:
    series = Series()
    for number in range(1, 50_001):
        series.add(step(number, 99.0 if number == 31_337 else 2.0))
    assert len(series.buckets) <= 2048
    assert sum(bucket.num for bucket in series.buckets) == 50_000
    assert max(bucket.high for bucket in series.buckets) == 99.0
    (line,) = series.lines(smoothed=100)
    assert line.high is not None
    assert max(line.high) == 99.0
    assert len(line.x) <= 101
    assert list(line.x) == sorted(line.x)


def test_what_is_voided_is_dropped() -> None:
    series = Series()
    for number in range(1, 101):
        series.add(step(number, 100.0 - number))
        if number % 20 == 0:
            series.add(record(events.Eval(step=number, loss=1.0, perplexity=math.e, tokens=1)))
    series.add(record(events.Run(status="running", session=2, step=40, steps=200)))
    assert series.buckets[-1].last == 40
    assert [at for at, _ in series.scores] == [20, 40]
    series.add(step(41, 7.0))
    training, validation = series.lines()
    assert training.y[-1] == pytest.approx(7.0)
    assert list(validation.x) == [20, 40]


def test_a_hello_alone_voids_nothing() -> None:
    series = Series()
    series.add(step(1, 2.0))
    series.add(record(events.Run(status="running", session=2)))
    assert len(series.buckets) == 1


def test_a_loss_that_is_no_number_is_left_out() -> None:
    series = Series()
    series.add(step(1, math.nan))
    assert series.lines() == []
