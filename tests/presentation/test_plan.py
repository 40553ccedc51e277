"""A plan as text."""

from __future__ import annotations

import pytest

from seedbed.presentation.plan import period, span

DAY = 86_400


@pytest.mark.parametrize(
    ("low_s", "high_s", "text"),
    [
        (12.1, 14.8, "12s to 15s"),
        (0.66, 0.86, "0.66s to 0.86s"),
        (50, 75, "50s to 1m 15s"),
        (55 * 60, 73 * 60, "55m 00s to 1h 13m"),
        (0.9 * DAY, 1.3 * DAY, "0.9 to 1.3 days"),
        (16.34 * DAY, 21.4 * DAY, "16.3 to 21.4 days"),
        (600 * DAY, 1000 * DAY, "1.64 to 2.74 years"),
        (2.0, 2.0, "2s to 2s"),
    ],
)
def test_an_interval_is_written_as_the_time_in_it(low_s: float, high_s: float, text: str) -> None:
    assert span(low_s, high_s) == text
    unit = text.split()[-1].lstrip("0123456789.")
    assert period((low_s * high_s) ** 0.5).endswith(unit)
