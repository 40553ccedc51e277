"""Reads an event log while it grows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from seedbed.append_log import read_lines
from seedbed.events import Record, decode

_BLOCK = 4 << 20


class Reader:
    """Reads an event log incrementally, block by block: each call of `new` continues where the last one ended."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        self.path = path
        self.offset = offset

    def new(self, end: int | None = None) -> Iterator[Record]:
        """Yield the records written since the last call; with `end`, only those that begin before that byte.

        Incomplete and foreign lines are skipped. An unfinished last line is read by a later call.
        """
        while end is None or self.offset < end:
            limit = _BLOCK if end is None else min(_BLOCK, end - self.offset)
            lines, offset = read_lines(self.path, self.offset, limit)
            if not lines:
                return
            self.offset = offset
            for line in lines:
                record = decode(line)
                if record is not None:
                    yield record
