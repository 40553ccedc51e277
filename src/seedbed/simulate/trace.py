"""What interrupted a simulated run: one entry for each incident, in the order of their times."""

from __future__ import annotations

from typing import Literal, NamedTuple

Happening = Literal["crash", "timeout", "save", "slow", "replacement", "maintenance"]
"""How an incident shows: as in failures.Component; `slow`: a node becomes slow; `replacement`: a slow node is replaced."""


class Interruption(NamedTuple):
    """An incident of a simulated run. `t`: seconds of the run; `step`: the last step that was trained by then."""

    t: float
    step: int
    happening: Happening
    title: str
    """What failed, for people, such as `GPU` or `a slow node`."""
    component: str = ""
    """The component that failed (failures.Component.name); empty if nothing failed."""
