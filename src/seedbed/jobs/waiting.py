"""Repeats work whose files cannot be written, as on a full disk: the job pauses with the reason, and then goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from seedbed.disk_space import NO_LIMIT, file_limit_bytes, free_bytes, obstacle
from seedbed.errors import DiskFullError, FileLimitError, StorageError
from seedbed.runs.lifecycle import Lifecycle, StopRequested

T = TypeVar("T")
_MARGIN_BYTES = 1 << 20
"""Free space in bytes that must be added before a write that failed on a full disk is tried again."""
_MAX_RETRY_S = 60.0


def until_written(lifecycle: Lifecycle, folder: Path, work: Callable[[], T], what: str) -> T:
    """Call `work` and return its value; while it cannot write its files in `folder`, pause and call it again.

    `what`: the work in the hint, such as "preparation". Raises StopRequested on a stop request, and StorageError if
    waiting does not help.
    """
    retry_s = 0.0
    while True:
        try:
            return work()
        except StorageError as error:
            if not error.passing:
                raise
            full = isinstance(error, DiskFullError)
            limit = file_limit_bytes() if isinstance(error, FileLimitError) else NO_LIMIT
            reason, hint = error.message, f"{error.hint} Then {what} continues automatically.".strip()
        needed = _MARGIN_BYTES + (free_bytes(folder) if full else 0)
        not_before = time.monotonic() + retry_s
        retry_s = min(max(2 * retry_s, 1.0), _MAX_RETRY_S)
        until = partial(_should_retry, lifecycle, folder, needed, not_before, limit)
        if not lifecycle.wait_paused(reason, hint, until):
            raise StopRequested(lifecycle.stop_requested)


def _should_retry(lifecycle: Lifecycle, folder: Path, needed: int, not_before: float, limit: int) -> bool:
    """Whether to try again to write into the folder.

    `limit`: the limit on the size of files that a file reached, which must be raised first; NO_LIMIT if there is none. A
    disk that seems full only delays a retry by _MAX_RETRY_S, since the free space under a quota is unknown.
    """
    if time.monotonic() < not_before or (limit != NO_LIMIT and limit == file_limit_bytes()):
        return False
    trouble = obstacle(folder, needed)
    waited = isinstance(trouble, DiskFullError) and time.monotonic() >= not_before + _MAX_RETRY_S
    return (trouble is None or waited) and lifecycle.can_write()
