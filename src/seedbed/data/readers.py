"""From the bytes of a file to documents: plain text, JSON lines and parquet, also compressed.

What cannot be read is raised as `UnreadableError` or counted by its reason. Refuses to know about splits and corpora.
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import io
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import msgspec

from seedbed.data.holdout import text_digest
from seedbed.errors import SeedbedError

PIECE_CHARS = 1 << 20
"""A document longer than 1.5 of these comes in pieces of about this many characters, cut at paragraph borders."""

TEXT_SUFFIXES = (".txt", ".md")
RECORD_SUFFIXES = (".jsonl", ".ndjson")
COMPRESSED_SUFFIXES = (".gz", ".zst")
SUFFIXES = (*TEXT_SUFFIXES, *RECORD_SUFFIXES, ".parquet", *COMPRESSED_SUFFIXES)

_CHUNK_BYTES = 1 << 20
_ZSTD_INPUT_BYTES = 1 << 15
_PLACEHOLDER_BYTES = 200
_WHOLE_BYTES = PIECE_CHARS * 3 // 2
_INSTALL = "Install it with: pip install 'seedbed[data]'"
_FIELD_HINT = "Name the field that holds the text: --set data.field=NAME."
_FETCH_HINT = "It may have been cut short: fetch it again."
_BOM = codecs.BOM_UTF8
_FOREIGN_BOMS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


class UnreadableError(SeedbedError):
    """A file that yields no documents. `reason` is the word under which it is counted."""

    def __init__(self, reason: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.reason = reason

    def __reduce__(self) -> tuple[type[SeedbedError], tuple[str, ...]]:  # type: ignore[override]
        """Survive the trip between processes with all parts."""
        return type(self), (self.reason, self.message, self.hint)


class Document(NamedTuple):
    """A text on its way in: a digest of its content, its length in characters, and its text in pieces.

    The pieces are a list where the text is at hand; a longer one is read anew each time one goes through them.
    """

    digest: bytes
    length: int
    pieces: Iterable[str]


def kind_of(path: Path) -> str:
    """text, records or parquet by the file's name, compression aside; empty for any other."""
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
    return "parquet" if last == ".parquet" else ""


def read_file(path: Path, kind: str, field: str, drops: Counter[str]) -> Iterator[Document]:
    """The documents of a file of a `kind` (see `kind_of`). A plain text file is one document.

    Records without usable text are counted in `drops`. Raises UnreadableError where the file as a whole is no good.
    """
    if kind == "text":
        yield from _text_document(path, drops)
        return
    texts = _parquet_texts(path, field, drops) if kind == "parquet" else _record_texts(path, field, drops)
    for text in texts:
        if text.isspace() or not text:
            drops["empty"] += 1
            continue
        yield Document(text_digest(text), len(text), [text])


def read_lines_of(path: Path) -> Iterator[str]:
    """The lines of a text file, newline included. Raises UnreadableError where it is not what it claims to be."""
    _survey(path)
    with _opened(path) as handle:
        refuse_placeholder(path, handle.read(_PLACEHOLDER_BYTES))
    with _opened(path) as handle:
        yield from io.TextIOWrapper(handle, encoding="utf-8-sig", newline=None)


def read_rows_of(path: Path, field: str) -> Iterator[str]:
    """The text column of a parquet file, empty rows included. Raises UnreadableError where there is none."""
    with _opened(path) as handle:
        refuse_placeholder(path, handle.read(_PLACEHOLDER_BYTES))
    return _parquet_texts(path, field, Counter())


def refuse_placeholder(path: Path, head: bytes) -> None:
    """Raise UnreadableError for what stands in for data after a failed download: a web page or a Git LFS pointer."""
    start = head.lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise UnreadableError("web page", f"{path} is a web page, not data: its download failed.", _FETCH_HINT)
    if start.startswith(b"version https://git-lfs"):
        raise UnreadableError(
            "LFS pointer", f"{path} is a Git LFS pointer, not the data.", "Fetch the data: git lfs pull"
        )


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


def _text_document(path: Path, drops: Counter[str]) -> Iterator[Document]:
    """The file as one document; it is checked to its end before the first piece is given out."""
    with _opened(path) as handle:
        head = handle.read(_WHOLE_BYTES)
        rest = b"" if len(head) < _WHOLE_BYTES else handle.read(1)
    if not rest:
        text = _decoded(path, head)
        if not text or text.isspace():
            raise UnreadableError("empty", f"{path} holds no text.", "Name a file or folder with text in it.")
        yield Document(hashlib.sha256(head).digest(), len(text), [text])
        return
    digest, length, blank = _survey(path)
    if blank:
        raise UnreadableError("empty", f"{path} holds no text.", "Name a file or folder with text in it.")
    yield Document(digest, length, _Pieces(path))


class _Pieces:
    """The text of a large file, read anew each time it is walked through."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __iter__(self) -> Iterator[str]:
        with _opened(self._path) as handle:
            text = io.TextIOWrapper(handle, encoding="utf-8-sig", newline=None)
            yield from in_pieces(iter(lambda: text.read(PIECE_CHARS), ""))


def _survey(path: Path) -> tuple[bytes, int, bool]:
    """Digest of the bytes, length in characters, and whether all is blank; raises UnreadableError where not UTF-8."""
    digest = hashlib.sha256()
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    newlines = io.IncrementalNewlineDecoder(None, translate=True)
    length, position, blank = 0, 0, True
    with _opened(path) as handle:
        while True:
            chunk = handle.read(_CHUNK_BYTES)
            digest.update(chunk)
            _refuse_binary(path, chunk, position)
            bom = len(_BOM) if position == 0 and chunk.startswith(_BOM) else 0
            start = position + bom - len(decoder.getstate()[0])
            try:
                text = newlines.decode(decoder.decode(chunk, final=not chunk), final=not chunk)
            except UnicodeDecodeError as error:
                raise _not_utf8(path, start + error.start, error.object[error.start : error.start + 1]) from None
            length += len(text)
            blank = blank and (not text or text.isspace())
            position += len(chunk)
            if not chunk:
                return digest.digest(), length, blank


def _decoded(path: Path, content: bytes) -> str:
    """Text of a small file: UTF-8, byte-order mark dropped, every line ending a newline."""
    _refuse_binary(path, content, 0)
    bom = len(_BOM) if content.startswith(_BOM) else 0
    try:
        text = content[bom:].decode() if bom else content.decode()
    except UnicodeDecodeError as error:
        raise _not_utf8(path, bom + error.start, error.object[error.start : error.start + 1]) from None
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _refuse_binary(path: Path, chunk: bytes, position: int) -> None:
    if position == 0:
        for bom, encoding in _FOREIGN_BOMS.items():
            if chunk.startswith(bom):
                raise UnreadableError(
                    "not UTF-8",
                    f"{path} is {encoding}, not UTF-8 (byte-order mark at byte 0).",
                    f"Convert it: iconv -f {encoding} -t UTF-8 {path.name} > {path.stem}.utf8.txt",
                )
    at = chunk.find(b"\0")
    if at >= 0:
        raise UnreadableError(
            "binary",
            f"{path} is not text: there is a NUL byte at byte {position + at}.",
            "Name text files (txt, md, jsonl, parquet, or those as .gz or .zst); other formats need extracting first.",
        )


def _not_utf8(path: Path, position: int, byte: bytes) -> UnreadableError:
    return UnreadableError(
        "not UTF-8",
        f"{path} is not UTF-8: byte 0x{byte.hex()} at byte {position}.",
        f"For Western European text: iconv -f WINDOWS-1252 -t UTF-8 {path.name} > {path.stem}.utf8.txt",
    )


# Records


def _record_texts(path: Path, field: str, drops: Counter[str]) -> Iterator[str]:
    """The text field of each JSON line; a line without it is counted, and a file without any is UnreadableError."""
    row_type = msgspec.defstruct("Row", [("text", Any, msgspec.field(name=field, default=None))])
    decode = cast(Callable[[bytes], Any], msgspec.json.Decoder(row_type).decode)
    good, first_bad = 0, ""
    with _opened(path) as handle:
        for number, line in enumerate(io.BufferedReader(cast(Any, handle), _CHUNK_BYTES), 1):
            if number == 1:
                _refuse_binary(path, line, 0)
                line = line.removeprefix(_BOM)
            if line.isspace():
                continue
            try:
                text = decode(line).text
            except UnicodeDecodeError:
                reason, text = "not UTF-8", None
            except msgspec.ValidationError:
                reason, text = "no text field", None
            except msgspec.DecodeError:
                reason, text = "broken JSON", None
            else:
                reason = "no text field"
            if isinstance(text, str):
                good += 1
                yield text
                continue
            drops[reason] += 1
            first_bad = first_bad or f"line {number}: {_complaint(line, reason, field)}"
    if not good and first_bad:
        raise UnreadableError(
            "",
            f"{path} has no record with text ({first_bad}).",
            _FIELD_HINT,
        )
    if not good:
        raise UnreadableError("empty", f"{path} holds no records.", "Name a file with one JSON object per line.")


def _complaint(line: bytes, reason: str, field: str) -> str:
    """What is wrong with a record, naming the fields that it has."""
    if reason != "no text field":
        return reason
    row = msgspec.json.decode(line)
    if not isinstance(row, dict):
        return f"a {type(row).__name__}, not an object with a field {field!r}"
    if field in row:
        return f"its field {field!r} is not a string"
    return f"no field {field!r} among {', '.join(list(row)[:12])}"


def _parquet_texts(path: Path, field: str, drops: Counter[str]) -> Iterator[str]:
    """The text column of a parquet file, a batch of rows in memory at a time."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise SeedbedError(f"Reading {path} needs pyarrow, which is not installed.", _INSTALL) from error
    try:
        with pq.ParquetFile(path) as table:
            names = table.schema_arrow.names
            if field not in names:
                drops["no text field"] += table.metadata.num_rows
                raise UnreadableError(
                    "",
                    f"{path} has no column {field!r}; it has {', '.join(names)}.",
                    _FIELD_HINT,
                )
            column = table.schema_arrow.field(field).type
            if not (pa.types.is_string(column) or pa.types.is_large_string(column) or pa.types.is_string_view(column)):
                drops["no text field"] += table.metadata.num_rows
                raise UnreadableError("", f"Column {field!r} of {path} is {column}, not text.", _FIELD_HINT)
            if table.metadata.num_rows == 0:
                raise UnreadableError("empty", f"{path} holds no rows.", "Name a file with rows.")
            for batch in table.iter_batches(batch_size=512, columns=[field]):
                for text in batch.column(0).to_pylist():
                    if text is None:
                        drops["no text field"] += 1
                    else:
                        yield text
    except pa.ArrowException as error:
        raise UnreadableError(
            "broken parquet", f"{path} is not a whole parquet file ({_first_line(error)}).", _FETCH_HINT
        ) from error
    except UnicodeDecodeError as error:
        raise UnreadableError(
            "not UTF-8", f"Column {field!r} of {path} is not UTF-8.", "Write the file again."
        ) from error


# Bytes


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The file's bytes, decompressed. What goes wrong while they are read is raised as UnreadableError."""
    suffix = path.suffix.lower()
    try:
        with path.open("rb") as raw:
            if suffix == ".gz":
                with gzip.open(raw) as handle:
                    yield cast(BinaryIO, handle)
            elif suffix == ".zst":
                yield cast(BinaryIO, io.BufferedReader(_ZstdStream(path, raw), _CHUNK_BYTES))
            else:
                yield raw
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UnreadableError(
            "broken gzip", f"{path} is not a whole gzip file ({_first_line(error)}).", _FETCH_HINT
        ) from error
    except OSError as error:
        raise UnreadableError(
            "unreadable", f"Cannot read {path}: {error.strerror}.", "Check its permissions."
        ) from error


class _ZstdStream(io.RawIOBase):
    """Decompressed bytes of one or more zstd frames. Unlike the library's own reader it notices a file cut short."""

    def __init__(self, path: Path, raw: BinaryIO) -> None:
        try:
            import zstandard
        except ImportError as error:
            raise SeedbedError(f"Reading {path} needs zstandard, which is not installed.", _INSTALL) from error
        self._path = path
        self._raw = raw
        self._error = zstandard.ZstdError
        self._new_frame = zstandard.ZstdDecompressor().decompressobj
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
                    raise self._broken("it ends in the middle of a frame")
                return 0
            self._advance()
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def _advance(self) -> None:
        """Decompress what was read, up to the end of the frame."""
        self._frame = self._frame or self._new_frame()
        try:
            self._ready = memoryview(self._frame.decompress(self._compressed))
        except self._error as error:
            raise self._broken(_first_line(error)) from error
        self._compressed = b""
        if self._frame.eof:
            self._compressed, self._frame = self._frame.unused_data, None

    def _broken(self, why: str) -> UnreadableError:
        return UnreadableError("broken zstd", f"{self._path} is not a whole zstd file ({why}).", _FETCH_HINT)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
