"""Writes and reads append-only log files, whose lines are only added at the end and never changed."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

from seedbed.errors import SeedbedError
from seedbed.files import explained, sync
from seedbed.text import quoted


class AppendLog:
    """A file that only grows: each `write()` adds one line at its end.

    If an earlier process left an unfinished last line, a newline is added to it, so that the next line is not merged with
    it. Only the owner of the run's lock may open the log.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._cut_at: int | None = None
        """The file size before a line that was written in part and could not be removed; None if there is no such line."""
        with explained(path):
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            end = os.lseek(self._fd, 0, os.SEEK_END)
            if end and os.pread(self._fd, 1, end - 1) != b"\n":
                os.write(self._fd, b"\n")

    def write(self, line: bytes) -> None:
        """Append one line (with its newline), completely or not at all. Raises StorageError with the reason."""
        with explained(self.path):
            if self._cut_at is not None:
                os.ftruncate(self._fd, self._cut_at)
                self._cut_at = None
            before = os.fstat(self._fd).st_size
            done = 0
            try:
                while done < len(line):  # after a partial write, the next os.write raises the error
                    written = os.write(self._fd, line[done:])
                    if not written:
                        raise OSError(errno.EIO, os.strerror(errno.EIO))
                    done += written
            except OSError:
                self._cut_at = before
                with suppress(OSError):
                    os.ftruncate(self._fd, before)
                    self._cut_at = None
                raise

    def flush(self) -> None:
        """Write all lines through to the disk (fsync), so that they survive a power failure."""
        with explained(self.path):
            sync(self._fd)

    def close(self) -> None:
        """Close the file; closing twice is harmless."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def read_lines(path: Path, offset: int = 0, limit: int | None = None) -> tuple[list[bytes], int]:
    """The complete lines of a log from byte `offset`, and the offset after them. `limit`: see `read_block`."""
    block, offset = read_block(path, offset, limit)
    return block.splitlines(), offset


def read_block(path: Path, offset: int = 0, limit: int | None = None) -> tuple[bytes, int]:
    """The bytes of all complete lines of a log from byte `offset`, and the offset after them.

    An unfinished last line is omitted; a missing file has no lines. A file shorter than `offset` (replaced or
    truncated) is read again from its start. `limit` is the maximum number of bytes per call; a single line that is
    longer is still returned completely.
    """
    try:
        with path.open("rb") as handle:
            end = handle.seek(0, os.SEEK_END)
            if end < offset:
                offset = 0
            if end == offset:
                return b"", offset
            handle.seek(offset)
            block = handle.read(-1 if limit is None else limit)
            while limit is not None and b"\n" not in block and offset + len(block) < end:
                block += handle.read(limit)
    except FileNotFoundError:
        return b"", 0
    except OSError as error:
        raise SeedbedError(f"Cannot read {quoted(path)}: {error.strerror}.", "Check its permissions.") from error
    cut = block.rfind(b"\n") + 1
    return block[:cut], offset + cut
