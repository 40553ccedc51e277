"""Disk space: measures what is free, checks whether files can be written, and reserves space for a full disk."""

from __future__ import annotations

import errno
import os
import resource
from contextlib import suppress
from pathlib import Path

from seedbed.errors import StorageError
from seedbed.files import explained, sync


def free_bytes(path: Path) -> int:
    """The number of free bytes that this user can use on the file system of `path` (or of its nearest existing parent)."""
    import shutil

    existing = path.absolute()
    while not existing.exists():
        existing = existing.parent
    return shutil.disk_usage(existing).free


NO_LIMIT = resource.RLIM_INFINITY


def file_limit_bytes() -> int:
    """The size in bytes above which this process may not write a file (ulimit -f), or NO_LIMIT."""
    return resource.getrlimit(resource.RLIMIT_FSIZE)[0]


def obstacle(folder: Path, num_bytes: int, largest_bytes: int = 0) -> StorageError | None:
    """The error why `num_bytes` cannot be written in a folder at the moment; None if no reason is found.

    Checks the free space, compares the size of the largest file (`largest_bytes`) with the limit on file sizes, and
    writes a small test file.
    """
    import tempfile

    try:
        with explained(folder):
            if free_bytes(folder) < num_bytes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            limit = file_limit_bytes()
            if limit != NO_LIMIT and limit < largest_bytes:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
            with tempfile.TemporaryFile(dir=folder, buffering=0) as handle:
                handle.write(bytes(4096))
                sync(handle.fileno())
    except StorageError as error:
        return error
    return None


def write_rate(folder: Path, num_bytes: int = 64 << 20) -> float | None:
    """Bytes per second at which so many are written to the disk of a folder, measured with a temporary file; None on an error."""
    import tempfile
    import time

    block = os.urandom(1 << 20)
    begun = time.perf_counter()
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as handle:
            for _ in range(-(-num_bytes // len(block))):
                handle.write(block)
            sync(handle.fileno())
    except OSError:
        return None
    return num_bytes / max(time.perf_counter() - begun, 1e-9)


class Ballast:
    """A file that reserves disk space. When the disk is full, the file is removed, which frees space for a last message."""

    def __init__(self, path: Path, num_bytes: int) -> None:
        self.path = path
        self._num_bytes = num_bytes
        self.held = False
        """Whether the file exists, so that the space is reserved."""
        self.problem: StorageError | None = None
        """The error with which the last `take` failed; None if it succeeded."""

    def take(self) -> bool:
        """Reserve the space; returns whether that succeeded. It fails unless the same amount stays free in addition."""
        self.drop()  # the space that a killed process reserved counts as free
        try:
            with explained(self.path):
                if free_bytes(self.path.parent) < 2 * self._num_bytes:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                with self.path.open("wb") as handle:
                    handle.write(os.urandom(self._num_bytes))  # a file system may store zeros sparsely or compressed
        except StorageError as error:
            self.drop()
            self.problem = error
            return False
        self.held, self.problem = True, None
        return True

    def drop(self) -> None:
        """Remove the file, which frees the space."""
        self.held = False
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
