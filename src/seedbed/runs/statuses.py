"""The statuses of a run in the order of its life, and the sets of them that callers ask for."""

from __future__ import annotations

STATUSES = ("queued", "running", "pausing", "paused", "stalled", "completed", "stopped", "failed", "lost", "broken")
"""`stalled`, `lost` and `broken` are derived by whoever reads a run; events never hold them."""
SHOWN = (*STATUSES[:2], "stopping", *STATUSES[2:])
"""What people see: a run that somebody asked to stop is `stopping` until it has ended (control.shown_status)."""

IDLE = frozenset({"queued", "paused"})
"""The job does nothing: that time is no part of what the run took."""
WORKING = frozenset({"running", "pausing"})
"""The job trains, or does what comes before and between."""
BUSY = WORKING | {"paused", "stalled"}
"""A process has the run, and may hold a device."""
LIVE = BUSY | {"queued"}
"""A process has the run, or waits for its turn."""
ENDED = frozenset({"completed", "failed", "stopped"})
"""The last session said how it ended."""
OVER = ENDED | {"lost"}
"""No process has the run any more."""
REMOVABLE = OVER | {"broken"}
"""The run may be pruned."""
