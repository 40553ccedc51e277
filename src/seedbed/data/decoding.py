"""Bytes to text: UTF-8, else the encoding that the config names, strictly. Knows no format of records."""

from __future__ import annotations

import codecs
import hashlib
import io
from pathlib import Path
from typing import NamedTuple

from seedbed.data.opening import CHUNK_BYTES, UnreadableError, opened
from seedbed.data.recognise import BOM, HEAD_BYTES, encoding_hint, refuse_foreign
from seedbed.text import quoted
from seedbed.tokenizer.newlines import BOM as MARK
from seedbed.tokenizer.newlines import normalised

NOT_UTF8 = "not UTF-8"
"""The word under which files are counted that are not UTF-8 where no other encoding is named."""


class Surveyed(NamedTuple):
    """What a look at the whole of a file found; `encoding` is the one in which it can be read."""

    digest: bytes
    length: int
    blank: bool
    encoding: str


def survey(path: Path, encoding: str, most: int | None) -> Surveyed:
    """Digest of the bytes, length in characters, whether all is blank, and the encoding: UTF-8, else the one given.

    Raises UnreadableError where the file is in neither.
    """
    try:
        return _survey_as(path, "", most, wide=is_wide(encoding))
    except UnreadableError as error:
        if not encoding or error.reason not in ("binary", NOT_UTF8):
            raise
    return _survey_as(path, encoding, most, wide=is_wide(encoding))


def _survey_as(path: Path, encoding: str, most: int | None, *, wide: bool) -> Surveyed:
    digest = hashlib.sha256()
    decoder = codecs.getincrementaldecoder(encoding or "utf-8-sig")()
    newlines = io.IncrementalNewlineDecoder(None, translate=True)
    length, position, blank = 0, 0, True
    with opened(path, most) as handle:
        while True:
            chunk = handle.read(CHUNK_BYTES)
            digest.update(chunk)
            if position == 0:
                refuse_foreign(path, chunk[:HEAD_BYTES], "text", wide=wide)
            if not (wide and encoding):
                refuse_nul(path, chunk, position)
            bom = len(BOM) if position == 0 and chunk.startswith(BOM) and not encoding else 0
            kept = decoder.getstate()[0]
            start = position + bom - (len(kept) if isinstance(kept, bytes) else 0)
            final = not chunk and most is None
            try:
                text = newlines.decode(decoder.decode(chunk, final=final), final=final)
            except UnicodeError as error:
                raise not_decoded(path, encoding, error, start) from None
            text = text if length else text.removeprefix(MARK)
            length += len(text)
            blank = blank and (not text or text.isspace())
            position += len(chunk)
            if not chunk:
                return Surveyed(digest.digest(), length, blank, encoding or "utf-8-sig")


def decoded(path: Path, content: bytes, encoding: str) -> str:
    """Text of a small file: UTF-8 or else in the encoding, byte-order mark dropped, every line ending a newline."""
    wide = is_wide(encoding)
    refuse_foreign(path, content[:HEAD_BYTES], "text", wide=wide)
    bom = len(BOM) if content.startswith(BOM) else 0
    if not (wide and b"\0" in content):
        refuse_nul(path, content, 0)
        try:
            return normalised(content[bom:].decode() if bom else content.decode())
        except UnicodeDecodeError as error:
            if not encoding:
                raise not_decoded(path, "", error, bom) from None
    try:
        return normalised(content.decode(encoding))
    except UnicodeError as error:
        raise not_decoded(path, encoding, error, 0) from None


def is_wide(encoding: str) -> bool:
    """Whether characters of an encoding take two or four bytes, so that its texts are full of NUL bytes."""
    return bool(encoding) and codecs.lookup(encoding).name.startswith(("utf-16", "utf-32"))


def refuse_nul(path: Path, chunk: bytes, position: int) -> None:
    at = chunk.find(b"\0")
    if at >= 0:
        raise UnreadableError(
            "binary",
            f"{quoted(path)} is not text: there is a NUL byte at byte {position + at}.",
            "Other formats need their text taken out first. UTF-16 without a mark: --set data.encoding=utf-16-le.",
        )


def not_decoded(path: Path, encoding: str, error: UnicodeError, start: int) -> UnreadableError:
    """What to tell of a file that is not in the encoding (UTF-8 where none is given); `start`: bytes before the error's."""
    at, byte = start, b""
    if isinstance(error, UnicodeDecodeError):
        at, byte = start + error.start, error.object[error.start : error.start + 1]
    where = f"byte 0x{byte.hex()} at byte {at}" if byte else str(error)
    if encoding:
        return UnreadableError(
            f"neither UTF-8 nor {encoding}",
            f"{quoted(path)} is neither UTF-8 nor {encoding}: {where}.",
            "Name the encoding that it is in with data.encoding, such as cp1252, latin-1, utf-16, gb18030 or shift_jis.",
        )
    return UnreadableError(
        NOT_UTF8,
        f"{quoted(path)} is not UTF-8: {where}.",
        "Western European text? " + encoding_hint(path, "WINDOWS-1252"),
    )
