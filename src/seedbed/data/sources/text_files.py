"""The source text:PATH: a local file or folder, split by document or with a validation set of its own."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

from seedbed.config.schema import DataConfig
from seedbed.data import holdout, own_files
from seedbed.data.byte_streams import NoTextError, UnreadableError, open_bytes
from seedbed.data.document_separators import DocumentSeparators
from seedbed.data.file_formats import HEAD_BYTES, json_kind, markup_of
from seedbed.data.holdout import (
    HEAD_DOCUMENTS,
    DocumentSize,
    HoldoutPlan,
    OversizeCounter,
    cut_message,
    cut_pieces,
    plan_holdout,
)
from seedbed.data.messages import FILES_SKIPPED
from seedbed.data.readers import PIECE_CHARS, READ, Document, kind_inside, kind_of, read_file
from seedbed.data.records import ReadOptions
from seedbed.errors import SeedbedError, UsageError
from seedbed.events import Emit, Message
from seedbed.files import expand_home, sha256_file
from seedbed.text import listed, quoted

_FORMAT = "text 2"
"""Raise it when the same files would yield different documents."""

_NAMED = 10
"""Most file names that a message lists for each reason."""
_EXPECTED_REASONS = frozenset(("hidden", own_files.REASON))
"""Reasons for skipping files that need no warning."""


class TextFile(NamedTuple):
    """A file to read and its format (see readers.kind_of)."""

    path: Path
    kind: str


class TooManyFilesError(Exception):
    """A folder has too many files for a quick check."""


class TextFiles:
    """The file at a path, or all readable files below a folder in sorted order.

    Files written by Seedbed are skipped everywhere: a run would read its own log.
    """

    def __init__(self, root: Path, reading: ReadOptions, separator: str) -> None:
        self.root = root
        self.separators = DocumentSeparators(separator)
        self._reading = reading
        self.is_single = root.is_file()
        """Whether the path is one file rather than a folder."""
        self.max_skipped = 0
        """Most files and folders that a walk may skip before TooManyFilesError; 0 means no limit."""
        self._num_skipped = 0
        self.skipped: dict[str, list[str]] = {}
        """Files and folders that the walk skipped: reason -> names below the root."""
        self.left_out: dict[str, list[str]] = {}
        """Files that the last reading could not use: reason -> names below the root."""
        self.drops: Counter[str] = Counter()
        """Files and records left out, by reason, in the last reading."""
        self.warnings: list[str] = []
        self.markup: dict[str, list[str]] = {}
        """Text files that contain markup: kind of markup -> names below the root."""

    @cached_property
    def _list(self) -> list[TextFile]:
        """The files. Raises UnreadableError for a single file that cannot be opened."""
        return [*self.walk()]

    def walk(self) -> Iterator[TextFile]:
        """Yield the files as they are found, and record skipped ones in `skipped`."""
        self.skipped, self._num_skipped = {}, 0
        if self.is_single:
            yield TextFile(self.root, kind_of(self.root) or kind_inside(self.root))
            return
        yield from self._walk()

    def _walk(self) -> Iterator[TextFile]:
        """Readable files below the root in sorted order. Links are followed, but no folder is entered twice."""
        entered: set[tuple[int, int]] = set()
        for folder, names, files in os.walk(self.root, followlinks=True, onerror=self._unreadable_folder):
            status = Path(folder).stat()
            if (status.st_dev, status.st_ino) in entered:
                names.clear()
                continue
            entered.add((status.st_dev, status.st_ino))
            names[:] = [name for name in sorted(names) if self._enters(Path(folder, name))]
            for name in sorted(files):
                found = self._file(Path(folder, name))
                if found is not None:
                    yield found

    def _enters(self, folder: Path) -> bool:
        if folder.name.startswith("."):
            self._skip("hidden", folder)
            return False
        if own_files.folder_kind(folder):
            self._skip(own_files.REASON, folder)
            return False
        return True

    def _file(self, path: Path) -> TextFile | None:
        """The file with its format; None, and recorded as skipped, if it is not to be read."""
        kind = kind_of(path)
        if path.name.startswith("."):
            if kind:
                self._skip("hidden", path)
            return None
        if not path.is_file():
            self._skip("link to nothing" if path.is_symlink() and not path.exists() else "not a file", path)
            return None
        if not kind and path.suffix.lower() == ".json":
            kind = self._records_in(path)
        if not kind:
            self._skip("unknown extension", path)
            return None
        if own_files.file_kind(path, kind):
            self._skip(own_files.REASON, path)
            return None
        return TextFile(path, kind)

    def _records_in(self, path: Path) -> str:
        """`records` if a .json file holds JSON lines, as many do; else empty."""
        try:
            with open_bytes(path, HEAD_BYTES) as handle:
                return "records" if json_kind(handle.read()) == "records" else ""
        except UnreadableError:
            return ""

    def _skip(self, reason: str, path: Path) -> None:
        self._num_skipped += 1
        if self.max_skipped and self._num_skipped > self.max_skipped:
            raise TooManyFilesError
        self.skipped.setdefault(reason, []).append(self._name(path))

    def _name(self, path: Path) -> str:
        return str(path.relative_to(self.root)) if path != self.root else path.name

    def _unreadable_folder(self, error: OSError) -> None:
        self._skip("unreadable folder", Path(os.fsdecode(error.filename or self.root)))

    def __len__(self) -> int:
        return len(self._list)

    def documents(self) -> Iterator[Document]:
        """Every document in order. An unreadable file in a folder is counted and skipped; a single file raises."""
        files = self._list
        drops: Counter[str] = Counter()
        left_out: dict[str, list[str]] = {}
        drops.update(self.skipped_counts())
        self.drops, self.left_out, self.warnings, self.markup = drops, left_out, [], {}
        self.separators.begin()
        for file in files:
            try:
                yield from self.separators.split(self._read(file, drops))
            except UnreadableError as error:
                if self.is_single:
                    raise
                if error.reason:
                    drops[error.reason] += 1
                left_out.setdefault(error.reason or "no text field", []).append(self._name(file.path))
                self.warnings.append(error.message)

    def _read(self, file: TextFile, drops: Counter[str]) -> Iterator[Document]:
        for document in read_file(file.path, file.kind, self._reading, drops):
            if file.kind == "text":
                self._look_for_markup(file.path, document)
            yield document

    def _look_for_markup(self, path: Path, document: Document) -> None:
        found = markup_of(next(iter(document.pieces), "")[:HEAD_BYTES])
        if found:
            self.markup.setdefault(found, []).append(self._name(path))

    def named(self, left_out: Mapping[str, list[str]]) -> str:
        """A sentence with the names of the files that were left out, and the first error of the last reading."""
        sentences = ["" if left_out is self.skipped else next(iter(self.warnings), "")]
        for reason, names in left_out.items():
            if reason == "unknown extension":
                found = Counter(_extension(Path(name)) for name in names).most_common(_NAMED)
                sentences.append(
                    "Extensions that are not read: " + ", ".join(f"{name} ({count})" for name, count in found) + "."
                )
            else:
                sentences.append(f"{reason[:1].upper()}{reason[1:]}: {_files_named(names)}.")
        return " ".join(filter(None, sentences))

    def nothing_readable_error(self) -> SeedbedError:
        """The error for a folder without readable files."""
        if not self.skipped:
            return SeedbedError(f"The folder {quoted(self.root)} is empty.", f"{READ}")
        counted = _counted(self.skipped_counts())
        saved = self.root / "dataset_info.json", self.root / "dataset_dict.json"
        hint = f"For a dataset saved by `datasets` write hf:{self.root}. " if any(map(Path.exists, saved)) else ""
        return SeedbedError(
            f"The folder {quoted(self.root)} contains no files that can be read ({counted}). {self.named(self.skipped)}",
            f"{hint}{READ} To read a single file with another extension: text:{self.root}/FILE.",
        )

    def skipped_counts(self) -> Counter[str]:
        """Number of files that the walk skipped, by reason."""
        return Counter({reason: len(names) for reason, names in self.skipped.items()})

    def size_bytes(self) -> int:
        """Total size of the files on disk; files that cannot be examined count as 0."""
        sizes = []
        for file in self._list:
            with contextlib.suppress(OSError):
                sizes.append(file.path.stat().st_size)
        return sum(sizes)

    def digest(self) -> str:
        """Hex digest of the files' formats and bytes in order, independent of their names and location."""
        whole = hashlib.sha256(f"{self._reading.field} {self._reading.encoding}\n{self.separators.identity}".encode())
        for file in self._list:
            try:
                content = sha256_file(file.path)
            except OSError as error:
                content = f"unreadable {error.errno}"
            whole.update(f"{file.kind} {file.path.suffix in ('.gz', '.zst')} {content}\n".encode())
        return whole.hexdigest()


def _extension(path: Path) -> str:
    """The extension of a file, including the one before .gz or .zst."""
    suffixes = path.suffixes[-2:] if path.suffix.lower() in (".gz", ".zst") else path.suffixes[-1:]
    found = "".join(suffixes).lower()
    return f"none before {found}" if found in (".gz", ".zst") else found or "none"


class TextSource:
    """A file or folder, with held-out documents or a separate validation set."""

    def __init__(self, name: str, data: DataConfig, files: TextFiles, validation: TextFiles | None, emit: Emit) -> None:
        self.name = name
        self._data = data
        self._files = files
        self._validation = validation
        self._emit = emit
        self._has_reported = False
        self._emitted: set[Message] = set()

    @property
    def drops(self) -> Counter[str]:
        """Files and records left out, by reason, in the last reading."""
        return self._files.drops + (self._validation.drops if self._validation else Counter())

    @property
    def size_bytes(self) -> int:
        """Total size of the files on disk."""
        return self._files.size_bytes() + (self._validation.size_bytes() if self._validation else 0)

    def fingerprint(self) -> str:
        """Digest of the bytes of all files and of the settings that decide the split."""
        identity = [_FORMAT, holdout.VERSION, str(PIECE_CHARS), str(self._data.max_documents), self._files.digest()]
        identity.append(self._validation.digest() if self._validation else repr(self._data.validation))
        return hashlib.sha256("\n".join(identity).encode()).hexdigest()

    def documents(self, split: Literal["train", "validation"]) -> Iterator[str]:
        """The documents of a split. A long document comes in pieces of about a megabyte."""
        if self._validation is not None:
            chosen = self._files if split == "train" else self._validation
            texts: Iterator[str] = (piece for document in self._limited(chosen) for piece in document.pieces)
        else:
            texts = self._side(split)
        empty = True
        for text in texts:
            empty = False
            yield text
        if split == "train":
            self._report_skipped()
            self._report_separators()
        if empty:
            raise self._nothing(split)

    def _limited(self, files: TextFiles) -> Iterator[Document]:
        return itertools.islice(files.documents(), self._data.max_documents or None)

    @cached_property
    def _plan(self) -> HoldoutPlan:
        items = (DocumentSize(document.digest, document.length) for document in self._limited(self._files))
        head = list(itertools.islice(items, HEAD_DOCUMENTS))
        plan = plan_holdout(head, next(items, None) is not None, self._data.validation)
        if plan.cut is not None:
            self._emit(cut_message(quoted(self.name), plan.cut, self._data.validation))
        return plan

    def _side(self, split: Literal["train", "validation"]) -> Iterator[str]:
        plan = self._plan
        oversize = OversizeCounter(plan)
        for document in self._limited(self._files):
            side = plan.side(document.digest, document.length)
            oversize.count(document.digest, document.length)
            if plan.cut is not None and side == "cut":
                yield from cut_pieces(document.pieces, plan.cut, split)
            elif side == split:
                yield from document.pieces
        if split == "train":
            self._emit_once(oversize.messages(quoted(self.name)))

    @property
    def _parts(self) -> list[TextFiles]:
        return [self._files] + ([self._validation] if self._validation else [])

    def skipped_messages(self) -> list[Message]:
        """Messages about the files that the folder walk skips at this moment."""
        counts = sum((part.skipped_counts() for part in self._parts), Counter[str]())
        named = [part.named(part.skipped) for part in self._parts]
        return [self._left_out(FILES_SKIPPED, counts, named)] if counts else []

    def _left_out(self, code: str, counts: Counter[str], named: Iterable[str]) -> Message:
        return Message(
            level="info" if counts.keys() <= _EXPECTED_REASONS else "warning",
            code=code,
            text=f"Left out of {quoted(self.name)}: {_counted(counts)}.",
            why=" ".join(filter(None, named)),
            hint=_hint(counts, self._data),
        )

    def _report_skipped(self) -> None:
        """Emit once which files were left out and why, and which texts contain markup."""
        if self._has_reported:
            return
        self._has_reported = True
        for message in self.skipped_messages():
            self._emit(message)
        counts = self.drops - sum((part.skipped_counts() for part in self._parts), Counter[str]())
        if counts:
            self._emit(self._left_out("data-skipped", counts, (part.named(part.left_out) for part in self._parts)))
        for part in self._parts:
            for what, names in part.markup.items():
                self._emit(
                    Message(
                        level="warning",
                        code="data-markup",
                        text=f"{_files_named(names)} of {quoted(self.name)} {'is' if len(names) == 1 else 'are'} {what}.",
                        why="The model is trained on all of it as text, including names, tags and brackets.",
                        hint=_MARKUP_HINTS.get(what, "To train on the words alone, extract the text first."),
                    )
                )

    def _report_separators(self) -> None:
        """Emit once how files were split into documents."""
        self._emit_once(self._files.separators.messages(quoted(self.name)))

    def _emit_once(self, messages: Iterable[Message]) -> None:
        for message in messages:
            if message not in self._emitted:
                self._emitted.add(message)
                self._emit(message)

    def _nothing(self, split: str) -> NoTextError:
        if split == "validation" and self._validation is None:
            return NoTextError(
                f"{quoted(self.name)} is too short to hold out any validation text.",
                "Add text, or give a validation file: --set data.validation_path=FILE.",
            )
        files = self._validation if split == "validation" and self._validation else self._files
        first = next(iter(files.warnings), "")
        return NoTextError(
            f"No text is left in {quoted(files.root)} ({_counted(files.drops) or 'no files'}). {first}".strip(),
            _hint(files.drops, self._data),
        )


_MARKUP_HINTS = {
    "JSON lines": "To train on a field of the records, rename the file to .jsonl and set data.field.",
    "a JSON array": "To train on a field of the records, write one per line to a .jsonl file and set data.field.",
}


def _counted(drops: Counter[str]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in drops.most_common())


def _files_named(names: list[str]) -> str:
    return listed([quoted(name) for name in names[:_NAMED]] + names[_NAMED:], _NAMED)


def _hint(drops: Counter[str], data: DataConfig) -> str:
    """A hint on how to read the files that were left out."""
    hints = [READ]
    if "not UTF-8" in drops:
        hints.append("For files that are not UTF-8, set their encoding: --set data.encoding=cp1252 (or another).")
    elif any(reason.startswith("neither UTF-8") for reason in drops):
        hints.append("Set data.encoding to the encoding of files that are not UTF-8.")
    if "no text field" in drops:
        hints.append(f"Records need a field {quoted(data.field)}; to use another field: --set data.field=NAME.")
    return " ".join(hints)


def open_text(rest: str, data: DataConfig, emit: Emit) -> TextSource:
    """Open the files at a path. Raises SeedbedError if the path does not exist or has nothing readable below it."""
    validation = files_at("data.validation_path", data.validation_path, data) if data.validation_path else None
    files = files_at("--data text:PATH", rest, data)
    for each in (files, validation):
        if each is not None and not len(each):
            raise each.nothing_readable_error()
    return TextSource(f"text:{rest}", data, files, validation, emit)


def files_at(option: str, asked: str, data: DataConfig) -> TextFiles:
    """The files at a path, before the folder is walked. Raises UsageError if the path is missing or written by Seedbed."""
    root = expand_home(asked)
    if not root.exists():
        if root.is_symlink():
            raise UsageError(
                f"{quoted(root)} is a link to {quoted(root.readlink())}, which does not exist ({option}).",
                "Fix the link, or give the file or folder itself.",
            )
        there = root.parent.is_dir()
        hint = (
            f"{quoted(root.parent)} exists; check the last part of the name."
            if there
            else f"{quoted(root.parent)} does not exist either."
        )
        raise UsageError(f"There is no file or folder {quoted(root)} ({option}).", hint)
    if not root.is_dir() and not root.is_file():
        raise UsageError(f"{quoted(root)} is neither a file nor a folder ({option}).", "Give a file or a folder.")
    _refuse_own_files(root, option)
    return TextFiles(root, ReadOptions(data.field, data.encoding), data.separator)


def _refuse_own_files(root: Path, option: str) -> None:
    """Raise UsageError for a path that Seedbed wrote."""
    enclosing = own_files.enclosing_folder(root)
    what = f"is {enclosing[1]}" if enclosing else ""
    if enclosing and not root.samefile(enclosing[0]):
        what = f"is part of {enclosing[1]}, {quoted(enclosing[0])},"
    elif not enclosing and root.is_file():
        kind = own_files.file_kind(root, kind_of(root))
        what = f"is {kind}" if kind else ""
    if what:
        prepared = enclosing is not None and enclosing[1] == own_files.DATASET
        raise UsageError(
            f"{quoted(root)} {what} written by Seedbed, not text ({option}).".replace(", written", " written"),
            f"To train on a prepared dataset write --data {enclosing[0]}."
            if prepared and enclosing
            else "Give the path of your own text.",
        )
