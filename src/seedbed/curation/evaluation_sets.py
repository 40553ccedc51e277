"""Reads the items of evaluation sets, such as HumanEval, from JSONL, JSON, CSV and text files; imports no NumPy."""

from __future__ import annotations

import csv
import gzip
import io
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from seedbed.errors import SeedbedError, UsageError
from seedbed.files import expand_home
from seedbed.text import listed, printable, quoted, shorten

FIELDS = (
    *(
        "prompt",
        "question",
        "problem",
        "instruction",
        "query",
        "task",
        "text",
        "content",
        "statement",
        "choices",
        "options",
    ),
    *("solution", "canonical_solution", "answer", "answers", "output", "response", "completion", "target", "reference"),
    *("code", "test", "tests", "test_list", "messages", "conversations", "problem_statement", "patch", "test_patch"),
)
"""The fields of an item that are compared, by the names that public sets use. Of an item with none of them, every text is.

Passages that an item quotes, such as `context`, are left out: they are public texts, of which a model may know.
"""
NAMES = ("task_id", "question_id", "problem_id", "instance_id", "id", "name", "uid")
_TABLES = (".parquet", ".arrow", ".zst", ".zip", ".bz2", ".xz")
SKIPPED = "skipped in "
"""How a note begins that names a part of a set which was not read, as `FILE: REASON`."""
_SNIFFED_BYTES = 8192
_DEEPEST = 20
_FIELD_CHARACTERS = 64 << 20
"""The longest field of a table; a longer one ends the reading of its file. Python's limit of 131,072 is too low for patches."""


@dataclass(frozen=True)
class Item:
    """A text of an item: the name of its set, that of the item (or its number in the file), its field, and the text."""

    set_name: str
    item: str
    field: str
    text: str


@dataclass
class Reading:
    """What was found while sets were read: how many items of each, and what was skipped, by set and reason."""

    items: dict[str, int] = field(default_factory=dict)
    skipped: dict[tuple[str, str], int] = field(default_factory=dict)

    def skip(self, set_name: str, reason: str) -> None:
        """Count something that was left out."""
        self.skipped[set_name, reason] = self.skipped.get((set_name, reason), 0) + 1


class Overlap(msgspec.Struct, kw_only=True, frozen=True):
    """How much of an item makes a record contaminated."""

    share: float = 0.2
    """This share of the runs of the item, or of the record if it has fewer."""
    runs: int = 50
    """Or so many different runs: about as many words."""

    def __post_init__(self) -> None:
        """Refuse values that mean nothing. Raises UsageError."""
        if not 0 < self.share <= 1 or self.runs < 1:
            raise UsageError(
                f"A share of {self.share} and {self.runs} runs are no overlap.",
                "Choose a share above 0 and at most 1, and at least one run.",
            )


class Hit(msgspec.Struct, kw_only=True):
    """A field of an item of an evaluation set of which runs were found in records."""

    set_name: str
    item: str
    field: str
    dropped: int = 0
    """Records that were left out for it."""
    kept: int = 0
    """Records that share runs with it, too few to be left out."""
    share: float = 0
    """The greatest share that was found in one record."""
    example: str = ""
    """Where that record came from."""


class SetFound(msgspec.Struct, kw_only=True):
    """What was found of an evaluation set."""

    name: str
    items: int
    too_short: int = 0
    """Texts of it that are too short to be found."""
    found: int = 0
    """Items of which runs were found."""
    repeated: int = 0
    """Items that records repeat, which were left out."""
    dropped: int = 0
    """Records that were left out, each counted for the set of which it has the most."""


def read_items(paths: Sequence[Path | str], reading: Reading, fields: Sequence[str] = FIELDS) -> Iterator[Item]:
    """Yield the texts of all items in files and folders, and count them.

    Bad lines and binary files are counted and skipped. Raises UsageError for a path that does not exist, that has no
    items, or whose format cannot be read.
    """
    for given in paths:
        path = expand_home(given)
        if not path.exists():
            raise UsageError(f"The evaluation set {quoted(path)} does not exist.", "Check its path.")
        before = sum(reading.items.values())
        files = _files(path) if path.is_dir() else [path] if path.is_file() else []
        for file in files:
            name = printable(file.relative_to(path).as_posix() if path.is_dir() else file.name)
            if name in reading.items:  # two files of one name
                name = printable(file.absolute().parent.name + "/" + file.name)
            try:
                yield from _items_of(file, name, reading, fields)
            except (OSError, EOFError, zlib.error) as error:
                reason = error.strerror if isinstance(error, OSError) and error.strerror else "damaged"
                reading.skip(name, f"cannot be read: {reason}")
        if sum(reading.items.values()) == before:
            raise UsageError(
                f"{quoted(path)} has no items of an evaluation set{_why(reading)}.",
                "Give JSONL, JSON, CSV or text files, or a folder with such files. Convert Parquet files to JSONL.",
            )


def _why(reading: Reading) -> str:
    reasons = [f"{name}: {reason}" for name, reason in reading.skipped]
    return f" ({listed(reasons, 3)})" if reasons else ""


def _files(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(root, name)
            if not name.startswith(".") and path.is_file():
                yield path


def _items_of(path: Path, set_name: str, reading: Reading, fields: Sequence[str]) -> Iterator[Item]:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _TABLES:
        reading.skip(set_name, f"a {suffixes[-1]} file")
        return
    packed = suffixes[-1:] == [".gz"]
    kind = suffixes[-2:-1] if packed else suffixes[-1:]
    with gzip.open(path, "rb") if packed else path.open("rb") as handle:
        readable: BinaryIO = handle  # type: ignore[assignment]
        if kind in ([".jsonl"], [".ndjson"]):
            rows = _json_lines(readable, set_name, reading)
        elif kind == [".json"]:
            rows = _json_rows(readable, set_name, reading)
        elif kind in ([".csv"], [".tsv"]):
            rows = _table_rows(readable, "\t" if kind == [".tsv"] else ",", set_name, reading)
        else:
            rows = _whole(readable, set_name, reading)
        for number, row in rows:
            texts = list(_texts_of(row, fields))
            if not texts:
                reading.skip(set_name, "no text")
                continue
            reading.items[set_name] = reading.items.get(set_name, 0) + 1
            name = _name_of(row) or str(number)
            for place, text in texts:
                yield Item(set_name, name, place, text)


def _json_lines(handle: BinaryIO, set_name: str, reading: Reading) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(handle, 1):
        if line.isspace():
            continue
        try:
            yield number, msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            reading.skip(set_name, "not JSON")


def _json_rows(handle: BinaryIO, set_name: str, reading: Reading) -> Iterator[tuple[int, Any]]:
    """The rows of a JSON file: of a list, or of the longest list in an object; else the whole value."""
    try:
        value = msgspec.json.decode(handle.read())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        reading.skip(set_name, "not JSON")
        return
    if isinstance(value, dict):
        lists = [
            each for each in value.values() if isinstance(each, list) and any(isinstance(row, dict) for row in each)
        ]
        value = max(lists, key=len, default=[value])
    yield from enumerate(value if isinstance(value, list) else [value], 1)


def _table_rows(handle: BinaryIO, delimiter: str, set_name: str, reading: Reading) -> Iterator[tuple[int, Any]]:
    text = io.TextIOWrapper(handle, encoding="utf-8-sig", errors="replace", newline="")
    csv.field_size_limit(_FIELD_CHARACTERS)
    try:
        for number, row in enumerate(csv.DictReader(text, delimiter=delimiter), 1):
            yield number, {name: value for name, value in row.items() if isinstance(name, str)}
    except csv.Error:
        reading.skip(set_name, "not CSV")


def _whole(handle: BinaryIO, set_name: str, reading: Reading) -> Iterator[tuple[int, Any]]:
    start = handle.read(_SNIFFED_BYTES)
    if b"\0" in start:
        reading.skip(set_name, "a binary file")
        return
    yield 1, (start + handle.read()).decode("utf-8", "replace")


def _texts_of(row: Any, fields: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The texts of a row with the names of their fields: those of the known fields, or else all."""
    if not isinstance(row, dict):
        if text := "\n".join(_leaves(row)):
            yield "text", text
        return
    known = {name: value for name, value in row.items() if name.lower() in fields}
    for part in (known, {name: value for name, value in row.items() if name not in NAMES}):
        found = [(printable(name), "\n".join(_leaves(value))) for name, value in part.items()]
        if any(text for _, text in found):
            yield from (pair for pair in found if pair[1])
            return


def _leaves(value: Any, depth: int = 0) -> Iterator[str]:
    if isinstance(value, str):
        if value.strip():
            yield value
    elif depth < _DEEPEST and isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _leaves(each, depth + 1)


def _name_of(row: Any) -> str | None:
    if isinstance(row, dict):
        for name in NAMES:
            if isinstance(row.get(name), str | int):
                return shorten(printable(str(row[name])), 80)
    return None


def no_items(reading: Reading) -> SeedbedError:
    """The error that no item is long enough to be found in a text."""
    names = ", ".join(sorted(reading.items))
    return SeedbedError(f"No item of {names} is long enough to be found in a text.", "Give another evaluation set.")
