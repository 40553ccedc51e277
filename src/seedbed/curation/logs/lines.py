"""Reads lines and JSON values from files that may be damaged, in bounded memory."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

import msgspec

from seedbed.curation.drops import Drops
from seedbed.curation.logs.options import STEP

LINE_LIMIT = 32 << 20
"""Longer lines are skipped without being loaded. The longest that agents write have a picture of a few MB."""
_CHUNK = 1 << 20
_STARTS = (b'{"type":', b'{"parentUuid":', b'{"timestamp":', b'{"messages":', b'{"conversations":')
_BACKSLASH = ord("\\")
_SIGN = re.compile(rb'["{}\[\]]')
_FIRST_KEY = re.compile(rb'\{\s*"[^"\\]{1,60}"\s*:')
_BOUNDARY = re.compile(rb'\}[ \t\r\0]*(?=\{(?:[ \t]*"(?:[A-Za-z_$]|\s*\Z)|\s*\Z))')
"""The end of a record that another follows on the same line. Valid JSON has no such place: `}{` is followed by a key in no
string, since the quote of a key is escaped there, and one that ends the string is not followed by a letter."""

T = TypeVar("T")


def open_file(path: Path, name: str, drops: Drops) -> BinaryIO | None:
    """The file opened for reading, or None after it is counted why it cannot be read."""
    try:
        # O_NONBLOCK: a pipe that has taken the place of the file must not block.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        drops.drop(STEP, "unreadable file", name, (error.strerror or str(error)).lower())
        return None
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return os.fdopen(fd, "rb", buffering=_CHUNK)
    os.close(fd)
    drops.drop(STEP, "unreadable file", name, "not a regular file")
    return None


def lines_of(handle: BinaryIO, name: str, drops: Drops) -> Iterator[tuple[int, int, bytes]]:
    """Yield (number, offset, line) for each line of a file that is not empty.

    A line beyond the limit is skipped in pieces and counted, and so is the rest of a file that cannot be read.
    """
    number = offset = 0
    try:
        while data := handle.readline(LINE_LIMIT + 1):
            number += 1
            size = len(data)
            if size > LINE_LIMIT and not data.endswith(b"\n"):
                sample = data[:200].decode("utf-8", "replace")
                del data
                size += _skip_line(handle)
                drops.drop(STEP, f"line longer than {LINE_LIMIT >> 20} MiB", f"{name}:{number}", sample)
            elif not data.isspace():
                yield number, offset, data
            offset += size
    except OSError as error:
        drops.drop(STEP, "unreadable part of a file", f"{name}:{number + 1}", (error.strerror or str(error)).lower())


def _skip_line(handle: BinaryIO) -> int:
    size = 0
    while rest := handle.readline(_CHUNK):
        size += len(rest)
        if rest.endswith(b"\n"):
            break
    return size


class Piece(NamedTuple):
    """The part of a line that has one record."""

    start: int
    size: int
    text: bytes
    """The JSON of the record: what is damaged is replaced or left out."""


def values_of(data: bytes, decoder: msgspec.json.Decoder[T], where: str, drops: Drops) -> Iterator[tuple[T, Piece]]:
    """Yield (value, part of the line) of each record of a line, also of a damaged one (see `repaired`).

    A line has several records if the line break between two was lost, or if two processes wrote at the same time.
    """
    try:
        value = decoder.decode(data)
    except (msgspec.DecodeError, RecursionError):
        pass
    else:
        yield value, Piece(0, len(data), data)
        return
    start = read = 0
    ends = [*(found.end() for found in _BOUNDARY.finditer(data)), len(data)]
    reason = "damaged line" if len(ends) == 1 else "half-written line"
    for end in ends:
        saved = _repaired(data[start:end], decoder, where, drops, reason)
        if saved is not None:
            read += 1
            yield saved[0], Piece(start, end - start, saved[1])
        start = end
    if read > 1:
        drops.note(STEP, "line with several records")


def repaired(data: bytes, decoder: msgspec.json.Decoder[T], where: str, drops: Drops) -> T | None:
    """The value of a record that `decoder` refused, as far as it can be saved; what is lost is counted.

    NUL bytes around it are removed (they come from a power failure), bytes that are not UTF-8 and lone surrogates
    become `?`, NaN and Infinity (which Python writes) become null, and of a half-written line that another follows without
    a newline, the second is read.
    """
    saved = _repaired(data, decoder, where, drops, "damaged line")
    return None if saved is None else saved[0]


def _repaired(
    data: bytes, decoder: msgspec.json.Decoder[T], where: str, drops: Drops, reason: str
) -> tuple[T, bytes] | None:
    """The value as by `repaired`, with its JSON. `reason`: by which a record is counted if nothing of it can be read."""
    plain = data.strip(b"\0 \t\r\n")
    if not plain:
        drops.drop(STEP, "line of NUL bytes", where)
        return None
    for candidate, lost in _candidates(plain):
        try:
            value = decoder.decode(candidate)
        except msgspec.ValidationError as error:
            reason = "line of an unknown form"
            if not plain.startswith(b"{"):
                break
            drops.note(STEP, f"unknown form: {str(error).partition(' - ')[0]}")
            break
        except (msgspec.DecodeError, RecursionError):
            continue
        if lost is None:
            drops.note(STEP, "invalid characters replaced")
        elif lost:
            drops.drop(STEP, "half-written line", where, lost[:2000].decode("utf-8", "replace"))
        return value, candidate
    drops.drop(STEP, reason, where, plain[:2000].decode("utf-8", "replace"))
    return None


def _candidates(plain: bytes) -> Iterator[tuple[bytes, bytes | None]]:
    """Yield (text to decode, what it leaves out or None if only characters were replaced)."""
    yield plain, b""
    if (valid := with_valid_characters(plain)) is not None:
        yield valid, None
    start = _last_object(plain)
    if start > 0 and (plain.startswith(_STARTS, start) or _begin_alike(plain, start)):
        yield plain[start:], plain[:start]
        if (valid := with_valid_characters(plain[start:])) is not None:
            yield valid, plain[:start]


def _begin_alike(data: bytes, start: int) -> bool:
    """Whether the object at `start` has the same first key as the data, as records of one file have."""
    one, other = _FIRST_KEY.match(data), _FIRST_KEY.match(data, start)
    return one is not None and other is not None and one[0] == other[0]


def _last_object(data: bytes) -> int:
    """Where the JSON object begins that ends with the data; -1 if there is none. Each byte is looked at once, from the end."""
    depth, in_string, end = 0, False, len(data) if data.endswith(b"}") else 0
    while end > 0:
        start = max(end - _CHUNK, 0)
        for found in reversed([*_SIGN.finditer(data, start, end)]):
            at = found.start()
            if found[0] == b'"':
                first = at
                while first > 0 and data[first - 1] == _BACKSLASH:
                    first -= 1
                in_string = in_string != ((at - first) % 2 == 0)  # else the quote is escaped
            elif not in_string:
                depth += 1 if found[0] in b"}]" else -1
                if depth == 0:
                    return at
        end = start
    return -1


def with_valid_characters(data: bytes) -> bytes | None:
    """JSON with `?` for lone surrogates, U+FFFD for bytes that are not UTF-8, and null for NaN; None if it is no JSON."""
    try:
        value = json.loads(data.decode("utf-8", "replace"), strict=False, parse_constant=lambda name: None)
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    except (ValueError, RecursionError):
        return None
