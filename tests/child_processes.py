"""The child processes of a test's process, without helpers that stay until the process ends."""

from __future__ import annotations

import psutil


def children() -> list[psutil.Process]:
    """The children of this process that a test or the code under it has started."""
    return [child for child in psutil.Process().children() if not _is_helper(child)]


def _is_helper(child: psutil.Process) -> bool:
    try:
        words = " ".join(child.cmdline())
    except psutil.Error:
        return False
    helpers = ("multiprocessing.resource_tracker", "multiprocessing.forkserver", "preloaded.py", "forked.py")
    return any(helper in words for helper in helpers)
