"""What can go wrong, what to do about it, and the exit code. Knows no other module."""

from __future__ import annotations

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
