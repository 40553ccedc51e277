"""Waiting in tests."""

from __future__ import annotations

import time

import pytest

import patience


def test_a_condition_that_comes_true_late_is_waited_for() -> None:
    looks = iter([None, 0, "", "found"])
    assert patience.until(lambda: next(looks)) == "found"


def test_what_never_comes_true_fails_and_says_what_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "slowness", lambda: 1.0)
    with pytest.raises(AssertionError, match="the queue is empty"):
        patience.until(lambda: False, 0.01, lambda: "the queue is empty")


def test_a_machine_that_becomes_busy_while_one_waits_gets_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    factors = iter([1.0, 1000.0, 1000.0])
    monkeypatch.setattr(patience, "slowness", lambda: next(factors))
    end = time.monotonic() + 0.2
    assert patience.until(lambda: time.monotonic() > end, 0.01)


def test_limits_grow_with_the_time_of_the_reference_work() -> None:
    assert patience.slowness() >= 1.0
    assert patience.limit(3.0) >= 3.0 * patience.slowness()
