"""Read texts from records: JSON lines, CSV and parquet. Records without text are counted by reason."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec

from seedbed.data.byte_streams import FETCH_HINT, INSTALL_HINT, UnreadableError, first_line, open_bytes
from seedbed.data.decoding import NOT_UTF8, decoding_error, is_wide, refuse_nul, scan_file
from seedbed.data.file_formats import BOM, HEAD_BYTES, encoding_hint, refuse_placeholder, refuse_wrong_format
from seedbed.errors import SeedbedError
from seedbed.text import quoted

_FIELD_HINT = "Set the field that contains the text: --set data.field=NAME."
_LONGEST_FIELD = 1 << 27
_NAMED = 20
"""The most column names that a message lists."""


class ReadOptions(NamedTuple):
    """How to read files: `field`, the text field of records; `encoding` of files that are not UTF-8; `max_bytes` to read."""

    field: str = "text"
    encoding: str = ""
    max_bytes: int | None = None


# JSON lines


def record_texts(path: Path, kind: str, reading: ReadOptions, drops: Counter[str]) -> Iterator[str]:
    """Yield the text field of each JSON line. Lines without a text in this field are counted in `drops`, by reason.

    Raises UnreadableError if no line has the field.
    """
    field = reading.field
    row_type = msgspec.defstruct("Row", [("text", Any, msgspec.field(name=field, default=None))])
    decode = cast(Callable[[bytes], Any], msgspec.json.Decoder(row_type).decode)
    num_texts, first_bad, first_reason = 0, "", ""
    for number, line in enumerate(_lines(path, kind, reading), 1):
        if line.isspace():
            continue
        try:
            text = decode(line).text
            reason = "no text field"
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            text, reason = _decode_leniently(line, reading)
        if isinstance(text, str):
            num_texts += 1
            yield text
            continue
        drops[reason] += 1
        if not first_bad:
            first_bad, first_reason = f"line {number}: {_describe_fault(line, reason, field)}", reason
    if num_texts:
        return
    if first_bad:
        raise UnreadableError(
            "", f"{quoted(path)} has no record with text ({first_bad}).", _hint_for(path, first_reason)
        )
    raise UnreadableError("empty", f"{quoted(path)} contains no records.", "Give a file with one JSON object per line.")


def _decode_leniently(line: bytes, reading: ReadOptions) -> tuple[Any, str]:
    """Decode a line that the strict decoder refuses: NaN, infinities and lone surrogates, as Python writes them.

    Returns the text (None if the line has none) and the reason to count if the line has no text.
    """
    try:
        text = line.decode()
    except UnicodeDecodeError:
        if not reading.encoding:
            return None, NOT_UTF8
        try:
            text = line.decode(reading.encoding)
        except UnicodeError:
            return None, f"neither UTF-8 nor {reading.encoding}"
    try:
        row = json.loads(text)
    except (ValueError, RecursionError):
        return None, "broken JSON"
    return (row.get(reading.field) if isinstance(row, dict) else None), "no text field"


def _describe_fault(line: bytes, reason: str, field: str) -> str:
    """What is wrong with a record (one JSON line), with the names of the fields that it has, for a message."""
    if reason != "no text field":
        return reason
    row = json.loads(line.decode("utf-8", "replace"))
    if not isinstance(row, dict):
        return f"a {type(row).__name__}, not an object with a field {quoted(field)}"
    if field in row:
        return f"its field {quoted(field)} is not a string"
    return f"no field {quoted(field)} among {', '.join(map(quoted, list(row)[:12]))}"


def _hint_for(path: Path, reason: str) -> str:
    if reason == "no text field":
        return _FIELD_HINT
    if reason == "broken JSON":
        return 'Each line must be one JSON object, such as {"text": "..."}.'
    if reason == NOT_UTF8:
        return encoding_hint(path, "WINDOWS-1252")
    return "Set data.encoding to the encoding of the file."


def _lines(path: Path, kind: str, reading: ReadOptions) -> Iterator[bytes]:
    """Yield the lines of a file of JSON lines as bytes, in UTF-8 or in the file's own encoding.

    An incomplete last line, cut off by `max_bytes`, is omitted.
    """
    wide = is_wide(reading.encoding)
    with open_bytes(path, reading.max_bytes) as handle:
        head = handle.peek(HEAD_BYTES)[:HEAD_BYTES]
        refuse_wrong_format(path, head, kind, wide=wide)
        if wide and b"\0" in head:
            text = io.TextIOWrapper(handle, encoding=reading.encoding, newline="\n")
            try:
                yield from (line.encode("utf-8", "surrogatepass") for line in text)
            except UnicodeError as error:
                if reading.max_bytes is None:
                    raise decoding_error(path, reading.encoding, error, 0) from None
            return
        refuse_nul(path, head.partition(b"\n")[0], 0)
        first = True
        for line in handle:
            if reading.max_bytes is not None and not line.endswith(b"\n"):
                return
            yield line.removeprefix(BOM) if first else line
            first = False


# Tables


def table_texts(path: Path, reading: ReadOptions, drops: Counter[str]) -> Iterator[str]:
    """Yield the texts in the column `reading.field` of a CSV or TSV file with a header row."""
    with open_bytes(path, HEAD_BYTES) as handle:
        refuse_wrong_format(path, handle.peek(HEAD_BYTES)[:HEAD_BYTES], "table", wide=is_wide(reading.encoding))
    encoding = scan_file(path, reading.encoding, reading.max_bytes).encoding
    cut = "strict" if reading.max_bytes is None else "ignore"
    with open_bytes(path, reading.max_bytes) as handle:
        lines = iter(io.TextIOWrapper(handle, encoding=encoding, errors=cut, newline=""))
        header = next(lines, "")
        separator = max(",;\t|", key=header.count)
        csv.field_size_limit(_LONGEST_FIELD)
        rows = csv.DictReader(itertools.chain([header], lines), delimiter=separator)
        try:
            yield from _column(path, reading.field, rows, drops)
        except csv.Error as error:
            raise UnreadableError(
                "broken CSV",
                f"{quoted(path)} is not readable CSV: {error} (line {rows.line_num}).",
                "Inside a field, write each quotation mark twice. Put a field with line breaks in quotation marks.",
            ) from error


def _column(path: Path, field: str, rows: csv.DictReader[str], drops: Counter[str]) -> Iterator[str]:
    names = [name or "" for name in rows.fieldnames or []]
    if not any(names):
        raise UnreadableError("empty", f"{quoted(path)} contains no rows.", "Give a file that contains rows.")
    _refuse_column(path, field, names)
    has_rows = False
    for row in rows:
        text = row.get(field)
        has_rows = True
        if text is None:
            drops["no text field"] += 1
        else:
            yield text
    if not has_rows:
        raise UnreadableError("empty", f"{quoted(path)} contains no rows.", "Give a file that contains rows.")


def _refuse_column(path: Path, field: str, names: list[str]) -> None:
    """Raise UnreadableError unless exactly one of the columns `names` is called `field`."""
    count = names.count(field)
    if count == 1:
        return
    shown = ", ".join(map(quoted, names[:_NAMED])) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
    what = f"has {count} columns named" if count else "has no column"
    hint = "Give each column its own name." if count else _FIELD_HINT
    raise UnreadableError("no text field", f"{quoted(path)} {what} {quoted(field)}. Its columns: {shown}.", hint)


# Parquet


def parquet_texts(path: Path, field: str, drops: Counter[str], *, max_bytes: int | None = None) -> Iterator[str]:
    """Yield the texts in the column `field` of a parquet file. With `max_bytes`, only check the file."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise SeedbedError(f"Reading {quoted(path)} needs pyarrow, which is not installed.", INSTALL_HINT) from error
    try:
        with path.open("rb") as raw:
            _refuse_non_parquet(path, raw.read(HEAD_BYTES))
        with path.open("rb") as raw, pq.ParquetFile(raw) as table:
            _check_parquet_column(path, field, table, pa.types, drops)
            if max_bytes is not None:
                return
            for batch in table.iter_batches(batch_size=512, columns=[field]):
                yield from _column_texts(batch.column(0).to_pylist(), drops)
    except pa.ArrowException as error:
        raise UnreadableError(
            "broken parquet",
            f"{quoted(path)} is an incomplete or damaged parquet file ({first_line(error)}).",
            FETCH_HINT,
        ) from error
    except UnicodeDecodeError as error:
        raise UnreadableError(
            NOT_UTF8,
            f"Column {quoted(field)} of {quoted(path)} is not UTF-8.",
            "Write the file again, with the text in UTF-8.",
        ) from error
    except OSError as error:
        raise UnreadableError(
            "unreadable", f"Cannot read {quoted(path)}: {first_line(error)}.", "Check its permissions and the disk."
        ) from error


def _refuse_non_parquet(path: Path, head: bytes) -> None:
    """Raise UnreadableError if a file's first bytes, `head`, are not those of a parquet file."""
    if not head:
        raise UnreadableError("empty", f"{quoted(path)} is empty.", FETCH_HINT)
    if not head.startswith(b"PAR1"):
        refuse_placeholder(path, head)
        raise UnreadableError(
            "broken parquet",
            f"{quoted(path)} is not a parquet file, despite its name.",
            "Rename the file to match its format.",
        )


def _check_parquet_column(path: Path, field: str, table: Any, types: Any, drops: Counter[str]) -> None:
    """Raise UnreadableError unless the parquet file has rows and exactly one text column called `field`."""
    rows = table.metadata.num_rows
    try:
        _refuse_column(path, field, table.schema_arrow.names)
        column = table.schema_arrow.field(field).type
        inner = column.value_type if types.is_dictionary(column) else column
        kinds = (types.is_string, types.is_large_string, types.is_string_view, types.is_binary, types.is_large_binary)
        if not any(kind(inner) for kind in kinds):
            raise UnreadableError("", f"Column {quoted(field)} of {quoted(path)} is {column}, not text.", _FIELD_HINT)
    except UnreadableError as error:
        drops["no text field"] += rows
        raise UnreadableError("", error.message, error.hint) from None
    if rows == 0:
        raise UnreadableError("empty", f"{quoted(path)} contains no rows.", "Give a file that contains rows.")


def _column_texts(values: list[Any], drops: Counter[str]) -> Iterator[str]:
    """Yield the texts among a column's values. Bytes (written by older programs) are decoded as UTF-8; others are counted."""
    for value in values:
        if isinstance(value, bytes):
            try:
                yield value.decode()
            except UnicodeDecodeError:
                drops[NOT_UTF8] += 1
        elif value is None:
            drops["no text field"] += 1
        else:
            yield value
