"""Main memory: how much there is and how much can be had, a container's limit included. Knows no one who wants it."""

from __future__ import annotations

from pathlib import Path

import psutil

_CGROUP = Path("/sys/fs/cgroup")


def total_bytes() -> int:
    """Memory of this machine, or the limit of the container around this process where that is less."""
    physical = int(psutil.virtual_memory().total)
    limit = _limit(_CGROUP)
    return physical if limit is None else min(physical, limit)


def available_bytes() -> int:
    """Memory that can be had without swapping: what the machine has left, and what the container's limit leaves."""
    available = int(psutil.virtual_memory().available)
    left = _left(_CGROUP)
    return available if left is None else max(0, min(available, left))


def resident_bytes() -> int:
    """Memory that this process holds right now."""
    return int(psutil.Process().memory_info().rss)


def _limit(cgroup: Path) -> int | None:
    """The memory limit of a cgroup (v2, else v1) in bytes; None where there is none."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        value = _number(cgroup / name)
        if value is not None and value < 1 << 60:
            return value
    return None


def _left(cgroup: Path) -> int | None:
    """What a cgroup's limit leaves; file cache that can be dropped counts as free. None where there is no limit."""
    limit = _limit(cgroup)
    if limit is None:
        return None
    v2 = (cgroup / "memory.max").exists()
    used = _number(cgroup / ("memory.current" if v2 else "memory/memory.usage_in_bytes"))
    if used is None:
        return None
    droppable = 0
    try:
        stat = (cgroup / ("memory.stat" if v2 else "memory/memory.stat")).read_text(encoding="ascii")
        for line in stat.splitlines():
            if line.startswith("inactive_file ") or (not v2 and line.startswith("total_inactive_file ")):
                droppable = int(line.split()[1])
    except (OSError, ValueError):
        droppable = 0
    return limit - used + droppable


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
