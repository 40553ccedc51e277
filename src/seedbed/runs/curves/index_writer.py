"""Appends rows to the index file of a run's curves as the log grows, in the job's process, which holds the run's lock."""

from __future__ import annotations

import os
import struct
import time
import zlib
from contextlib import suppress

from seedbed.append_log import read_block
from seedbed.errors import SeedbedError
from seedbed.runs.curves.index_file import (
    HEAD_BYTES,
    ROW_BYTES,
    header,
    index_path,
    last_checksum,
    log_checksum,
    packed,
    read_index,
    unpack,
)
from seedbed.runs.curves.row_builder import RowBuilder
from seedbed.runs.curves.rows import Row
from seedbed.runs.store import RunDir

_BLOCK, _RETRY_S = 4 << 20, 60.0


class IndexWriter:
    """Appends rows to the index file of a run's curves as the log grows.

    The caller must hold the run's lock and use one thread. Errors of the disk or the log are not raised: a minute after
    an error, indexing is tried again.
    """

    def __init__(self, run: RunDir) -> None:
        self._run = run
        self._builder: RowBuilder | None = None
        self._rows: list[Row] = []
        self._fd = -1
        self._size = 0
        self._check = 0
        self._not_before = 0.0
        self.problem: str | None = None
        """Why the index cannot be written; None if it can."""

    def advance(self, limit: int = 2 * _BLOCK) -> bool:
        """Add rows for up to about `limit` more bytes of the log to the index; returns whether nothing is left to do.

        Takes about 2 us per logged step; call it at each heartbeat and once at the end.
        """
        if time.monotonic() < self._not_before:
            return True
        try:
            if self._builder is not None and not self._is_there():
                self.close()
            builder = self._builder or self._open()
            if builder is None:
                return True
            read = 0
            while read < limit:
                block, offset = read_block(self._run.events, builder.offset, min(_BLOCK, limit - read))
                if offset - len(block) != builder.offset:
                    raise SeedbedError("The event log has become shorter since it was last read.", "")
                if not block:
                    return True
                builder.add(block)
                read += len(block)
                self._write()
        except (OSError, OverflowError, struct.error, SeedbedError) as error:
            self.close()
            self.problem = str(error)
            self._not_before = time.monotonic() + _RETRY_S
            return True
        return False

    def close(self) -> None:
        """Close the index file; may be called twice. Readers take the steps that are not in the index yet from the log."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._builder, self._rows = -1, None, []

    def _open(self) -> RowBuilder | None:
        """Open the index file, to append after its last valid row, or start a new one if there is none for this log.

        Returns None if there is no log yet.
        """
        rows = read_index(self._run)
        checksum = log_checksum(self._run.events)
        if not checksum:
            return None
        self._fd = os.open(index_path(self._run), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        if rows:
            self._size = HEAD_BYTES + len(rows)
            self._check = last_checksum(rows)
            os.ftruncate(self._fd, self._size)
        else:
            self._size = 0
            os.ftruncate(self._fd, 0)
            self._append(header(checksum))
            self._check = zlib.crc32(header(checksum))
        self.problem = None
        self._builder = RowBuilder(self._rows.append, unpack(rows, len(rows) - ROW_BYTES) if rows else None)
        return self._builder

    def _is_there(self) -> bool:
        """Whether the index file is still the one that was opened, with the expected size; it may be deleted at any time."""
        with suppress(OSError):
            there, ours = index_path(self._run).stat(), os.fstat(self._fd)
            return os.path.samestat(there, ours) and ours.st_size == self._size
        return False

    def _write(self) -> None:
        parts = bytearray()
        for row in self._rows:
            whole, self._check = packed(row, self._check)
            parts += whole
        self._rows.clear()
        self._append(parts)

    def _append(self, data: bytes | bytearray) -> None:
        if os.pwrite(self._fd, data, self._size) != len(data):
            os.ftruncate(self._fd, self._size)
            raise OSError("the disk is full")
        self._size += len(data)
