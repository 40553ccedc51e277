"""The readable files at a path (one file, or all below a folder), and the reason for each skipped file."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from seedbed.config.schema import DataConfig
from seedbed.data import own_files
from seedbed.data.byte_streams import UnreadableError, open_bytes
from seedbed.data.document_separators import DocumentSeparators
from seedbed.data.file_formats import HEAD_BYTES, json_kind, markup_of
from seedbed.data.readers import READ, Document, kind_inside, kind_of, read_file
from seedbed.data.records import ReadOptions
from seedbed.errors import SeedbedError, UsageError
from seedbed.files import expand_home, sha256_file
from seedbed.text import listed, quoted

_NAMED = 10
"""The most file names that a message lists for each reason."""


class TextFile(NamedTuple):
    """The path of a file to read, and its format (see readers.kind_of)."""

    path: Path
    kind: str


class TooManyFilesError(Exception):
    """Raised when a folder has too many files for a quick check."""


class TextFiles:
    """The files to read at the path `root`: the file itself, or all readable files below the folder in sorted order.

    Files written by Seedbed are skipped everywhere. Otherwise a run could train on its own log.
    """

    def __init__(self, root: Path, reading: ReadOptions, separator: str) -> None:
        self.root = root
        self.separators = DocumentSeparators(separator)
        self._reading = reading
        self.is_single = root.is_file()
        """Whether `root` is one file rather than a folder."""
        self.max_skipped = 0
        """`walk` raises TooManyFilesError if it skips more files and folders than this; 0 means no limit."""
        self._num_skipped = 0
        self.skipped: dict[str, list[str]] = {}
        """Files and folders that `walk` skipped: reason -> paths relative to `root`."""
        self.left_out: dict[str, list[str]] = {}
        """Files that the last call of `documents` could not read: reason -> paths relative to `root`."""
        self.drops: Counter[str] = Counter()
        """Number of files and records that the last call of `documents` skipped, by reason."""
        self.num_documents = 0
        """Documents that the last reading has yielded."""
        self.warnings: list[str] = []
        self.markup: dict[str, list[str]] = {}
        """Text files that begin with markup: kind of markup, such as HTML -> paths relative to `root`."""

    @cached_property
    def _list(self) -> list[TextFile]:
        """All files to read, in order. Raises UnreadableError if `root` is a file that cannot be opened."""
        return [*self.walk()]

    def walk(self) -> Iterator[TextFile]:
        """Yield the files to read as they are found, and record in `skipped` those that are skipped."""
        self.skipped, self._num_skipped = {}, 0
        if self.is_single:
            yield TextFile(self.root, kind_of(self.root) or kind_inside(self.root))
            return
        yield from self._walk()

    def _walk(self) -> Iterator[TextFile]:
        """Yield the files to read below the folder `root`, sorted. Links are followed, but no folder is entered twice."""
        entered: set[tuple[int, int]] = set()
        for folder, names, files in os.walk(self.root, followlinks=True, onerror=self._unreadable_folder):
            status = Path(folder).stat()
            if (status.st_dev, status.st_ino) in entered:
                names.clear()
                continue
            entered.add((status.st_dev, status.st_ino))
            names[:] = [name for name in sorted(names) if self._enters(Path(folder, name))]
            for name in sorted(files):
                file = self._file(Path(folder, name))
                if file is not None:
                    yield file

    def _enters(self, folder: Path) -> bool:
        """Whether files below `folder` are read. If not, the folder is recorded in `skipped`."""
        if folder.name.startswith("."):
            self._skip("hidden", folder)
            return False
        if own_files.folder_kind(folder):
            self._skip(own_files.REASON, folder)
            return False
        return True

    def _file(self, path: Path) -> TextFile | None:
        """The file at `path` with its format; None if it is not read, and then it may be recorded in `skipped`."""
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
        """The format `records` if a .json file contains JSON lines, which is common; else ""."""
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
        """Yield the documents of all files in order. An unreadable file in a folder is counted and skipped.

        Raises UnreadableError if `root` is a file that is unreadable.
        """
        files = self._list
        drops: Counter[str] = Counter()
        left_out: dict[str, list[str]] = {}
        drops.update(self.skipped_counts())
        self.drops, self.left_out, self.warnings, self.markup = drops, left_out, [], {}
        self.num_documents = 0
        self.separators.begin()
        for file in files:
            try:
                for document in self.separators.split(self._read(file, drops)):
                    self.num_documents += 1
                    yield document
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
        """Sentences for a message: for each reason, the names in `left_out`; and the first error of `documents`."""
        sentences = ["" if left_out is self.skipped else next(iter(self.warnings), "")]
        for reason, names in left_out.items():
            if reason == "unknown extension":
                found = Counter(_extension(Path(name)) for name in names).most_common(_NAMED)
                sentences.append(
                    "Extensions that are not read: " + ", ".join(f"{name} ({count})" for name, count in found) + "."
                )
            else:
                sentences.append(f"{reason[:1].upper()}{reason[1:]}: {name_list(names)}.")
        return " ".join(filter(None, sentences))

    def nothing_readable_error(self) -> SeedbedError:
        """The error for the folder `root` if it contains no readable files: says what it contains and what can be read."""
        if not self.skipped:
            return SeedbedError(f"The folder {quoted(self.root)} is empty.", f"{READ}")
        counted = count_list(self.skipped_counts())
        saved = self.root / "dataset_info.json", self.root / "dataset_dict.json"
        hint = f"To use a dataset saved by `datasets`, write hf:{self.root}. " if any(map(Path.exists, saved)) else ""
        return SeedbedError(
            f"The folder {quoted(self.root)} contains no files that can be read ({counted}). {self.named(self.skipped)}",
            f"{hint}{READ} To read one file with a different extension, use --data text:{self.root}/FILE.",
        )

    def skipped_counts(self) -> Counter[str]:
        """Number of files and folders that `walk` skipped, by reason."""
        return Counter({reason: len(names) for reason, names in self.skipped.items()})

    def size_bytes(self) -> int:
        """Total size of the files to read, as they are on disk. A file whose size is unknown counts as 0."""
        sizes = []
        for file in self._list:
            with contextlib.suppress(OSError):
                sizes.append(file.path.stat().st_size)
        return sum(sizes)

    def digest(self) -> str:
        """Hex digest of the files' formats and bytes in order, and of the reading settings. Names do not matter."""
        whole = hashlib.sha256(f"{self._reading.field} {self._reading.encoding}\n{self.separators.identity}".encode())
        for file in self._list:
            try:
                content = sha256_file(file.path)
            except OSError as error:
                content = f"unreadable {error.errno}"
            whole.update(f"{file.kind} {file.path.suffix in ('.gz', '.zst')} {content}\n".encode())
        return whole.hexdigest()


def _extension(path: Path) -> str:
    """The extension of a file, such as `.html`, or `.html.gz` if it is compressed; `none` without extension."""
    suffixes = path.suffixes[-2:] if path.suffix.lower() in (".gz", ".zst") else path.suffixes[-1:]
    found = "".join(suffixes).lower()
    return f"none before {found}" if found in (".gz", ".zst") else found or "none"


def count_list(drops: Counter[str]) -> str:
    """The counts as text, the largest first: `3 not UTF-8, 1 empty`."""
    return ", ".join(f"{count} {reason}" for reason, count in drops.most_common())


def name_list(names: list[str]) -> str:
    """The first _NAMED names, quoted, and the number of the others, as text."""
    return listed([quoted(name) for name in names[:_NAMED]] + names[_NAMED:], _NAMED)


def files_at(option: str, path: str, data: DataConfig) -> TextFiles:
    """The files at `path`, not listed yet. Raises UsageError if nothing is there or Seedbed wrote it.

    `option`: the option that gave the path, for the message.
    """
    root = expand_home(path)
    if not root.exists():
        if root.is_symlink():
            raise UsageError(
                f"{quoted(root)} is a link to {quoted(root.readlink())}, which does not exist ({option}).",
                "Fix the link, or give the file or folder itself.",
            )
        hint = (
            f"{quoted(root.parent)} exists; check the last part of the path."
            if root.parent.is_dir()
            else f"{quoted(root.parent)} does not exist either."
        )
        raise UsageError(f"There is no file or folder {quoted(root)} ({option}).", hint)
    if not root.is_dir() and not root.is_file():
        raise UsageError(f"{quoted(root)} is neither a file nor a folder ({option}).", "Give a file or a folder.")
    _refuse_own_files(root, option)
    return TextFiles(root, ReadOptions(data.field, data.encoding), data.separator)


def _refuse_own_files(root: Path, option: str) -> None:
    """Raise UsageError if Seedbed wrote the file or folder `root`. `option` gave the path (for the message)."""
    enclosing = own_files.enclosing_folder(root)
    what = enclosing[1] if enclosing else ""
    if enclosing and not root.samefile(enclosing[0]):
        what = f"part of {enclosing[1]} ({quoted(enclosing[0])})"
    elif not enclosing and root.is_file():
        what = own_files.file_kind(root, kind_of(root))
    if what:
        prepared = enclosing is not None and enclosing[1] in (own_files.DATASET, own_files.ROWS)
        raise UsageError(
            f"{quoted(root)} cannot be read as text ({option}): it is {what} written by Seedbed.",
            f"To train on the dataset, use --data {enclosing[0]}."
            if prepared and enclosing
            else "Give the path of your own text.",
        )
