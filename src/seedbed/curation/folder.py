"""Dataset folders: the files of a dataset, what describes them, and reading and writing both.

    data/full/
      dataset.json      what the folder is: fingerprint, counts, drops, lineage; written last
      train.jsonl       rows for training, eval.jsonl rows for evaluation; before the split there is records.jsonl instead
      rejects/          samples of what was left out, a file for each step
      report.html       the report card, report.json its figures
      README.md         a short description, in the form of a dataset card

Rows are records (see record.py). The first rows of a file have, between them, every column that the file uses, so that
`datasets.load_dataset("json", ...)`, which takes the types of columns from the first 10 MB, opens files of any size. If only
rows of more than 10 MB have a column, it needs `chunksize`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec

from seedbed import __version__, files
from seedbed.config.source import of_own_rows
from seedbed.curation.drops import Drops
from seedbed.curation.record import Record, decode, encode
from seedbed.errors import SeedbedError, UsageError
from seedbed.text import plural, quoted

PRIVATE_DIR, PRIVATE_FILE = 0o700, 0o600
"""Permissions of what may have private texts: conversations, code, and what was left out of them."""
DESCRIPTION = "dataset.json"
KIND = "seedbed-records"
"""The value of `kind` in dataset.json."""
FORMAT = 1
RECORDS, TRAIN, EVAL = "records.jsonl", "train.jsonl", "eval.jsonl"
REJECTS, REPORT_JSON, REPORT_HTML, CARD, LEDGER = (
    "rejects",
    "report.json",
    "report.html",
    "README.md",
    "eval-ledger.jsonl",
)
_COPIED_BYTES = 1 << 20
_SHORT_BYTES = 64 << 10
"""The size of rows that may be the first ones of a file: one for each column has room in 10 MB."""
_REMEDY = "Make the dataset again, or restore the folder from a copy."


class FileFacts(msgspec.Struct, kw_only=True, frozen=True):
    """What dataset.json says about a file of rows."""

    rows: int
    size_bytes: int
    sha256: str


class Description(msgspec.Struct, kw_only=True):
    """The content of dataset.json."""

    kind: str = KIND
    format: int = FORMAT
    name: str
    made_by: str = f"seedbed {__version__}"
    made: str
    """The kind of work that made it: logs, fim, commits, harvest, merge or clip."""
    command: str = ""
    """The command that makes it again."""
    settings: dict[str, Any] = {}
    """The config of that work, table by table."""
    fingerprint: str
    """SHA-256 of the names and hashes of the files of rows: equal fingerprints mean the same rows in the same order."""
    files: dict[str, FileFacts]
    steps: list[str] = []
    """The steps that every record passed, such as redact@1."""
    inputs: list[dict[str, Any]] = []
    """What it was made from: for each input its name and fingerprint, and for datasets their own `made` and `inputs`."""
    drops: dict[str, Any] = {}
    """What was left out: see Drops.as_json."""
    facts: dict[str, Any] = {}
    """Results of the work that are not drops, such as `split`, `leakage`, `duplicates` and `models`."""

    @property
    def is_split(self) -> bool:
        """Whether the rows are divided into training and evaluation."""
        return TRAIN in self.files


def is_dataset(folder: Path) -> bool:
    """Whether a folder is a dataset made by Seedbed; only its dataset.json is looked at."""
    try:
        with (folder / DESCRIPTION).open("rb") as handle:
            head = handle.read(1 << 12)
    except OSError:
        return False
    return re.match(rb'\s*\{\s*"kind"\s*:\s*"' + KIND.encode() + rb'"', head) is not None


def describe(folder: Path) -> Description:
    """The description of a dataset. Raises UsageError if the folder is no dataset, SeedbedError if it cannot be read."""
    path = folder / DESCRIPTION
    with files.explained(path):
        found = path.is_file()
    if not found:
        what = "has no dataset.json" if folder.is_dir() else "is not a folder" if folder.exists() else "does not exist"
        hint = f"Make one with `seedbed prepare` or `seedbed data merge`. {of_own_rows(folder)}".strip()
        raise UsageError(f"{quoted(folder)} {what}, so it is not a dataset.", hint)
    value = files.read_json(path, _REMEDY)
    if not isinstance(value, dict) or value.get("kind") != KIND:
        raise UsageError(f"{quoted(path)} was not written by Seedbed.", "Give the folder of a dataset.")
    if value.get("format") != FORMAT:
        raise SeedbedError(
            f"{quoted(folder)} has format {value.get('format')}; this version reads format {FORMAT}.",
            "Use the version of Seedbed that made it, or make it again.",
        )
    try:
        return msgspec.convert(value, Description)
    except msgspec.ValidationError as error:
        raise SeedbedError(f"{quoted(path)} is damaged: {error}.", _REMEDY) from None


def read_rows(folder: Path, name: str) -> Iterator[Record]:
    """Yield the records of a file of rows. Raises SeedbedError, with the line, if one cannot be read."""
    path = folder / name
    with files.explained(path), path.open("rb") as handle:
        yield from _decoded(handle, path)


def _decoded(handle: BinaryIO, path: Path) -> Iterator[Record]:
    for number, line in enumerate(handle, 1):
        try:
            yield decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise SeedbedError(f"Line {number} of {quoted(path)} is no row of a dataset: {error}.", _REMEDY) from None


def verify(folder: Path, description: Description) -> None:
    """Check sizes, rows and SHA-256 of all files of rows. Raises SeedbedError, which names the first file that differs."""
    for name, facts in description.files.items():
        path = folder / name
        try:
            size = path.stat().st_size
        except OSError as error:
            raise SeedbedError(f"{quoted(path)} cannot be read: {error.strerror}.", _REMEDY) from error
        if size != facts.size_bytes or files.sha256_file(path) != facts.sha256:
            raise SeedbedError(f"{quoted(path)} has changed since the dataset was made.", _REMEDY)
        if (rows := _rows_in(path)) != facts.rows:
            raise SeedbedError(
                f"{quoted(path)} has {plural(rows, 'row')}, and dataset.json says {facts.rows:,}.", _REMEDY
            )


def resized(folder: Path, description: Description) -> list[Path]:
    """The files of rows that are gone, or whose sizes differ from the description; reads none of them."""
    sizes = {folder / name: facts.size_bytes for name, facts in description.files.items()}
    return [path for path, size in sizes.items() if not path.is_file() or path.stat().st_size != size]


def _rows_in(path: Path) -> int:
    with files.explained(path), path.open("rb") as handle:
        return sum(block.count(b"\n") for block in iter(lambda: handle.read(1 << 20), b""))


class RowWriter:
    """Writes a file of rows. The first rows have, between them, every column that any row uses; the others keep their order.

    Short rows show the columns if there are any that do: `datasets` looks at the first 10 MB only.
    """

    def __init__(self, handle: BinaryIO, others: BinaryIO) -> None:
        """Use `row_writer`. `others`: a temporary file in which rows wait that show no new column."""
        self._handle, self._others = handle, others
        self._digest, self._size, self._rows = hashlib.sha256(), 0, 0
        self._waiting_bytes = 0
        self._shown: set[str] = set()
        """The columns of the rows that are written already, all of which are short."""
        self._long: list[tuple[int, int, set[str]]] = []
        """Long rows that waited as the first with a column: their places and sizes in `others`, and their columns."""

    def add(self, record: Record) -> None:
        """Write a record."""
        line = encode(record) + b"\n"
        self._size, self._rows = self._size + len(line), self._rows + 1
        used = _columns(record)
        if used <= self._shown:
            self._wait(line)
        elif len(line) <= _SHORT_BYTES:
            self._shown |= used
            self._write(line)
        else:  # a shorter one with the same columns may come: long ones would fill what `datasets` looks at
            if not any(used <= known for _, _, known in self._long):
                self._long.append((self._waiting_bytes, len(line), used))
            self._wait(line)

    def finish(self) -> None:
        """Write the rows that wait: first the long ones with columns that no other row has."""
        first: list[tuple[int, int]] = []
        for start, size, used in sorted(self._long, key=lambda each: each[1]):
            if not used <= self._shown:
                self._shown |= used
                first.append((start, size))
        for start, size in first:
            self._copy(start, start + size)
        place = 0
        for start, size in sorted(first):
            self._copy(place, start)
            place = start + size
        self._copy(place, self._waiting_bytes)

    def _write(self, data: bytes) -> None:
        self._handle.write(data)
        self._digest.update(data)

    def _wait(self, line: bytes) -> None:
        self._others.write(line)
        self._waiting_bytes += len(line)

    def _copy(self, start: int, end: int) -> None:
        """Write the bytes of the waiting rows from `start` to `end`."""
        self._others.seek(start)
        while start < end and (chunk := self._others.read(min(_COPIED_BYTES, end - start))):
            self._write(chunk)
            start += len(chunk)

    @property
    def facts(self) -> FileFacts:
        """What dataset.json says about the file, once it is complete."""
        return FileFacts(rows=self._rows, size_bytes=self._size, sha256=self._digest.hexdigest())


@contextmanager
def row_writer(path: Path) -> Iterator[RowWriter]:
    """A context in which rows are written into a file, which is there when the context is left without an error."""
    import tempfile

    with files.replacing(path) as handle, tempfile.TemporaryFile(dir=path.parent) as others:
        writer = RowWriter(handle, cast("BinaryIO", others))
        yield writer
        writer.finish()


def write_rows(
    path: Path, records: Callable[[], Iterable[Record]], count: Callable[[Record], None] = lambda _: None
) -> FileFacts:
    """Write a file of rows (see RowWriter), and return its size and hash. `records` is called once, and `count` for each."""
    with row_writer(path) as writer:
        for record in records():
            writer.add(record)
            count(record)
    return writer.facts


def _columns(record: Record) -> set[str]:
    """The columns and keys of a record that are not null. An empty list shows no type, so it does not count."""
    used = {name for name in record.__struct_fields__ if getattr(record, name) not in (None, [])}
    for part, value in (("provenance", record.provenance), ("licence", record.licence)):
        if value is not None:
            used |= {f"{part}.{name}" for name in value.__struct_fields__ if getattr(value, name) is not None}
    for message in record.messages or ():
        used |= {f"messages.{name}" for name in message.__struct_fields__ if getattr(message, name) not in (None, [])}
    return used


def fingerprint_of(facts: dict[str, FileFacts]) -> str:
    """The fingerprint of a dataset with these files of rows."""
    content = {name: each.sha256 for name, each in sorted(facts.items())}
    return hashlib.sha256(msgspec.json.encode(content)).hexdigest()


def write_rejects(folder: Path, drops: Drops) -> None:
    """Write the samples of what was left out into `rejects/`, a file of JSON lines for each step."""
    by_step: dict[str, list[bytes]] = {}
    for sample in drops.samples:
        by_step.setdefault(sample.step, []).append(msgspec.json.encode(sample) + b"\n")
    made = files.make_dir(folder / REJECTS)
    for step, lines in sorted(by_step.items()):
        name = re.sub(r"[^a-z0-9]+", "-", step.lower()).strip("-") or "step"
        files.write_atomic(made / f"{name}.jsonl", b"".join(lines), durable=False)


def write_description(folder: Path, description: Description) -> None:
    """Write dataset.json and the card, last of all."""
    files.write_atomic(folder / CARD, _card(description))
    files.write_json(folder / DESCRIPTION, msgspec.to_builtins(description))


def new_folder(task_folder: Path, output: Path) -> Path:
    """An empty folder in the directory of a task, in which it makes the dataset `output`; `publish` renames it.

    What a killed process has left there goes, and a task that is deleted takes it along. The folder is beside the output if
    the directory is on another file system, which happens only if somebody has moved it.
    """
    prepared, place = task_folder / "dataset", files.make_dir(output.parent)
    files.remove_tree(prepared)
    if task_folder.stat().st_dev != place.stat().st_dev:
        return files.temporary_dir(place, output.name)
    return files.make_dir(prepared, PRIVATE_DIR)


def publish(prepared: Path, output: Path, description: Description, meta: Mapping[str, Any]) -> None:
    """Put the finished folder `prepared` in the place of `output`, as a whole or not at all.

    Only its owner can read it; a folder that is replaced keeps its permissions. `meta`: the task's meta.json. Raises
    SeedbedError for what was put there since the task was created: only what was there
    before was allowed to be replaced. The same rows, which the task itself has made before a kill, are replaced.
    """
    if output.is_symlink() or output.is_file() or (output.is_dir() and any(output.iterdir())):
        path = output / DESCRIPTION
        made = is_dataset(output) and path.stat().st_mtime <= float(meta.get("created") or 0.0)
        if not made and not (is_dataset(output) and describe(output).fingerprint == description.fingerprint):
            raise SeedbedError(
                f"{quoted(output)} was made by something else while this task ran, so it is not replaced.",
                "Move it away, and resume the task: what is done is kept.",
            )
    files.replace_dir(prepared, output, PRIVATE_DIR)


def _card(description: Description) -> str:
    """A dataset card: which files belong to which split, and how the dataset was made."""
    parts = {"train": TRAIN, "eval": EVAL} if description.is_split else {"train": RECORDS}
    configured = "".join(f"  - split: {split}\n    path: {name}\n" for split, name in parts.items())
    rows = ", ".join(f"{plural(facts.rows, 'row')} in {name}" for name, facts in description.files.items())
    return (
        f"---\nconfigs:\n- config_name: default\n  data_files:\n{configured}---\n\n# {_plain(description.name)}\n\n"
        f"Made by {description.made_by} ({description.made}): {rows}. `dataset.json` says from what and how, "
        "`report.html` what is in it, and `rejects/` what was left out.\n"
    )


def _plain(name: str) -> str:
    return re.sub(r"[^\w .-]+", " ", name)


def refuse_existing(output: Path, *, force: bool) -> None:
    """Raise UsageError if `output` exists and may not be replaced: only a dataset may, and only with --force."""
    if output.is_symlink():
        raise UsageError(
            f"{quoted(output)} is a symbolic link, so it is not replaced.", "Give the folder that it names."
        )
    if not output.exists():
        return
    if output.is_dir() and not any(output.iterdir()):
        return
    if not is_dataset(output):
        raise UsageError(
            f"{quoted(output)} exists and is not a dataset, so it is not replaced.", "Give another folder with --out."
        )
    if not force:
        raise UsageError(
            f"{quoted(output)} exists.", "Give another folder with --out, or replace the dataset with --force."
        )
