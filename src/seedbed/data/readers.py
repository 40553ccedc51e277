"""Read the documents of a file: plain text, JSON lines, CSV and parquet, also compressed.

A file that cannot be read raises `UnreadableError`; records that cannot be read are counted by reason.
"""

from __future__ import annotations

import hashlib
import io
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from seedbed.data.byte_streams import COMPRESSED_SUFFIXES, UnreadableError, open_bytes
from seedbed.data.decoding import decode_text, scan_file
from seedbed.data.file_formats import HEAD_BYTES, json_kind, refuse_placeholder
from seedbed.data.holdout import text_digest
from seedbed.data.records import ReadOptions, parquet_texts, record_texts, table_texts
from seedbed.text import quoted
from seedbed.tokenizer.newlines import BOM, normalised

PIECE_CHARS = 1 << 20
"""Number of characters in a piece: longer documents (by more than half) are cut into pieces at paragraph borders."""

TEXT_SUFFIXES = (".txt", ".md")
RECORD_SUFFIXES = (".jsonl", ".ndjson")
TABLE_SUFFIXES = (".csv", ".tsv")
READ = (
    f"Supported files: {' '.join((*TEXT_SUFFIXES, *RECORD_SUFFIXES, *TABLE_SUFFIXES))}, "
    "also compressed (.txt.gz, .txt.zst), and .parquet."
)

_WHOLE_BYTES = PIECE_CHARS * 3 // 2
_NO_TEXT = "Give a file or folder that contains text."


class Document(NamedTuple):
    """A document: a digest of its content, its length in characters, and its text in pieces.

    `pieces` is a list if the text is in memory. For a longer text, each iteration over `pieces` reads the file again.
    """

    digest: bytes
    length: int
    pieces: Iterable[str]


def kind_of(path: Path) -> str:
    """The format of a file by the extension of its name: text, records, table or parquet; "" for any other extension.

    Compression suffixes are ignored.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    if suffixes and suffixes[-1] in COMPRESSED_SUFFIXES:
        suffixes.pop()
        if suffixes and suffixes[-1] == ".parquet":
            return ""
    last = suffixes[-1] if suffixes else ""
    if last in TEXT_SUFFIXES:
        return "text"
    if last in RECORD_SUFFIXES:
        return "records"
    if last in TABLE_SUFFIXES:
        return "table"
    return "parquet" if last == ".parquet" else ""


def kind_inside(path: Path) -> str:
    """The format of a file by its first bytes, for unknown extensions: records, text, or json (which is refused later)."""
    with open_bytes(path, HEAD_BYTES) as handle:
        return json_kind(handle.read()) or "text"


def read_file(path: Path, kind: str, reading: ReadOptions, drops: Counter[str]) -> Iterator[Document]:
    """Yield the documents of a file of format `kind` (see `kind_of`). A plain text file is one document.

    Records without usable text are counted in `drops`. Raises UnreadableError if the whole file is unusable.
    """
    if kind == "text":
        yield from _text_document(path, reading)
        return
    if kind == "parquet":
        texts = parquet_texts(path, reading.field, drops, max_bytes=reading.max_bytes)
    elif kind == "table":
        texts = table_texts(path, reading, drops)
    else:
        texts = record_texts(path, kind, reading, drops)
    for raw in texts:
        text = normalised(raw)
        if text.isspace() or not text:
            drops["empty"] += 1
            continue
        yield Document(text_digest(text), len(text), [text])


def read_lines_of(path: Path) -> Iterator[str]:
    """Yield the lines of a text file with their newlines. Raises UnreadableError if it is not text."""
    with open_bytes(path) as handle:
        refuse_placeholder(path, handle.peek(HEAD_BYTES))
    scan_file(path, "", None)
    with open_bytes(path) as handle:
        yield from io.TextIOWrapper(handle, encoding="utf-8-sig", newline=None)


def read_rows_of(path: Path, field: str) -> Iterator[str]:
    """The texts in the column `field` of a parquet file, also empty ones. Raises UnreadableError without such a column."""
    return parquet_texts(path, field, Counter())


def in_pieces(chunks: Iterable[str]) -> Iterator[str]:
    """Yield a text, given in chunks of any length, in pieces of about PIECE_CHARS.

    A piece ends between paragraphs, else between lines, else between words.
    """
    buffer = ""
    for chunk in chunks:
        buffer = buffer + chunk if buffer else chunk
        start = 0
        while len(buffer) - start > _WHOLE_BYTES:
            end = start + PIECE_CHARS
            for separator in ("\n\n", "\n", " "):
                border = buffer.rfind(separator, start + PIECE_CHARS // 2, end)
                if border >= 0:
                    end = border + len(separator)
                    break
            yield buffer[start:end]
            start = end
        buffer = buffer[start:]
    if buffer:
        yield buffer


# Plain text


def _text_document(path: Path, reading: ReadOptions) -> Iterator[Document]:
    """Yield a text file as one document, after the whole file was checked."""
    with open_bytes(path, reading.max_bytes) as handle:
        head = handle.read(_WHOLE_BYTES)
        rest = b"" if len(head) < _WHOLE_BYTES else handle.read(1)
    if not rest and reading.max_bytes is None:
        text = decode_text(path, head, reading.encoding)
        if not text or text.isspace():
            raise UnreadableError("empty", f"{quoted(path)} contains no text.", _NO_TEXT)
        yield Document(hashlib.sha256(head).digest(), len(text), [text])
        return
    scan = scan_file(path, reading.encoding, reading.max_bytes)
    if scan.blank and reading.max_bytes is None:
        raise UnreadableError("empty", f"{quoted(path)} contains no text.", _NO_TEXT)
    yield Document(scan.digest, scan.length, _Pieces(path, scan.encoding, reading.max_bytes))


class _Pieces:
    """The text of a large file in pieces; each iteration reads the file again."""

    def __init__(self, path: Path, encoding: str, max_bytes: int | None) -> None:
        self._path, self._encoding, self._max_bytes = path, encoding, max_bytes

    def __iter__(self) -> Iterator[str]:
        with open_bytes(self._path, self._max_bytes) as handle:
            text = io.TextIOWrapper(handle, encoding=self._encoding, newline=None)
            first = text.read(PIECE_CHARS).removeprefix(BOM)
            yield from in_pieces(itertools.chain([first], iter(lambda: text.read(PIECE_CHARS), "")))
