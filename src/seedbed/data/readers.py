"""From the bytes of a file to documents: plain text, JSON lines, CSV and parquet, also compressed.

What cannot be read is raised as `UnreadableError` or counted by its reason. Refuses to know about splits and corpora.
"""

from __future__ import annotations

import hashlib
import io
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from seedbed.data.decoding import decoded, survey
from seedbed.data.holdout import text_digest
from seedbed.data.opening import COMPRESSED_SUFFIXES, UnreadableError, opened
from seedbed.data.recognise import HEAD_BYTES, json_kind, refuse_placeholder
from seedbed.data.records import Reading, parquet_texts, record_texts, table_texts
from seedbed.text import quoted
from seedbed.tokenizer.newlines import BOM, normalised

PIECE_CHARS = 1 << 20
"""A document longer than 1.5 of these comes in pieces of about this many characters, cut at paragraph borders."""

TEXT_SUFFIXES = (".txt", ".md")
RECORD_SUFFIXES = (".jsonl", ".ndjson")
TABLE_SUFFIXES = (".csv", ".tsv")
READ = (
    f"Read are {' '.join((*TEXT_SUFFIXES, *RECORD_SUFFIXES, *TABLE_SUFFIXES))}, "
    "also with .gz or .zst behind (such as .txt.gz), and .parquet."
)

_WHOLE_BYTES = PIECE_CHARS * 3 // 2
_NO_TEXT = "Name a file or folder with text in it."


class Document(NamedTuple):
    """A text on its way in: a digest of its content, its length in characters, and its text in pieces.

    The pieces are a list where the text is at hand; a longer one is read anew each time one goes through them.
    """

    digest: bytes
    length: int
    pieces: Iterable[str]


def kind_of(path: Path) -> str:
    """text, records, table or parquet by the file's name, compression aside; empty for any other."""
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
    """The kind of a file whose name does not tell: records, json (which is refused), or text. Raises UnreadableError."""
    with opened(path, HEAD_BYTES) as handle:
        return json_kind(handle.read()) or "text"


def read_file(path: Path, kind: str, reading: Reading, drops: Counter[str]) -> Iterator[Document]:
    """The documents of a file of a `kind` (see `kind_of`). A plain text file is one document.

    Records without usable text are counted in `drops`. Raises UnreadableError where the file as a whole is no good.
    """
    if kind == "text":
        yield from _text_document(path, reading)
        return
    if kind == "parquet":
        texts = parquet_texts(path, reading.field, drops, most=reading.most)
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
    """The lines of a text file, newline included. Raises UnreadableError where it is not what it claims to be."""
    with opened(path) as handle:
        refuse_placeholder(path, handle.peek(HEAD_BYTES))
    survey(path, "", None)
    with opened(path) as handle:
        yield from io.TextIOWrapper(handle, encoding="utf-8-sig", newline=None)


def read_rows_of(path: Path, field: str) -> Iterator[str]:
    """The text column of a parquet file, empty rows included. Raises UnreadableError where there is none."""
    return parquet_texts(path, field, Counter())


def in_pieces(chunks: Iterable[str]) -> Iterator[str]:
    """The same text cut at paragraph (else line, else word) borders into pieces of about PIECE_CHARS."""
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


def _text_document(path: Path, reading: Reading) -> Iterator[Document]:
    """The file as one document; it is checked to its end before the first piece is given out."""
    with opened(path, reading.most) as handle:
        head = handle.read(_WHOLE_BYTES)
        rest = b"" if len(head) < _WHOLE_BYTES else handle.read(1)
    if not rest and reading.most is None:
        text = decoded(path, head, reading.encoding)
        if not text or text.isspace():
            raise UnreadableError("empty", f"{quoted(path)} holds no text.", _NO_TEXT)
        yield Document(hashlib.sha256(head).digest(), len(text), [text])
        return
    surveyed = survey(path, reading.encoding, reading.most)
    if surveyed.blank and reading.most is None:
        raise UnreadableError("empty", f"{quoted(path)} holds no text.", _NO_TEXT)
    yield Document(surveyed.digest, surveyed.length, _Pieces(path, surveyed.encoding, reading.most))


class _Pieces:
    """The text of a large file, read anew each time it is walked through."""

    def __init__(self, path: Path, encoding: str, most: int | None) -> None:
        self._path, self._encoding, self._most = path, encoding, most

    def __iter__(self) -> Iterator[str]:
        with opened(self._path, self._most) as handle:
            text = io.TextIOWrapper(handle, encoding=self._encoding, newline=None)
            first = text.read(PIECE_CHARS).removeprefix(BOM)
            yield from in_pieces(itertools.chain([first], iter(lambda: text.read(PIECE_CHARS), "")))
