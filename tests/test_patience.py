"""patience.py: waiting for a condition, with limits that depend on the machine's speed."""

from __future__ import annotations

import ast
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, settings

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


def test_work_in_proportion_is_told_from_quadratic_work(monkeypatch: pytest.MonkeyPatch) -> None:
    used = 0.0

    def work(size: int, power: int) -> None:
        nonlocal used
        used += (size / 1000) ** power

    monkeypatch.setattr(patience, "time", SimpleNamespace(process_time=lambda: used))
    patience.assert_linear_time(lambda size: work(size, 1), 1000)
    with pytest.raises(AssertionError, match=r"take 16\.00 s"):
        patience.assert_linear_time(lambda size: work(size, 2), 1000)


def test_no_random_example_fails_because_the_machine_is_slow() -> None:
    """Hypothesis limits the time of an example, and of making it, where it is not told otherwise."""
    assert settings.default.deadline is None
    assert HealthCheck.too_slow in settings.default.suppress_health_check
    for path in sorted(Path(__file__).parent.rglob("test_*.py")):
        for call in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "settings":
                given = {each.arg: ast.unparse(each.value) for each in call.keywords}
                assert given.get("deadline", "None") == "None", f"{path}:{call.lineno}"
                assert "too_slow" in given.get("suppress_health_check", "too_slow"), f"{path}:{call.lineno}"
