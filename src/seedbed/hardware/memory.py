"""Main memory: how much there is and how much can be had, a container's limit included. Knows no one who wants it."""

from __future__ import annotations

from pathlib import Path

import psutil

from seedbed.hardware.cgroup import groups, number

_UNLIMITED = 1 << 60
"""Version 1 of cgroups writes a number near 2^63 where there is no limit."""


def total_bytes() -> int:
    """Memory of this machine, or the least limit of the groups around this process where that is less."""
    limits = [limit for group in groups("memory") if (limit := _limit(group)) is not None]
    return min([int(psutil.virtual_memory().total), *limits])


def available_bytes() -> int:
    """Memory that can be had without swapping: what the machine has left, and what every group's limit leaves."""
    left = [left for group in groups("memory") if (left := _left(group)) is not None]
    return max(0, min([int(psutil.virtual_memory().available), *left]))


def resident_bytes() -> int:
    """Memory that this process holds right now."""
    return int(psutil.Process().memory_info().rss)


def _limit(group: Path) -> int | None:
    """The memory limit of a cgroup (v2, else v1) in bytes; None where there is none."""
    for name in ("memory.max", "memory.limit_in_bytes"):
        value = number(group / name)
        if value is not None and value < _UNLIMITED:
            return value
    return None


def _left(group: Path) -> int | None:
    """What a cgroup's limit leaves; file cache that can be dropped counts as free. None where there is no limit."""
    limit = _limit(group)
    if limit is None:
        return None
    v2 = (group / "memory.max").exists()
    used = number(group / ("memory.current" if v2 else "memory.usage_in_bytes"))
    if used is None:
        return None
    droppable = 0
    try:
        stat = (group / "memory.stat").read_text(encoding="ascii")
        for line in stat.splitlines():
            if line.startswith("inactive_file ") or (not v2 and line.startswith("total_inactive_file ")):
                droppable = int(line.split()[1])
    except (OSError, ValueError):
        droppable = 0
    return limit - used + droppable
