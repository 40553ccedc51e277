"""How long a run has been at work, out of the times of its events. The rule about gaps stands here alone."""

from __future__ import annotations

LONGEST_GAP_S = 60.0
"""Events of a live session are closer together. A longer gap on the machine's clock is a sleeping machine or a stepped
clock; no more than this of it counts."""


def worked_s(before: float | None, t: float, idle: bool, simulated: bool) -> float:
    """Seconds at work between two successive events of a session, at `before` and at `t`.

    None of them where the run was `idle` meanwhile, where there is no event before, or where the clock was set back. A
    `simulated` run has a clock of its own, which neither sleeps nor is stepped: all of the difference counts.
    """
    if idle or before is None or t <= before:
        return 0.0
    gap = t - before
    return gap if simulated or gap < LONGEST_GAP_S else LONGEST_GAP_S
