"""The statuses of a run, and the sets of statuses that other modules test for."""

from __future__ import annotations

STATUSES = ("queued", "running", "pausing", "paused", "stalled", "completed", "stopped", "failed", "lost", "broken")
"""`stalled`, `lost` and `broken` are derived when a run is read (runs/status.py); no event has them."""
SHOWN = (*STATUSES[:2], "stopping", *STATUSES[2:])
"""The statuses that people see: a run that got a request to stop is `stopping` until it ends (control.shown_status)."""

IDLE = frozenset({"queued", "paused"})
"""The job waits; this time does not count as time that the run took."""
WORKING = frozenset({"running", "pausing"})
"""The job trains, or does other work such as preparing data or saving."""
BUSY = WORKING | {"paused", "stalled"}
"""A process owns the run, and may use a device."""
LIVE = BUSY | {"queued"}
"""A process owns the run, or waits in the queue."""
ENDED = frozenset({"completed", "failed", "stopped"})
"""The last session has logged how it ended."""
OVER = ENDED | {"lost"}
"""No process owns the run."""
REMOVABLE = OVER | {"broken"}
"""The run may be deleted."""
