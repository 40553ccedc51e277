"""File locks between processes (flock)."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from seedbed.errors import StorageError
from seedbed.files import explained
from seedbed.text import quoted


class Lock:
    """An advisory lock on a file (flock); the system releases it when its owner ends.

    Only the owner of a lock may remove its file. After acquiring a lock whose file may be removed, check
    `is_current()`: otherwise two processes could own locks on two files of the same path.

    Some file systems (NFS, SMB) have no locks. Without a `remedy` the lock counts as acquired there, which is enough
    where it is only a safeguard. A lock that is essential gets a `remedy`, what to do instead, and raises StorageError.
    """

    def __init__(self, path: Path, remedy: str = "") -> None:
        self.path = path
        self._remedy = remedy
        self._fd = -1
        self._owner = -1

    def acquire(self) -> bool:
        """Take the lock unless another process has it; returns whether it was taken."""
        return self._take(fcntl.LOCK_EX | fcntl.LOCK_NB)

    def wait(self) -> None:
        """Take the lock; waits until its owner releases it."""
        self._take(fcntl.LOCK_EX)

    def _take(self, operation: int) -> bool:
        with explained(self.path):
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, operation)
        except OSError as error:
            taken = error.errno in _TAKEN
            if taken or self._remedy:
                os.close(fd)
            if taken:
                return False
            if self._remedy:
                raise _no_locks(self.path.parent, error, self._remedy) from error
        self._fd, self._owner = fd, os.getpid()
        return True

    def release(self) -> None:
        """Release the lock; harmless if it is not held. In a forked child, closes only the child's copy."""
        if self._fd >= 0:
            if self._owner == os.getpid():
                with suppress(OSError):  # closing is not enough: forked children may have open copies
                    fcntl.flock(self._fd, fcntl.LOCK_UN)
            os.close(self._fd)
            self._fd = -1

    def remove(self) -> None:
        """Remove the file of a lock that this process owns, and release it."""
        with suppress(OSError):
            self.path.unlink()
        self.release()

    def is_current(self) -> bool:
        """Whether the locked file is still the one at its path; False if somebody removed or moved it."""
        try:
            return os.path.samestat(os.fstat(self._fd), os.stat(self.path))
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True  # the path cannot be checked at the moment, so nothing shows that it changed

    def __enter__(self) -> Self:
        self.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


_TAKEN = (errno.EAGAIN, errno.EACCES)
"""Errors of flock if another process has the lock; some network file systems give the second."""


def refuse_without_locks(folder: Path, remedy: str) -> None:
    """Raise StorageError, with `remedy` as its hint, if the file system of a folder has no locks."""
    import tempfile

    with explained(folder), tempfile.TemporaryFile(dir=folder) as handle:
        try:
            fcntl.flock(handle.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise _no_locks(folder, error, remedy) from error


def _no_locks(folder: Path, error: OSError, remedy: str) -> StorageError:
    reason = f"{_file_system(folder)} has no file locks ({error.strerror})"
    message = f"Two processes could write in {quoted(folder)} at once: its file system, {reason}."
    return StorageError(message, remedy, f"its file system, {reason}", passing=False)


def _file_system(folder: Path) -> str:
    """The type of the file system of a folder, and where it is mounted."""
    import psutil

    path, found = folder.resolve(), ("of an unknown kind,", "")
    for part in psutil.disk_partitions(all=True):
        if path.is_relative_to(part.mountpoint) and len(part.mountpoint) >= len(found[1]):
            found = (f"{part.fstype} mounted at {quoted(part.mountpoint)},", part.mountpoint)
    return found[0]


def share_lock(path: Path) -> Callable[[], None] | None:
    """Take a shared lock on a file, so that no process removes it; returns the function that releases the lock.

    None if the file does not exist. Sets the file's modification time to now: that is when it was last used. Waits for
    a process that is about to remove the file. On a file system without locks, nothing protects the file.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return lambda: None  # the caller gets the same error, with a path, when it reads the file
    with suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_SH)
        os.utime(fd)
    try:
        still_there = os.path.samestat(os.fstat(fd), os.stat(path))
    except OSError:
        still_there = False
    if still_there:
        return partial(os.close, fd)
    os.close(fd)
    return None


def is_locked(path: Path | str, *, shared: bool = False) -> bool:
    """Whether a process has the lock at `path` at the moment. Creates no file; simultaneous checks do not interfere.

    With `shared`, a shared lock (see `share_lock`) counts too. Then simultaneous checks can mistake each other for a
    lock, and a check that fails counts as a lock. False on a file system without locks.
    """
    try:
        try:
            fd = os.open(
                path, (os.O_RDWR if shared else os.O_RDONLY) | os.O_CLOEXEC
            )  # NFS: LOCK_EX needs a writable file
        except PermissionError:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, (fcntl.LOCK_EX if shared else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except OSError as error:
        return shared or error.errno in _TAKEN
    finally:
        os.close(fd)
    return False
