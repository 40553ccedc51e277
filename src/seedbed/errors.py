"""Errors with a message, a hint and an exit code. Imports no other module of Seedbed."""

from __future__ import annotations

import errno
import os
import sys
from typing import Any

EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


class SeedbedError(Exception):
    """An error that the user can act on.

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
        """Support pickling, which otherwise loses the hint."""
        return type(self), (self.message, self.hint)


class UsageError(SeedbedError):
    """The user's request is invalid. The command line exits with status 2, before any work is done."""

    exit_code = EXIT_USAGE


class StorageError(SeedbedError):
    """A file could not be written or read; the earlier contents are intact.

    `reason` says why in a few words: the disk is full, the file system is read-only. `passing`: whether a job can wait
    until the cause goes away: true for a full disk, false for a folder without write permission.
    """

    def __init__(self, message: str, hint: str = "", reason: str = "", *, passing: bool = True) -> None:
        super().__init__(message, hint)
        self.reason = reason or message.rstrip(".")
        self.passing = passing

    def __reduce__(self) -> tuple[Any, ...]:
        """Support pickling, which otherwise loses all attributes but the message."""
        return _storage_error, (type(self), self.message, self.hint, self.reason, self.passing)


def _storage_error(kind: type[StorageError], message: str, hint: str, reason: str, passing: bool) -> StorageError:
    return kind(message, hint, reason, passing=passing)


class DiskFullError(StorageError):
    """A write failed because the disk is full or the quota is used up; the earlier contents are intact."""


class FileLimitError(StorageError):
    """A write failed because the file would be larger than the process may write (ulimit -f); the earlier contents are intact."""


# Reason and hint by the system's error number. The hint is also shown while a job waits.
_CAUSES = {
    errno.ENOSPC: ("the disk is full", "Free some space on it."),
    errno.EDQUOT: ("the disk quota is used up", "Free some space, or ask for a larger quota."),
    errno.EFBIG: ("the limit on the size of files is reached (ulimit -f)", ""),
    errno.EIO: ("the disk reports an input/output error", "Check the disk and its connection (see `dmesg`)."),
    errno.EROFS: ("the file system is read-only", "Mount it for writing, or choose another folder."),
    errno.EACCES: ("permission is denied", "Check the permissions, or choose another folder."),
    errno.EPERM: ("the system does not permit it", "Check the permissions, or choose another folder."),
    errno.ESTALE: ("the network file system lost the file", "Check the connection to the server."),
    errno.ENOTDIR: ("part of its path is a file", "Remove or rename that file, or choose another folder."),
    errno.EEXIST: ("the name is in use", "Remove or rename the existing file, or choose another folder."),
    errno.ENOENT: ("the folder does not exist", "Check the path."),
    errno.EMFILE: ("this process has too many files open", "Raise the limit: `ulimit -n 4096`."),
}
_SPACE = (errno.ENOSPC, errno.EDQUOT)
_WRITING = (*_SPACE, errno.EFBIG, errno.EROFS, errno.EEXIST)
"""Error numbers of the system that only writing can cause."""
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
"""Error numbers of the system whose causes do not go away while a job waits."""


def file_limit_hint() -> str:
    """How to raise the limit on the size of files, for this process, too."""
    hint = "Raise the limit: run `ulimit -f unlimited` in the shell before the command."
    if sys.platform == "linux":
        hint += f" For the running process: `prlimit --fsize=unlimited --pid {os.getpid()}` (may need root)."
    return hint


def storage_error(path: str, error: OSError) -> StorageError:
    """Make the StorageError for an OSError. `path` is shown as it is given, so it must include its quotation marks."""
    number = error.errno or 0
    text = (error.strerror or str(error) or type(error).__name__).rstrip(".")
    reason, hint = _CAUSES.get(
        number, (f"{text[:1].lower()}{text[1:]}", "Check that the disk and its connection work.")
    )
    if number == errno.EFBIG:
        hint = file_limit_hint()
    kind = DiskFullError if number in _SPACE else FileLimitError if number == errno.EFBIG else StorageError
    verb = "write" if number in _WRITING else "write or read"
    return kind(f"Cannot {verb} {path}: {reason}.", hint, reason, passing=number not in _LASTING)
