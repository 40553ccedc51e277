"""Times that people type."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.config.durations import seconds_of, short


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("20m", 1200),
        ("8h", 28800),
        ("2d", 172800),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("1.5h", 5400),
        ("20 minutes", 1200),
        ("1 hour", 3600),
        ("20MIN", 1200),
        (".5m", 30),
        ("0s", 0),
    ],
)
def test_times_with_units_are_read(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "empty"),
        ("20", "unit is missing"),
        ("2 parsecs", "Unknown unit of time 'parsecs'"),
        ("-5m", "must be above 0"),
        ("m", "not a time"),
        ("1h20", "unit is missing"),
        ("30m1h", "smaller"),
        ("1m 1m", "smaller"),
        ("1e3h", "Unknown unit of time 'e'"),
    ],
)
def test_other_texts_are_refused_with_the_reason(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        seconds_of(text)


@given(st.integers(0, 10**7))
def test_what_is_written_is_read_back(seconds: int) -> None:
    assert seconds_of(short(seconds)) == seconds
