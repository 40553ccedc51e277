"""Recognise a file's format by its first bytes, and say how to extract text from formats that are not read."""

from __future__ import annotations

import codecs
import re
import shlex
from pathlib import Path
from typing import NamedTuple

import msgspec

from seedbed.data.byte_streams import COMPRESSED_SUFFIXES, FETCH_HINT, UnreadableError
from seedbed.text import legible, quoted

BOM = codecs.BOM_UTF8
HEAD_BYTES = 1 << 16
"""Number of bytes at the start of a file that are used to recognise its format."""

_FOREIGN_BOMS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_NAME_HINT = "Use .txt, .md, .jsonl, .csv or .parquet files; extract the text of other formats first."
_ARRAY_TO_LINES = "import json,sys; [print(json.dumps(row)) for row in json.load(sys.stdin)]"


class _Magic(NamedTuple):
    """A file format: its fixed bytes `start` (at offset `at`), its name, and the command that extracts its text."""

    start: bytes
    what: str
    command: str = ""
    at: int = 0

    @property
    def is_word(self) -> bool:
        """Whether these bytes are letters and digits, such as GIF8, so that a plain text could begin with them, too."""
        return self.start.isascii() and self.start.decode().isalnum()


_PANDOC = "pandoc {source} -t plain -o {stem}.txt"
_MAGICS = (
    _Magic(b"%PDF", "a PDF", "pdftotext {source} {stem}.txt"),
    _Magic(b"{\\rtf", "an RTF document", _PANDOC),
    _Magic(b"%!PS", "a PostScript document", "ps2ascii {source} {stem}.txt"),
    _Magic(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office document"),
    _Magic(b"BOOKMOBI", "a Kindle book", at=60),
    _Magic(b"AT&TFORM", "a DjVu document"),
    _Magic(b"\x89PNG\r\n", "a PNG picture"),
    _Magic(b"\xff\xd8\xff", "a JPEG picture"),
    _Magic(b"GIF8", "a GIF picture"),
    _Magic(b"RIFF", "a media file"),
    _Magic(b"ID3", "an MP3 file"),
    _Magic(b"OggS", "an Ogg file"),
    _Magic(b"ftyp", "a video or audio file", at=4),
    _Magic(b"\x1f\x8b", "compressed by gzip", "mv {source} {name}.gz"),
    _Magic(b"\x28\xb5\x2f\xfd", "compressed by zstd", "mv {source} {name}.zst"),
    _Magic(b"BZh", "compressed by bzip2", "bunzip2 -k {source}"),
    _Magic(b"\xfd7zXZ\0", "compressed by xz", "xz -dk {source}"),
    _Magic(b"\x04\x22\x4d\x18", "compressed by lz4", "lz4 -dk {source}"),
    _Magic(b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "7z x {source}"),
    _Magic(b"Rar!\x1a\x07", "a RAR archive", "unrar x {source}"),
    _Magic(b"ustar", "a tar archive", "tar -xf {source}", at=257),
    _Magic(b"SQLite format 3\0", "an SQLite database"),
    _Magic(b"PAR1", "a parquet file", "mv {source} {stem}.parquet"),
    _Magic(b"ARROW1\0\0", "an Arrow file"),
    _Magic(b"Obj\x01", "an Avro file"),
    _Magic(b"\x89HDF\r\n", "an HDF5 file"),
    _Magic(b"\x93NUMPY", "a NumPy array"),
    _Magic(b"\x80\x04\x95", "a Python pickle"),
    _Magic(b"\x7fELF", "a program"),
)
_ZIP = b"PK\x03\x04"
_ZIPPED = (
    (b"application/epub+zip", "an EPUB book", _PANDOC),
    (b"application/vnd.oasis.opendocument", "an OpenDocument file", _PANDOC),
    (b"word/", "a Word document", _PANDOC),
    (b"xl/", "an Excel workbook", ""),
    (b"ppt/", "a PowerPoint document", ""),
    (b"data.pkl", "a PyTorch file", ""),
    (b".npy", "a NumPy archive", ""),
)


def refuse_wrong_format(path: Path, head: bytes, kind: str, *, wide: bool = False) -> None:
    """Raise UnreadableError if a file's first bytes, `head`, do not fit its format `kind` (see readers.kind_of).

    `wide`: the file may be UTF-16 or UTF-32.
    """
    if not wide:
        for bom, encoding in _FOREIGN_BOMS.items():
            if head.startswith(bom):
                raise UnreadableError(
                    "not UTF-8",
                    f"{quoted(path)} is {encoding}, not UTF-8 (byte-order mark at byte 0).",
                    encoding_hint(path, encoding),
                )
    what, command = _format_of(head)
    if what:
        raise UnreadableError("not text", f"{quoted(path)} is {what}, not text.", _command(command, path) or _NAME_HINT)
    refuse_placeholder(path, head, page=kind != "text")
    if kind in ("records", "json") and _begins_an_array(head):
        raise UnreadableError(
            "JSON array",
            f"{quoted(path)} is one JSON array, not one JSON object per line.",
            "Try: " + _piped(path, f'python3 -c "{_ARRAY_TO_LINES}"') + f" > {shlex.quote(_parts(path)[0])}.jsonl",
        )
    if kind == "json":
        raise UnreadableError(
            "one JSON value",
            f"{quoted(path)} is one JSON value, neither text nor records.",
            'Write its texts to a .jsonl file, one object per line: {"text": "..."}.',
        )


def refuse_placeholder(path: Path, head: bytes, *, page: bool = True) -> None:
    """Raise UnreadableError if a file is the result of a failed download: a Git LFS pointer or (with `page`) a web page."""
    start = head.removeprefix(BOM).lstrip()[:64].lower()
    if page and start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise UnreadableError(
            "web page", f"{quoted(path)} is a web page, not data. The download has probably failed.", FETCH_HINT
        )
    if start.startswith(b"version https://git-lfs"):
        raise UnreadableError(
            "LFS pointer", f"{quoted(path)} is a Git LFS pointer, not the data.", "Fetch the data: git lfs pull"
        )


def encoding_hint(path: Path, encoding: str) -> str:
    """The hint for a file in `encoding`: how to read it or how to convert it to UTF-8."""
    stem, suffix = _parts(path)
    convert = _piped(path, f"iconv -f {encoding} -t UTF-8")
    python = "cp1252" if encoding == "WINDOWS-1252" else encoding.lower()
    return f"Set its encoding (--set data.encoding={python}), or convert the file: {convert} > {shlex.quote(stem)}.utf8{suffix}"


def json_kind(head: bytes) -> str:
    """The kind of JSON in a file's first bytes: `records` (one object per line), `json` (any other JSON), "" if none."""
    lines = [line for line in head.removeprefix(BOM).split(b"\n")[:-1] if not line.isspace() and line][:2]
    if len(lines) == 2 and all(_is_object(line) for line in lines):
        return "records"
    if _begins_an_array(head) or re.match(rb"\s*\{\s*(\"|\})", head.removeprefix(BOM)):
        return "json"
    return ""


def markup_of(head: str) -> str:
    """The markup that a text begins with, in words: JSON lines, a JSON array, HTML or XML; "" for plain text."""
    start = head.lstrip()[:64].lower()
    if start.startswith(("<!doctype html", "<html")):
        return "HTML"
    if start.startswith("<?xml"):
        return "XML"
    found = json_kind(head[:HEAD_BYTES].encode("utf-8", "replace"))
    if found == "records":
        return "JSON lines"
    return "a JSON array" if found == "json" and start.startswith("[") else ""


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(msgspec.json.decode(line), dict)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def _begins_an_array(head: bytes) -> bool:
    return re.match(rb"\s*\[\s*\{\s*(\"|\})", head.removeprefix(BOM)) is not None


def _format_of(head: bytes) -> tuple[str, str]:
    if head.startswith(_ZIP):
        for sign, what, command in _ZIPPED:
            if sign in head:
                return what, command
        return "a zip archive", "unzip {source}"
    for magic in _MAGICS:
        if head[magic.at :].startswith(magic.start) and not (magic.is_word and _is_plain(head)):
            return magic.what, magic.command
    return "", ""


def _is_plain(head: bytes) -> bool:
    """Whether the first bytes contain no control bytes. Then a file that begins with RIFF, GIF8 or ID3 is still a text."""
    return not any(byte < 9 or 13 < byte < 32 for byte in head[:512])


def _command(pattern: str, path: Path) -> str:
    """The hint with the command that extracts the text of the file at `path`, from a `pattern` with {source} and {stem}."""
    if not pattern:
        return ""
    stem, _ = _parts(path)
    source = shlex.quote(str(path))
    return legible(f"Try: {pattern.format(source=source, stem=shlex.quote(stem), name=shlex.quote(path.name))}")


def _piped(path: Path, command: str) -> str:
    """`command` as a shell command line that gets the decompressed content of the file on stdin."""
    source = legible(shlex.quote(str(path)))
    unpack = {".gz": "gzip -dc", ".zst": "zstd -dc"}.get(path.suffix.lower())
    return f"{unpack} {source} | {command}" if unpack else f"{command} < {source}"


def _parts(path: Path) -> tuple[str, str]:
    """The name and the extension of a file, without .gz or .zst: ("novel", ".txt") for novel.txt.gz."""
    plain = path.with_suffix("") if path.suffix.lower() in COMPRESSED_SUFFIXES else path
    return plain.stem, plain.suffix or ".txt"
