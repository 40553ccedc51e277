"""Splits a large JSON file into its objects, in bounded memory: the elements of an array, or one object after the other."""

from __future__ import annotations

import contextlib
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from seedbed.curation.drops import Drops
from seedbed.curation.logs.lines import LINE_LIMIT, lines_of, open_file
from seedbed.curation.logs.options import STEP

READING_ERRORS: tuple[type[Exception], ...] = (
    *(OSError, ValueError, EOFError, RuntimeError),  # RuntimeError: encrypted, or an unknown method of compression
    *(zipfile.BadZipFile, zlib.error),
)
"""What reading from a file, or from a damaged zip file, can raise."""
with contextlib.suppress(ImportError):  # a Python that was built without it reads no such zip files
    from lzma import LZMAError

    READING_ERRORS += (LZMAError,)
_CHUNK = 1 << 20
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\]]|"', re.DOTALL)
_STRING_END = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)


def objects_of(path: Path, name: str, drops: Drops) -> Iterator[tuple[str, bytes]]:
    """Yield (place, JSON text) of each object in a file of lines (.jsonl, .ndjson) or in one JSON value (others)."""
    handle = open_file(path, name, drops)
    if handle is None:
        return
    with handle:
        if path.suffix in (".jsonl", ".ndjson"):
            for number, _, data in lines_of(handle, name, drops):
                yield f"{name}:{number}", data
        else:
            yield from split(handle, name, drops)


def split(handle: IO[bytes], name: str, drops: Drops) -> Iterator[tuple[str, bytes]]:
    """Yield (place, JSON text) of each object of a stream, the elements of an array or values one after the other.

    An object beyond the limit is skipped without being kept, and a last one that is cut off is counted.
    """
    splitter = _Splitter(name, drops)
    try:
        while chunk := handle.read(_CHUNK):
            yield from splitter.feed(chunk)
    except READING_ERRORS as error:
        kind = "unreadable part of a file" if isinstance(error, OSError | ValueError | EOFError) else "damaged archive"
        drops.drop(STEP, kind, f"{name} {splitter.number + 1}", str(error).lower())
        return
    splitter.end()


class _Splitter:
    def __init__(self, name: str, drops: Drops) -> None:
        self.number = 0
        self._name = name
        self._drops = drops
        self._buffer = bytearray()
        self._at = 0  # where the search goes on in the buffer
        self._start = -1  # where the object begins in the buffer; -1: between objects
        self._depth = 0  # of brackets within the object
        self._skipping = False
        self._in_string = False

    def feed(self, chunk: bytes) -> Iterator[tuple[str, bytes]]:
        """Yield the objects that end in this piece."""
        self._buffer += chunk
        while (token := self._next()) is not None:
            kind, end = token
            if self._start < 0 and not self._skipping:
                if kind == b"{":
                    self._start, self._depth = end - 1, 1
                continue
            if kind in (b"{", b"["):
                self._depth += 1
            elif kind in (b"}", b"]"):
                self._depth -= 1
                if self._depth == 0:
                    self.number += 1
                    if self._skipping:
                        self._skipping = False
                    else:
                        yield self._place(), bytes(self._buffer[self._start : end])
                    self._start = -1
        self._forget()

    def end(self) -> None:
        """Count an object that is cut off."""
        if self._start >= 0 or self._skipping:
            sample = bytes(self._buffer[max(self._start, 0) :][:2000]).decode("utf-8", "replace")
            self._drops.drop(STEP, "half-written element", f"{self._name} {self.number + 1}", sample)

    def _place(self) -> str:
        return f"{self._name} {self.number}"

    def _next(self) -> tuple[bytes, int] | None:
        """The next token and where it ends; None if more is needed."""
        if self._in_string:
            found = _STRING_END.match(self._buffer, self._at)
            if found is None:
                odd = len(self._buffer) - len(self._buffer.rstrip(b"\\"))
                self._at = len(self._buffer) - odd % 2
                return None
            self._in_string = False
            self._at = found.end()
        found = _TOKEN.search(self._buffer, self._at)
        if found is None:
            self._at = len(self._buffer)
            return None
        kind = found[0]
        if kind == b'"':  # a string that goes on in the next piece
            self._in_string = True
            self._at = found.end()
            return self._next()
        self._at = found.end()
        return kind[:1], self._at

    def _forget(self) -> None:
        """Remove from the buffer what is not needed any more."""
        if self._start >= 0 and len(self._buffer) - self._start > LINE_LIMIT:
            sample = bytes(self._buffer[self._start : self._start + 200]).decode("utf-8", "replace")
            where = f"{self._name} {self.number + 1}"
            self._drops.drop(STEP, f"element longer than {LINE_LIMIT >> 20} MiB", where, sample)
            self._skipping, self._start = True, -1
        keep = self._at if self._start < 0 else self._start
        del self._buffer[:keep]
        self._at -= keep
        self._start = -1 if self._start < 0 else 0
