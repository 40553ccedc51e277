"""Writes what is compared of many records to a file: a digest and a signature of each, in bounded memory.

A file has the rows of signatures, then the rows of records, then a footer. Texts with fewer than five words have no signature.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from seedbed.curation.duplicates.content import Content, content_of, licence_is_known, seconds_of
from seedbed.curation.duplicates.minhash import PERMUTATIONS, Signature, Signatures, signatures
from seedbed.curation.duplicates.shingles import shingles
from seedbed.curation.record import Record, content_id
from seedbed.errors import SeedbedError
from seedbed.files import explained, replacing
from seedbed.text import quoted

WORDS = 5
"""Texts are compared by their runs of so many words."""
_BATCH_CHARACTERS, _BATCH_TEXTS = 1 << 20, 1024
_RECENT_DOCUMENTS = 4096

Digests = npt.NDArray[np.uint64]
"""Rows of two numbers: a digest of 16 bytes, whose order is that of the bytes."""

_ROW = struct.Struct(">16s16s16sqqB")
_RECORD_TYPE = np.dtype(
    [
        ("id", ">u8", 2),
        ("exact", ">u8", 2),
        ("document", ">u8", 2),
        ("seconds", ">i8"),
        ("length", ">i8"),
        ("flags", "u1"),
    ]
)
_SIGNATURE_TYPE = np.dtype([("document", ">u8", 2), ("code", "<u4"), ("values", "<u4", PERMUTATIONS)])
_FOOTER = struct.Struct("<16sQQ24s")
_MAGIC = b"seedbed-minhash1"
LICENSED, CODE, CHAT, FIM = 1, 2, 4, 8
"""Flags of a record: its licence is known; it is compared as code; its kind."""


@dataclass(frozen=True)
class RecordRows:
    """What is known of n records, in order: digests (n, 2), and times, lengths and flags (n)."""

    ids: Digests
    exact: Digests
    documents: Digests
    seconds: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    flags: npt.NDArray[np.uint8]


def write_signatures(records: Iterable[Record], path: Path, maker: str = "auto") -> int:
    """Write what is compared of each record to a file, which replaces one at `path`; returns how many records there were.

    `maker`: see minhash.signatures; `none` writes digests alone. Raises StorageError if the file cannot be written.
    """
    make = signatures(maker) if maker != "none" else None
    rows = bytearray()
    with replacing(path, durable=False) as handle:
        batches = _Batches(handle, make) if make else None
        for record in records:
            content = content_of(record)
            if batches:
                batches.add(content)
            rows += _row(record, content)
        if batches:
            batches.flush()
        handle.write(rows)
        name = make.name if make else maker
        written = batches.written if batches else 0
        handle.write(_FOOTER.pack(_MAGIC, written, len(rows) // _ROW.size, name.encode()))
    return len(rows) // _ROW.size


def _row(record: Record, content: Content) -> bytes:
    flags = LICENSED * licence_is_known(record) + CODE * content.code
    flags += {"chat": CHAT, "fim": FIM, "text": 0}[record.kind]
    return _ROW.pack(record_id(record), content.exact, content.document, seconds_of(record), len(content.text), flags)


def record_id(record: Record) -> bytes:
    """The 16 bytes of a record's id; if it has none in the usual form, of the hash of its content."""
    try:
        made = bytes.fromhex(record.id)
    except ValueError:
        made = b""
    return made if len(made) == 16 else bytes.fromhex(content_id(record))


class _Batches:
    """Collects texts, and writes their signatures whenever there is enough to compute at once."""

    def __init__(self, handle: BinaryIO, make: Signatures) -> None:
        self.written = 0
        self._handle, self._make = handle, make
        self._contents: list[Content] = []
        self._characters = 0
        self._recent: set[bytes] = set()

    def add(self, content: Content) -> None:
        if content.document in self._recent:  # the rows of one piece of a file follow each other
            return
        if len(self._recent) >= _RECENT_DOCUMENTS:
            self._recent.clear()
        self._recent.add(content.document)
        self._contents.append(content)
        self._characters += len(content.text)
        if self._characters >= _BATCH_CHARACTERS or len(self._contents) >= _BATCH_TEXTS:
            self.flush()

    def flush(self) -> None:
        if not self._contents:
            return
        found = shingles([content.text for content in self._contents], WORDS)
        numbers = np.flatnonzero(np.diff(found.offsets))
        if len(numbers):
            offsets = np.append(found.offsets[numbers], found.offsets[-1])
            rows = np.zeros(len(numbers), _SIGNATURE_TYPE)
            rows["values"] = self._make(found.hashes, offsets)
            contents = [self._contents[number] for number in numbers.tolist()]
            rows["document"] = np.frombuffer(b"".join(each.document for each in contents), ">u8").reshape(-1, 2)
            rows["code"] = [each.code for each in contents]
            self._handle.write(rows.tobytes())
            self.written += len(rows)
        self._contents, self._characters = [], 0


class SignatureFiles:
    """Several files that `write_signatures` wrote, as if they were one. Raises SeedbedError if they do not fit together."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)
        footers = [_footer(path) for path in paths]
        self.signatures = sum(footer[0] for footer in footers)
        self.records = sum(footer[1] for footer in footers)
        self._counts = [footer[:2] for footer in footers]
        makers = sorted({footer[2] for footer in footers})
        if len(makers) > 1:
            raise SeedbedError(
                f"The signatures were made in different ways: {', '.join(map(quoted, makers))}.",
                "Make all of them on machines with the same packages.",
            )
        self.maker = makers[0] if makers else ""

    def record_rows(self) -> RecordRows:
        """What is known of all records, in the order of the files: 65 bytes for each."""
        rows = np.empty(self.records, _RECORD_TYPE)
        place = 0
        for path, (before, count) in zip(self.paths, self._counts, strict=True):
            with explained(path), path.open("rb") as handle:
                handle.seek(before * _SIGNATURE_TYPE.itemsize)
                rows[place : place + count] = np.fromfile(handle, _RECORD_TYPE, count)
            place += count
        return RecordRows(
            ids=rows["id"].astype(np.uint64),
            exact=rows["exact"].astype(np.uint64),
            documents=rows["document"].astype(np.uint64),
            seconds=rows["seconds"].astype(np.int64),
            lengths=rows["length"].astype(np.int64),
            flags=rows["flags"].copy(),
        )

    def signature_blocks(self, size: int = 4096) -> Iterator[tuple[Digests, npt.NDArray[np.bool_], Signature]]:
        """Yield blocks of signatures: the digests of the documents, whether they are code, and the values."""
        for path, (count, _) in zip(self.paths, self._counts, strict=True):
            with explained(path), path.open("rb") as handle:
                for begin, end in pairwise([*range(0, count, size), count]):
                    rows = np.fromfile(handle, _SIGNATURE_TYPE, end - begin)
                    yield rows["document"].astype(np.uint64), rows["code"] > 0, rows["values"]


def _footer(path: Path) -> tuple[int, int, str]:
    with explained(path), path.open("rb") as handle:
        size = handle.seek(0, 2)
        handle.seek(max(size - _FOOTER.size, 0))
        data = handle.read(_FOOTER.size)
    if len(data) == _FOOTER.size:
        magic, made, records, maker = _FOOTER.unpack(data)
        if magic == _MAGIC and size == made * _SIGNATURE_TYPE.itemsize + records * _ROW.size + _FOOTER.size:
            return made, records, maker.rstrip(b"\0").decode()
    raise SeedbedError(f"{quoted(path)} has no complete signatures.", "Make it again.")
