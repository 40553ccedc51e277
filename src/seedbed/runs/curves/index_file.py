"""The format of the index file, which stores the rows of a run's curves (a row summarises 64 steps).

It can be rebuilt from the event log. The file has a header of 64 bytes (magic with the byte order, version, bytes per
row, checksum of the log's first line), and for each row its eight-byte words and a checksum of the header and all rows
so far. A file of another version or another log is ignored, and the next job replaces it.
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
"""The size of a row in the file in bytes, with its checksum."""
_HEAD = struct.Struct("=8sHHI")
HEAD_BYTES = 64
_MAGIC = b"SBcurve\n" if sys.byteorder == "little" else b"SBCURVE\n"
_VERSION = 4
_LONGEST_LINE = 4 << 20


def index_path(run: RunDir) -> Path:
    """The path of the file with the rows of a run's curves; the file may be deleted at any time."""
    return run.path / ".series"


def log_checksum(log: Path) -> int:
    """The checksum of the log's first line, which identifies the log; 0 while there is no complete line."""
    try:
        with log.open("rb") as handle:
            line = handle.readline(_LONGEST_LINE)
    except OSError:
        return 0
    return zlib.crc32(line) or 1 if line.endswith(b"\n") else 0


def read_index(run: RunDir) -> bytes:
    """Read the bytes of the rows in a run's index, up to the last row after which reading the log can continue.

    Empty if there is no index, or if it has another version or belongs to another log. The first damaged row and all
    rows after it are ignored.
    """
    try:
        data = index_path(run).read_bytes()
    except OSError:
        return b""
    checksum = log_checksum(run.events)
    if not checksum or data[:HEAD_BYTES] != header(checksum):
        return b""
    end = _valid_end(data)
    while end > HEAD_BYTES:
        row = unpack(data, end - ROW_BYTES)
        if can_continue_after(row):
            return data[HEAD_BYTES:end] if _matches_log(run.events, row) else b""
        end -= ROW_BYTES
    return b""


def unpack(rows: bytes | memoryview, offset: int) -> Row:
    """Decode the row that begins at the byte `offset` of `rows`, the bytes of several rows."""
    return Row(*_ROW.unpack_from(rows, offset))


def can_continue_after(row: Row) -> bool:
    """Whether building rows can continue after this row, since it contains the whole state of its RowBuilder."""
    return row.kind in (RESTART, BACK) or (row.kind == STEPS and row.num == STEPS_A_ROW)


def packed(row: Row, check: int) -> tuple[bytes, int]:
    """Encode a row. Returns its bytes in the file, and the checksum of all data up to its end.

    `check`: the checksum of all data before the row.
    """
    body = _ROW.pack(*row)
    check = zlib.crc32(body, check)
    return body + _CHECK.pack(check), check


def last_checksum(rows: bytes) -> int:
    """The checksum stored at the end of `rows`, the bytes of several rows."""
    return int(_CHECK.unpack_from(rows, len(rows) - _CHECK.size)[0])


def header(checksum: int) -> bytes:
    """The header of the index file of the log whose first line has this checksum."""
    return _HEAD.pack(_MAGIC, _VERSION, ROW_BYTES, checksum).ljust(HEAD_BYTES, b"\0")


def _valid_end(data: bytes) -> int:
    """The offset of the end of the last undamaged row in `data`, the content of an index file."""
    offset, check, view = HEAD_BYTES, zlib.crc32(data[:HEAD_BYTES]), memoryview(data)
    while offset + ROW_BYTES <= len(data):
        check = zlib.crc32(view[offset : offset + _ROW.size], check)
        if check != _CHECK.unpack_from(data, offset + _ROW.size)[0]:
            break
        offset += ROW_BYTES
    return offset


def _matches_log(log: Path, row: Row) -> bool:
    """Whether a log has, at the offsets that the row records, lines that match the row."""
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
