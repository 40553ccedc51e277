"""What can go wrong, what to do about it, and the exit code. Knows no other module."""

from __future__ import annotations

import errno
import os
import sys
from typing import Any

EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


class SeedbedError(Exception):
    """A failure that a person can act on.

    `message` says what happened and where; `hint` says what to do. The command line exits with `exit_code`.
    """

    exit_code = EXIT_FAILURE

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()

    def __reduce__(self) -> tuple[Any, ...]:
        """Survive the trip between processes with both parts."""
        return type(self), (self.message, self.hint)


class UsageError(SeedbedError):
    """What was asked for makes no sense as written: exit status 2, before any work."""

    exit_code = EXIT_USAGE


class StorageError(SeedbedError):
    """The system refused to write or read a file; what stood before is still whole.

    `reason` says why in a few words: the disk is full, the file system is read-only. `passing` is whether it may pass
    while a job waits, as a full disk does and a folder that nobody may write to does not.
    """

    def __init__(self, message: str, hint: str = "", reason: str = "", *, passing: bool = True) -> None:
        super().__init__(message, hint)
        self.reason = reason or message.rstrip(".")
        self.passing = passing

    def __reduce__(self) -> tuple[Any, ...]:
        """Survive the trip between processes with all parts."""
        return _storage_error, (type(self), self.message, self.hint, self.reason, self.passing)


def _storage_error(kind: type[StorageError], message: str, hint: str, reason: str, passing: bool) -> StorageError:
    return kind(message, hint, reason, passing=passing)


class DiskFullError(StorageError):
    """A write found no space, or the quota is used up; what stood before is still whole."""


# What stands against a write, and what helps, by the system's error number. The hint is also shown while a job waits.
_TROUBLE = {
    errno.ENOSPC: ("the disk is full", "Free some space on it."),
    errno.EDQUOT: ("the disk quota is used up", "Free some space, or ask for a larger quota."),
    errno.EFBIG: ("the limit on the size of files is reached (ulimit -f)", ""),
    errno.EIO: ("the disk reports an input/output error", "Check the disk and its connection (`dmesg` tells more)."),
    errno.EROFS: ("the file system is read-only", "Mount it for writing, or choose another folder."),
    errno.EACCES: ("permission is denied", "Check the permissions, or choose another folder."),
    errno.EPERM: ("the system does not permit it", "Check the permissions, or choose another folder."),
    errno.ESTALE: ("the network file system lost it", "Check the connection to the server."),
    errno.ENOTDIR: ("a file stands where a folder is needed", "Remove or rename that file, or choose another folder."),
    errno.EEXIST: ("something of that name is there", "Remove or rename it, or choose another folder."),
    errno.ENOENT: ("the folder does not exist", "Check the path."),
    errno.EMFILE: ("this process has too many files open", "Raise the limit: `ulimit -n 4096`."),
}
_SPACE = (errno.ENOSPC, errno.EDQUOT)
_WRITING = (*_SPACE, errno.EFBIG, errno.EROFS, errno.EEXIST)
"""Errors that a read cannot meet."""
_LASTING = (
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ELOOP,
)


def storage_error(place: str, error: OSError) -> StorageError:
    """What a person should know of an OSError that work on `place`, a path in quotation marks, met."""
    number = error.errno or 0
    said = (error.strerror or str(error) or type(error).__name__).rstrip(".")
    reason, hint = _TROUBLE.get(
        number, (f"{said[:1].lower()}{said[1:]}", "Check that the disk and its connection work.")
    )
    if number == errno.EFBIG:
        hint = "Raise it: `ulimit -f unlimited` in the shell, before the command."
        if sys.platform == "linux":
            hint += f" For a process that runs: `prlimit --fsize=unlimited --pid {os.getpid()}`, as root where needed."
    kind = DiskFullError if number in _SPACE else StorageError
    verb = "write" if number in _WRITING else "write or read"
    return kind(f"Cannot {verb} {place}: {reason}.", hint, reason, passing=number not in _LASTING)
