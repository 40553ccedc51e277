"""Decode bytes to text as UTF-8, else in the configured encoding (`data.encoding`); bytes that do not fit are an error."""

from __future__ import annotations

import codecs
import hashlib
import io
from pathlib import Path
from typing import NamedTuple

from seedbed.data.byte_streams import CHUNK_BYTES, UnreadableError, open_bytes
from seedbed.data.file_formats import BOM, HEAD_BYTES, encoding_hint, refuse_wrong_format
from seedbed.text import quoted
from seedbed.tokenizer.newlines import BOM as MARK
from seedbed.tokenizer.newlines import normalised

NOT_UTF8 = "not UTF-8"
"""The reason that is counted for files that are not UTF-8 when no other encoding is configured."""


class FileScan(NamedTuple):
    """Facts about a text file: digest of its bytes, length in characters, whether it is blank, encoding."""

    digest: bytes
    length: int
    blank: bool
    encoding: str


def scan_file(path: Path, encoding: str, max_bytes: int | None) -> FileScan:
    """Read a text file in chunks, and return its digest, length, whether it is blank, and its encoding.

    The encoding is UTF-8 if the file is valid UTF-8, otherwise `encoding`. `max_bytes`: read only so many decompressed
    bytes (None: all). Raises UnreadableError if neither encoding fits.
    """
    try:
        return _scan_as(path, "", max_bytes, wide=is_wide(encoding))
    except UnreadableError as error:
        if not encoding or error.reason not in ("binary", NOT_UTF8):
            raise
    return _scan_as(path, encoding, max_bytes, wide=is_wide(encoding))


def _scan_as(path: Path, encoding: str, max_bytes: int | None, *, wide: bool) -> FileScan:
    digest = hashlib.sha256()
    decoder = codecs.getincrementaldecoder(encoding or "utf-8-sig")()
    newlines = io.IncrementalNewlineDecoder(None, translate=True)
    length, position, blank = 0, 0, True
    with open_bytes(path, max_bytes) as handle:
        while True:
            chunk = handle.read(CHUNK_BYTES)
            digest.update(chunk)
            if position == 0:
                refuse_wrong_format(path, chunk[:HEAD_BYTES], "text", wide=wide)
            if not (wide and encoding):
                refuse_nul(path, chunk, position)
            bom = len(BOM) if position == 0 and chunk.startswith(BOM) and not encoding else 0
            kept = decoder.getstate()[0]
            start = position + bom - (len(kept) if isinstance(kept, bytes) else 0)
            final = not chunk and max_bytes is None
            try:
                text = newlines.decode(decoder.decode(chunk, final=final), final=final)
            except UnicodeError as error:
                raise decoding_error(path, encoding, error, start) from None
            text = text if length else text.removeprefix(MARK)
            length += len(text)
            blank = blank and (not text or text.isspace())
            position += len(chunk)
            if not chunk:
                return FileScan(digest.digest(), length, blank, encoding or "utf-8-sig")


def decode_text(path: Path, content: bytes, encoding: str) -> str:
    """The text of a small file (its bytes are `content`), decoded as UTF-8, otherwise as `encoding`.

    A byte-order mark is removed, and every line ending becomes a newline.
    """
    wide = is_wide(encoding)
    refuse_wrong_format(path, content[:HEAD_BYTES], "text", wide=wide)
    bom = len(BOM) if content.startswith(BOM) else 0
    if not (wide and b"\0" in content):
        refuse_nul(path, content, 0)
        try:
            return normalised(content[bom:].decode() if bom else content.decode())
        except UnicodeDecodeError as error:
            if not encoding:
                raise decoding_error(path, "", error, bom) from None
    try:
        return normalised(content.decode(encoding))
    except UnicodeError as error:
        raise decoding_error(path, encoding, error, 0) from None


def is_wide(encoding: str) -> bool:
    """Whether an encoding is UTF-16 or UTF-32, in which NUL bytes are normal."""
    return bool(encoding) and codecs.lookup(encoding).name.startswith(("utf-16", "utf-32"))


def refuse_nul(path: Path, chunk: bytes, position: int) -> None:
    """Raise UnreadableError if a chunk contains a NUL byte. `position`: byte offset of the chunk in the file."""
    at = chunk.find(b"\0")
    if at >= 0:
        raise UnreadableError(
            "binary",
            f"{quoted(path)} is not text: it contains a NUL byte at byte {position + at}.",
            "If the file has another format, extract its text first. If it is UTF-16 without a byte-order mark, use "
            "--set data.encoding=utf-16-le.",
        )


def decoding_error(path: Path, encoding: str, error: UnicodeError, start: int) -> UnreadableError:
    """The error for a file that `encoding` (empty: UTF-8) cannot decode.

    `start`: byte offset in the file of the bytes that were being decoded.
    """
    at, byte = start, b""
    if isinstance(error, UnicodeDecodeError):
        at, byte = start + error.start, error.object[error.start : error.start + 1]
    where = f"byte 0x{byte.hex()} at byte {at}" if byte else str(error)
    if encoding:
        return UnreadableError(
            f"neither UTF-8 nor {encoding}",
            f"{quoted(path)} is neither UTF-8 nor {encoding}: {where}.",
            "Set data.encoding to the encoding of the file, such as cp1252, latin-1, utf-16, gb18030 or shift_jis.",
        )
    return UnreadableError(
        NOT_UTF8,
        f"{quoted(path)} is not UTF-8: {where}.",
        "The text may be Western European. " + encoding_hint(path, "WINDOWS-1252"),
    )
