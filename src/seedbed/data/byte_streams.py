"""Open a file as a stream of decompressed bytes (plain, gzip or zstd), with readable errors."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from seedbed.errors import SeedbedError
from seedbed.text import legible, quoted

COMPRESSED_SUFFIXES = (".gz", ".zst")
INSTALL_HINT = "Install it with: pip install 'seedbed[data]'"
FETCH_HINT = "The file may be incomplete. Download it again."
CHUNK_BYTES = 1 << 20
_ZSTD_INPUT_BYTES = 1 << 15
_ZSTD_WINDOW_BYTES = 1 << 31
"""Limit in bytes on zstd's window (how far back it copies): the most that `zstd --long=31` writes. Default: 128 MiB."""
_GZIP_MAGIC, _ZSTD_MAGICS = b"\x1f\x8b", (b"\x28\xb5\x2f\xfd", b"\x2a\x4d\x18")


class UnreadableError(SeedbedError):
    """The error for a file from which no document can be read. `reason`, such as `not UTF-8`, is counted and shown."""

    def __init__(self, reason: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.reason = reason

    def __reduce__(self) -> tuple[type[SeedbedError], tuple[str, ...]]:
        """Keep reason, message and hint when the error is pickled to go to another process."""
        return type(self), (self.reason, self.message, self.hint)


class NoTextError(SeedbedError):
    """The error for a source that has no text for a split; another attempt to build the dataset would fail, too."""


@contextmanager
def open_bytes(path: Path, max_bytes: int | None = None) -> Iterator[io.BufferedReader]:
    """Open a file as a stream of bytes, decompressed if it is .gz or .zst. Read errors raise UnreadableError.

    `max_bytes`: the stream ends after so many decompressed bytes (None: at the end of the file).
    """
    suffix = path.suffix.lower()
    try:
        with path.open("rb") as raw:
            stream: Any = raw
            if suffix == ".gz":
                stream = gzip.GzipFile(fileobj=raw)
            elif suffix == ".zst":
                stream = _ZstdStream(path, raw)
            if max_bytes is not None:
                stream = _Head(stream, max_bytes)
            yield raw if stream is raw else io.BufferedReader(stream, CHUNK_BYTES)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise _broken_gzip(path, error) from error
    except OSError as error:
        raise UnreadableError(
            "unreadable", f"Cannot read {quoted(path)}: {error.strerror or error}.", "Check its permissions."
        ) from error


def _broken_gzip(path: Path, error: Exception) -> UnreadableError:
    if not _begins_with(path, _GZIP_MAGIC):
        return UnreadableError(
            "broken gzip",
            f"{quoted(path)} is not a gzip file, despite its name.",
            "Rename the file to match its format.",
        )
    return UnreadableError(
        "broken gzip", f"{quoted(path)} is an incomplete or damaged gzip file ({first_line(error)}).", FETCH_HINT
    )


def _begins_with(path: Path, *magics: bytes) -> bool:
    try:
        with path.open("rb") as raw:
            head = raw.read(4)
    except OSError:
        return True  # the bytes cannot be checked
    return any(magic in head for magic in magics)


class _Head(io.RawIOBase):
    """A stream of the first `max_bytes` bytes of another stream."""

    def __init__(self, stream: BinaryIO, max_bytes: int) -> None:
        self._stream, self._left = stream, max_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self._stream.read(min(len(buffer), self._left))
        buffer[: len(content)] = content
        self._left -= len(content)
        return len(content)


class _ZstdStream(io.RawIOBase):
    """A stream of the decompressed bytes of a zstd file. Unlike the library's own reader, it detects a truncated file."""

    def __init__(self, path: Path, raw: BinaryIO) -> None:
        try:
            import zstandard
        except ImportError as error:
            raise SeedbedError(
                f"Reading {quoted(path)} needs zstandard, which is not installed.", INSTALL_HINT
            ) from error
        self._path = path
        self._raw = raw
        self._error = zstandard.ZstdError
        self._new_frame = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES).decompressobj
        self._frame: Any = None
        self._compressed = b""
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            self._compressed = self._compressed or self._raw.read(_ZSTD_INPUT_BYTES)
            if not self._compressed:
                if self._frame is not None:
                    raise self._broken("it ends inside a frame", FETCH_HINT)
                return 0
            self._advance()
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def _advance(self) -> None:
        """Decompress the bytes that were read from the file, up to the end of a zstd frame (a file can have several)."""
        self._frame = self._frame or self._new_frame()
        try:
            self._ready = memoryview(self._frame.decompress(self._compressed))
        except self._error as error:
            raise self._explained(first_line(error)) from error
        except MemoryError as error:
            raise self._broken(
                "its window does not fit in memory", "Compress the file again without --long, or free some memory."
            ) from error
        self._compressed = b""
        if self._frame.eof:
            self._compressed, self._frame = self._frame.unused_data, None

    def _explained(self, why: str) -> UnreadableError:
        """The UnreadableError for an error of the zstandard library (its text is `why`), with a suitable hint."""
        low = why.lower()
        if "dictionary" in low:
            return self._broken(why, "The file was compressed with a dictionary. Decompress it: zstd -d -D DICTIONARY")
        if "memory" in low or "window" in low:
            return self._broken(why, "Decompress the file (zstd -d --long=31), or compress it again without --long.")
        if not _begins_with(self._path, *_ZSTD_MAGICS):
            return UnreadableError(
                "broken zstd",
                f"{quoted(self._path)} is not a zstd file, despite its name.",
                "Rename the file to match its format.",
            )
        return self._broken(why, FETCH_HINT)

    def _broken(self, why: str, hint: str) -> UnreadableError:
        return UnreadableError("broken zstd", f"{quoted(self._path)} is not readable zstd: {why}.", hint)


def first_line(error: Exception) -> str:
    """The first line of an error's text."""
    return legible(str(error).strip().partition("\n")[0]) or type(error).__name__
