"""How much of the time between two events counts as work."""

from __future__ import annotations

import pytest

from seedbed.runs.clock import LONGEST_GAP_S, worked_s


@pytest.mark.parametrize(
    ("before", "t", "idle", "simulated", "seconds"),
    [
        (None, 5.0, False, False, 0.0),
        (5.0, 7.5, False, False, 2.5),
        (5.0, 7.5, True, False, 0.0),
        (7.5, 5.0, False, False, 0.0),
        (0.0, 9999.0, False, False, LONGEST_GAP_S),
        (0.0, 9999.0, False, True, 9999.0),
        (9999.0, 0.0, False, True, 0.0),
    ],
)
def test_seconds_of_work_between_two_events(
    before: float | None, t: float, idle: bool, simulated: bool, seconds: float
) -> None:
    assert worked_s(before, t, idle, simulated) == seconds
