"""A plan as text."""

from __future__ import annotations

import pytest

from seedbed.presentation.plan import span

DAY = 86_400


@pytest.mark.parametrize(
    ("low_s", "high_s", "text"),
    [
        (12.1, 14.8, "12.1 to 14.8 s"),
        (0.95, 1.1, "0.95 to 1.1 s"),
        (0.8, 1.1, "800 to 1,100 ms"),
        (50, 75, "0.833 to 1.25 minutes"),
        (0.9 * DAY, 1.3 * DAY, "0.9 to 1.3 days"),
        (16.34 * DAY, 21.4 * DAY, "16.3 to 21.4 days"),
        (600 * DAY, 1000 * DAY, "1.64 to 2.74 years"),
        (2.0, 2.0, "2 to 2 s"),
    ],
)
def test_an_interval_is_in_one_unit(low_s: float, high_s: float, text: str) -> None:
    assert span(low_s, high_s) == text
