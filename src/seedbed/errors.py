"""What can go wrong, what to do about it, and the exit code. Knows no other module."""

from __future__ import annotations

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

    def __reduce__(self) -> tuple[type[SeedbedError], tuple[str, str]]:
        """Survive the trip between processes with both parts."""
        return type(self), (self.message, self.hint)


class UsageError(SeedbedError):
    """What was asked for makes no sense as written: exit status 2, before any work."""

    exit_code = EXIT_USAGE


class DiskFullError(SeedbedError):
    """A write found no space; what stood before is still whole."""
