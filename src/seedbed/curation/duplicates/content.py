"""Says what of a record is compared with other records, and by what the better of two duplicates is chosen."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from datetime import UTC, datetime
from posixpath import splitext

import msgspec

from seedbed.curation.record import Record, texts_of
from seedbed.text import printable

_PROSE_SUFFIXES = frozenset((".adoc", ".asciidoc", ".htm", ".html", ".md", ".markdown", ".org", ".rst", ".tex", ".txt"))
_UNKNOWN_LICENCES = frozenset(("", "unknown", "noassertion", "none"))
_SPACES = re.compile(r"\s+")
_BLANKS = " \t\r\f\v"
_BLANK_ENDINGS = tuple(blank + "\n" for blank in _BLANKS)
_DIGEST_BYTES = 16


class Content(msgspec.Struct, frozen=True):
    """What is compared of a record.

    `text`: all of it as one text. `code`: whether it is code. `exact`: a digest that exact duplicates share.
    `document`: a digest that the rows of one piece of one file share, since they differ in their gap alone.
    """

    text: str
    code: bool
    exact: bytes
    document: bytes


def content_of(record: Record) -> Content:
    """What is compared of a record.

    Exact duplicates: code is equal but for whitespace at the ends of lines; prose is also equal in Unicode's form NFC, with
    case and whitespace ignored; conversations are equal turn by turn, but for whitespace at the ends of lines and NFC.
    """
    code = is_code(record)
    text = whole_text(record)
    if record.kind == "chat":
        exact = _digest(*_turns(record))
    elif record.kind == "fim":
        exact = _digest(
            "fim", *(_without_trailing(part or "") for part in (record.prefix, record.middle, record.suffix))
        )
    elif code:
        exact = _digest("code", _without_trailing(text))
    else:
        exact = _digest("prose", _SPACES.sub(" ", _nfc(text)).strip().casefold())
    where = record.provenance
    if record.kind == "chat" or (record.kind == "text" and where.path is None):
        return Content(text, code, exact, exact)
    return Content(text, code, exact, _digest(where.repository or "", where.path or "", text))


def is_code(record: Record) -> bool:
    """Whether a record is compared as code: pieces of files that are no prose by their name, and every row with a gap."""
    if record.kind == "chat":
        return False
    path = record.provenance.path
    if path is not None and splitext(path)[1].lower() in _PROSE_SUFFIXES:
        return False
    return record.kind == "fim" or path is not None


def whole_text(record: Record) -> str:
    """The text that near duplicates are found by: the piece of a file without the files around it, or all turns."""
    if record.kind == "fim":
        return (record.prefix or "") + (record.middle or "") + (record.suffix or "")
    return record.text or "" if record.kind == "text" else "\n".join(texts_of(record))


def licence_is_known(record: Record) -> bool:
    """Whether a licence was found."""
    return record.licence is not None and record.licence.spdx.strip().lower() not in _UNKNOWN_LICENCES


def seconds_of(record: Record) -> int:
    """When a record was made, in seconds since 1970; -1 if that is unknown."""
    time = record.provenance.time
    if time is None:
        return -1
    try:
        read = datetime.fromisoformat(time)
        return max(int((read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()), 0)
    except (ValueError, OverflowError):
        return -1


def place_of(record: Record) -> str:
    """Where a record came from, for people: its repository and path, or its session or file; and its id."""
    where = record.provenance
    names = [where.repository, where.path] if where.path else [where.session or where.commit or where.file]
    return printable(" ".join([*(name for name in names if name), record.id]))


def _turns(record: Record) -> list[str]:
    parts = ["chat"]
    for message in record.messages or ():
        calls = [(call.function.name, call.function.arguments) for call in message.tool_calls or ()]
        parts += [message.role, message.reasoning or "", message.content, *(part for call in calls for part in call)]
    return [_without_trailing(_nfc(part)) for part in parts]


def _nfc(text: str) -> str:
    return text if unicodedata.is_normalized("NFC", text) else unicodedata.normalize("NFC", text)


def _without_trailing(text: str) -> str:
    text = text.rstrip(_BLANKS + "\n")
    if "\n" in text and any(ending in text for ending in _BLANK_ENDINGS):
        return "\n".join([line.rstrip(_BLANKS) for line in text.split("\n")])
    return text


def _digest(*parts: str) -> bytes:
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES, person=b"duplicates")
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.digest()
