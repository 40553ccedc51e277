"""File locks between processes (flock)."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from seedbed.errors import StorageError
from seedbed.files import explained
from seedbed.text import quoted

_POLL_S = 0.1


class Lock:
    """An advisory lock on a file (flock). The operating system releases it when its owner (a process) exits.

    Only the owner of a lock may remove its file. After acquiring a lock whose file another owner may have removed,
    check `is_current()`: otherwise two processes could own locks on two files that had the same path.

    Some file systems (NFS, SMB) have no locks. Without a `remedy` the lock counts as acquired there, which is enough
    for a lock that is only a safeguard. For an essential lock, give a `remedy`: StorageError is then raised, with the
    remedy as its hint.
    """

    def __init__(self, path: Path, remedy: str = "") -> None:
        self.path = path
        self._remedy = remedy
        self._fd = -1
        self._owner = -1

    def acquire(self) -> bool:
        """Acquire the lock without waiting. Returns False if another process holds the lock."""
        return self._acquire(fcntl.LOCK_EX | fcntl.LOCK_NB)

    def wait(self) -> None:
        """Acquire the lock. Waits until its owner releases it."""
        self._acquire(fcntl.LOCK_EX)

    def _acquire(self, operation: int) -> bool:
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
        """Release the lock, if it is acquired. In a forked child, closes only the child's copy of the file."""
        if self._fd >= 0:
            if self._owner == os.getpid():
                with suppress(OSError):  # closing is not enough: forked children may have open copies
                    fcntl.flock(self._fd, fcntl.LOCK_UN)
            os.close(self._fd)
            self._fd = -1

    def remove(self) -> None:
        """Remove the file of a lock that this process owns, and release the lock."""
        with suppress(OSError):
            self.path.unlink()
        self.release()

    def is_current(self) -> bool:
        """Whether the locked file is still at its path. False if the file was removed, moved or replaced."""
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


@contextmanager
def alone(path: Path, check: Callable[[], None] | None = None) -> Iterator[None]:
    """Context manager: wait until no other process is in such a block for this file, which is removed at the end.

    `check` is called several times a second while it waits; what it raises ends the wait.
    """
    lock = Lock(path)
    while not (lock.acquire() and lock.is_current()):  # its last owner may have removed the file
        lock.release()
        if check is not None:
            check()
        time.sleep(_POLL_S)
    try:
        yield
    finally:
        lock.remove()


_TAKEN = (errno.EAGAIN, errno.EACCES)
"""Error numbers of flock if another process holds the lock. Some network file systems return EACCES."""


def refuse_without_locks(folder: Path, remedy: str) -> None:
    """Raise StorageError, with `remedy` as its hint, if the file system of a folder has no locks."""
    import tempfile

    with explained(folder), tempfile.TemporaryFile(dir=folder) as handle:
        try:
            fcntl.flock(handle.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise _no_locks(folder, error, remedy) from error


def _no_locks(folder: Path, error: OSError, remedy: str) -> StorageError:
    reason = f"its file system ({_file_system(folder)}) has no file locks ({error.strerror})"
    message = f"Two processes could write in {quoted(folder)} at the same time, because {reason}."
    return StorageError(message, remedy, reason, passing=False)


def _file_system(folder: Path) -> str:
    """The type of the file system of a folder, and where it is mounted, as text for a message."""
    import psutil

    path, description, mountpoint = folder.resolve(), "of an unknown type", ""
    for part in psutil.disk_partitions(all=True):
        if path.is_relative_to(part.mountpoint) and len(part.mountpoint) >= len(mountpoint):
            description, mountpoint = f"{part.fstype} mounted at {quoted(part.mountpoint)}", part.mountpoint
    return description


def share_lock(path: Path) -> Callable[[], None] | None:
    """Acquire a shared lock on a file, so that no process removes the file. Returns a function that releases the lock.

    Returns None if the file does not exist. Sets the file's modification time to now, to record when the file was last
    used. If a process is about to remove the file, waits for that process. A file system without locks does not protect
    the file.
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
    """Whether a process holds the lock at `path` at the moment. Creates no file; simultaneous checks do not interfere.

    With `shared`, a shared lock (see `share_lock`) also counts. Then each of two simultaneous checks can report a lock
    because of the other check, and a check that fails counts as a lock. False on a file system without locks.
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
