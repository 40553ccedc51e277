"""The statuses of a run, and the sets of statuses that other modules test for."""

from __future__ import annotations

STATUSES = ("queued", "running", "pausing", "paused", "stalled", "completed", "stopped", "failed", "lost", "broken")
"""All statuses. `stalled`, `lost` and `broken` are derived when a run is read (runs/status.py); no event has them."""
SHOWN = (*STATUSES[:2], "stopping", *STATUSES[2:])
"""The statuses that people see: a run that got a request to stop is `stopping` until it ends (control.shown_status)."""

IDLE = frozenset({"queued", "paused"})
"""Statuses in which the job waits; this time does not count as time that the run took."""
WORKING = frozenset({"running", "pausing"})
"""Statuses in which the job trains, or does other work such as preparing data or saving."""
BUSY = WORKING | {"paused", "stalled"}
"""Statuses of a run that a process owns and that may use a device."""
LIVE = BUSY | {"queued"}
"""Statuses of a run that a process owns: it works, or waits in the queue."""
ENDED = frozenset({"completed", "failed", "stopped"})
"""Statuses of a run whose last session has logged how it ended."""
OVER = ENDED | {"lost"}
"""Statuses of a run that no process owns."""
REMOVABLE = OVER | {"broken"}
"""Statuses of a run that may be deleted."""
