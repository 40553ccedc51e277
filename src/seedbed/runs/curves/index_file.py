"""The index file of a run's curves: its rows one after the other. It is disposable; the event log is what counts.

A header of 64 bytes (magic with the byte order, version, bytes of a row, checksum of the log's first line), then for each
row its eight-byte words and a checksum of the header and all rows so far. A file of another version, or of another log,
is not read, and replaced by the next job.
"""

from __future__ import annotations

import struct
import sys
import zlib
from pathlib import Path

from seedbed.runs.curves.curve_events import decode_lines
from seedbed.runs.curves.rows import BACK, RESTART, STEPS, STEPS_A_ROW, WHOLE_WORDS, WORDS, Row
from seedbed.runs.store import RunDir

_ROW = struct.Struct(f"={WHOLE_WORDS}q{WORDS - WHOLE_WORDS}d")
_CHECK = struct.Struct("=Q")
ROW_BYTES = _ROW.size + _CHECK.size
"""A row in the file, with its checksum."""
_HEAD = struct.Struct("=8sHHI")
HEAD_BYTES = 64
_MAGIC = b"SBcurve\n" if sys.byteorder == "little" else b"SBCURVE\n"
_VERSION = 4
_LONGEST_LINE = 4 << 20


def index_path(run: RunDir) -> Path:
    """Where a run's index lies; it may always be thrown away."""
    return run.path / ".series"


def log_mark(log: Path) -> int:
    """A number that tells one log from another: the checksum of its first line; 0 while there is none."""
    try:
        with log.open("rb") as handle:
            line = handle.readline(_LONGEST_LINE)
    except OSError:
        return 0
    return zlib.crc32(line) or 1 if line.endswith(b"\n") else 0


def read_index(run: RunDir) -> bytes:
    """The rows of a run's index as they lie in the file, up to the last from which a fold can go on.

    Empty where there is no index, or where it is of another version, or not of the log that is there now. What is torn or
    damaged ends it: each row's checksum stands for all before it.
    """
    try:
        data = index_path(run).read_bytes()
    except OSError:
        return b""
    mark = log_mark(run.events)
    if not mark or data[:HEAD_BYTES] != head(mark):
        return b""
    end = _whole(data)
    while end > HEAD_BYTES:
        row = unpack(data, end - ROW_BYTES)
        if can_go_on(row):
            return data[HEAD_BYTES:end] if _fits(run.events, row) else b""
        end -= ROW_BYTES
    return b""


def unpack(rows: bytes | memoryview, offset: int) -> Row:
    """The row at a byte of the rows' file form."""
    return Row(*_ROW.unpack_from(rows, offset))


def can_go_on(row: Row) -> bool:
    """Whether all that a fold knew when it made the row can be told from it."""
    return row.kind in (RESTART, BACK) or (row.kind == STEPS and row.num == STEPS_A_ROW)


def packed(row: Row, check: int) -> tuple[bytes, int]:
    """A row in the file's form, and the checksum up to it; `check` is that of all before it."""
    body = _ROW.pack(*row)
    check = zlib.crc32(body, check)
    return body + _CHECK.pack(check), check


def last_check(rows: bytes) -> int:
    """The checksum that stands after the last of some rows."""
    return int(_CHECK.unpack_from(rows, len(rows) - _CHECK.size)[0])


def head(mark: int) -> bytes:
    """The header of the index of a log with this mark."""
    return _HEAD.pack(_MAGIC, _VERSION, ROW_BYTES, mark).ljust(HEAD_BYTES, b"\0")


def _whole(data: bytes) -> int:
    """The byte after the last row that is as it was written."""
    place, check, view = HEAD_BYTES, zlib.crc32(data[:HEAD_BYTES]), memoryview(data)
    while place + ROW_BYTES <= len(data):
        check = zlib.crc32(view[place : place + _ROW.size], check)
        if check != _CHECK.unpack_from(data, place + _ROW.size)[0]:
            break
        place += ROW_BYTES
    return place


def _fits(log: Path, row: Row) -> bool:
    """Whether the row speaks of the log that is there: its lines begin and end where it says, and are those."""
    try:
        with log.open("rb") as handle:
            handle.seek(row.begin)
            block = handle.readline(_LONGEST_LINE) if row.kind == BACK else handle.read(row.end - row.begin)
    except (OSError, ValueError):
        return False
    found, _ = decode_lines(block)
    if not block.endswith(b"\n") or not found or found[0] is None or found[-1] is None or found[-1].t != row.t:
        return False
    if row.kind == RESTART:
        return found[-1].kind == "run"
    return (found[0].step, found[-1].step) == ((row.first, row.last) if row.kind == STEPS else (row.last + 1,) * 2)
