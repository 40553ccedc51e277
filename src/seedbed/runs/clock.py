"""Computes how long a run has been working, from the times of its events."""

from __future__ import annotations

LONGEST_GAP_S = 60.0
"""The longest time between two events that counts as work. Events of a live session are closer together: a longer gap
means that the machine slept or its clock was changed."""


def worked_s(before: float | None, t: float, idle: bool, simulated: bool) -> float:
    """Seconds of work between two successive events of a session, at `before` and at `t`.

    0 if the run was `idle` in between, if there is no event before, or if the clock was set back. At most LONGEST_GAP_S,
    except in a `simulated` run: its clock never stops and is never changed, so the whole difference counts.
    """
    if idle or before is None or t <= before:
        return 0.0
    gap = t - before
    return gap if simulated or gap < LONGEST_GAP_S else LONGEST_GAP_S
