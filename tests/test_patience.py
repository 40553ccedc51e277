"""patience.py: waiting for a condition, with limits that depend on the machine's speed."""

from __future__ import annotations

import time

import pytest

import patience


def test_until_waits_for_a_condition_that_becomes_true_later() -> None:
    results = iter([None, 0, "", "found"])
    assert patience.until(lambda: next(results)) == "found"


def test_until_fails_with_the_given_message_when_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "slowness", lambda: 1.0)
    with pytest.raises(AssertionError, match="the queue is empty"):
        patience.until(lambda: False, 0.01, lambda: "the queue is empty")


def test_until_extends_the_limit_when_the_machine_becomes_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    factors = iter([1.0, 1000.0, 1000.0])
    monkeypatch.setattr(patience, "slowness", lambda: next(factors))
    end = time.monotonic() + 0.2
    assert patience.until(lambda: time.monotonic() > end, 0.01)


def test_limits_grow_with_the_time_of_the_reference_work() -> None:
    assert patience.slowness() >= 1.0
    assert patience.limit(3.0) >= 3.0 * patience.slowness()
