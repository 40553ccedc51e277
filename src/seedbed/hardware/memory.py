"""Main memory: total, available and used by this process, within the limits of a container."""

from __future__ import annotations

from pathlib import Path

import psutil

from seedbed.hardware.cgroup import groups, number

_UNLIMITED = 1 << 60
"""A limit of this size or more means no limit: version 1 of control groups writes a number near 2^63."""


def total_bytes() -> int:
    """Memory of this machine in bytes, or the smallest limit of the control groups of this process if that is less."""
    limits = [limit for group in groups("memory") if (limit := _limit(group)) is not None]
    return min([int(psutil.virtual_memory().total), *limits])


def available_bytes() -> int:
    """Memory in bytes that is available without swapping, within the limits of the control groups of this process."""
    left = [left for group in groups("memory") if (left := _left(group)) is not None]
    return max(0, min([int(psutil.virtual_memory().available), *left]))


def resident_bytes() -> int:
    """Resident memory of this process in bytes."""
    return int(psutil.Process().memory_info().rss)


def _limit(group: Path) -> int | None:
    """The memory limit of a control group (version 2, else version 1) in bytes; None if there is none."""
    for name in ("memory.max", "memory.limit_in_bytes"):
        value = number(group / name)
        if value is not None and value < _UNLIMITED:
            return value
    return None


def _left(group: Path) -> int | None:
    """The free bytes within the limit of a control group, including reclaimable file cache; None if it has no limit."""
    limit = _limit(group)
    if limit is None:
        return None
    v2 = (group / "memory.max").exists()
    used = number(group / ("memory.current" if v2 else "memory.usage_in_bytes"))
    if used is None:
        return None
    reclaimable = 0
    try:
        stat = (group / "memory.stat").read_text(encoding="ascii")
        for line in stat.splitlines():
            if line.startswith("inactive_file ") or (not v2 and line.startswith("total_inactive_file ")):
                reclaimable = int(line.split()[1])
    except (OSError, ValueError):
        reclaimable = 0
    return limit - used + reclaimable
