"""text:PATH as a source: a file or a folder of one's own, split by document or beside an own validation set.

Refuses to know how a format is read.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

from seedbed.config.schema import DataConfig
from seedbed.data.holdout import HEAD_DOCUMENTS, Item, Plan, cut_message, cut_pieces, plan
from seedbed.data.readers import PIECE_CHARS, SUFFIXES, Document, UnreadableError, kind_of, read_file
from seedbed.data.separators import Separators
from seedbed.errors import SeedbedError
from seedbed.events import Emit, Message
from seedbed.files import sha256_file

_FORMAT = "text 1"
"""Raise it when the same files would yield other documents than before."""

_NAMED_EXTENSIONS = 5


class TextFile(NamedTuple):
    """A file to read, and how (see readers.kind_of)."""

    path: Path
    kind: str


class Files:
    """The files that one path names: itself, or everything readable below it in sorted order."""

    def __init__(self, root: Path, field: str, separator: str) -> None:
        self.root = root
        self.field = field
        self.separators = Separators(separator)
        self.skipped: Counter[str] = Counter()
        """Unknown extensions and how many files have them."""
        self.closed_folders = 0
        self.drops: Counter[str] = Counter()
        self.warnings: list[str] = []
        self._single = root.is_file()
        self._list = [TextFile(root, kind_of(root) or "text")] if self._single else list(self._walk())

    def _walk(self) -> Iterator[TextFile]:
        """Readable files below the root in sorted order. Links are followed, but no folder is entered twice."""
        entered: set[tuple[int, int]] = set()
        for folder, names, files in os.walk(self.root, followlinks=True, onerror=self._unreadable_folder):
            status = Path(folder).stat()
            if (status.st_dev, status.st_ino) in entered:
                names.clear()
                continue
            entered.add((status.st_dev, status.st_ino))
            names[:] = sorted(name for name in names if not name.startswith("."))
            for name in sorted(files):
                path = Path(folder, name)
                if name.startswith(".") or not path.is_file():
                    continue
                kind = kind_of(path)
                if kind:
                    yield TextFile(path, kind)
                else:
                    self.skipped[path.suffix.lower() or "no extension"] += 1

    def _unreadable_folder(self, error: OSError) -> None:
        self.closed_folders += 1

    def __len__(self) -> int:
        return len(self._list)

    def __iter__(self) -> Iterator[TextFile]:
        return iter(self._list)

    def documents(self) -> Iterator[Document]:
        """Every document in order. In a folder an unreadable file is counted and passed over; a named file raises."""
        drops = +Counter({"unknown extension": self.skipped.total(), "unreadable folder": self.closed_folders})
        warnings: list[str] = []
        self.drops, self.warnings = drops, warnings
        self.separators.begin()
        for file in self._list:
            try:
                yield from self.separators.split(read_file(file.path, file.kind, self.field, drops))
            except UnreadableError as error:
                if self._single:
                    raise
                if error.reason:
                    drops[error.reason] += 1
                warnings.append(error.message)

    def digest(self) -> str:
        """Hex digest of the files' kinds and bytes in order; names and places do not enter."""
        whole = hashlib.sha256(f"{self.field}\n{self.separators.identity}".encode())
        for file in self._list:
            try:
                content = sha256_file(file.path)
            except OSError as error:
                content = f"unreadable {error.errno}"
            whole.update(f"{file.kind} {file.path.suffix in ('.gz', '.zst')} {content}\n".encode())
        return whole.hexdigest()


class Text:
    """A file or folder, with documents held out of it or with a validation set of its own."""

    def __init__(self, name: str, data: DataConfig, files: Files, validation: Files | None, emit: Emit) -> None:
        self.name = name
        self._data = data
        self._files = files
        self._validation = validation
        self._emit = emit
        self._told = self._told_separators = False

    @property
    def drops(self) -> Counter[str]:
        """Files and records left out, by reason, in the last reading."""
        return self._files.drops + (self._validation.drops if self._validation else Counter())

    def fingerprint(self) -> str:
        """Digest of the bytes of all files and of what decides the split."""
        identity = [_FORMAT, str(PIECE_CHARS), str(self._data.max_documents), self._files.digest()]
        identity.append(self._validation.digest() if self._validation else repr(self._data.validation))
        return hashlib.sha256("\n".join(identity).encode()).hexdigest()

    def documents(self, split: Literal["train", "validation"]) -> Iterator[str]:
        """The documents of a split; a long one comes in pieces of about a megabyte."""
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
            self._tell_skipped()
            self._tell_separators()
        if empty:
            raise self._nothing(split)

    def _limited(self, files: Files) -> Iterator[Document]:
        return itertools.islice(files.documents(), self._data.max_documents or None)

    @cached_property
    def _plan(self) -> Plan:
        items = (Item(document.digest, document.length) for document in self._limited(self._files))
        head = list(itertools.islice(items, HEAD_DOCUMENTS))
        made = plan(head, next(items, None) is not None, self._data.validation)
        if made.cut is not None:
            self._emit(cut_message(self.name, made.cut, self._data.validation))
        return made

    def _side(self, split: Literal["train", "validation"]) -> Iterator[str]:
        made = self._plan
        for document in self._limited(self._files):
            side = made.side(document.digest)
            if made.cut is not None and side == "cut":
                yield from cut_pieces(document.pieces, made.cut, split)
            elif side == split:
                yield from document.pieces

    def _tell_skipped(self) -> None:
        """Say once what was left out and why."""
        drops = self.drops
        if self._told or not drops:
            return
        self._told = True
        listed = ", ".join(f"{count} {reason}" for reason, count in drops.most_common())
        extensions = ", ".join(name for name, _ in self._files.skipped.most_common(_NAMED_EXTENSIONS))
        first = next(iter(self._files.warnings), "")
        self._emit(
            Message(
                level="warning",
                code="data-skipped",
                text=f"Left out of {self.name}: {listed}.",
                why=" ".join(
                    filter(None, (first, f"Extensions that are not read: {extensions}." if extensions else ""))
                ),
                hint=f"Read are {' '.join(SUFFIXES)}; text must be UTF-8.",
            )
        )

    def _tell_separators(self) -> None:
        """Say once how files were divided into documents."""
        if self._told_separators:
            return
        self._told_separators = True
        for message in self._files.separators.messages(self.name):
            self._emit(message)

    def _nothing(self, split: str) -> SeedbedError:
        if split == "validation" and self._validation is None:
            return SeedbedError(
                f"{self.name} is too short to hold out any validation text.",
                "Add text, or name a validation file: --set data.validation_path=FILE.",
            )
        files = self._validation if split == "validation" and self._validation else self._files
        reasons = ", ".join(f"{count} {reason}" for reason, count in files.drops.most_common()) or "no files"
        first = next(iter(files.warnings), "")
        return SeedbedError(
            f"No text is left in {files.root} ({reasons}). {first}".strip(),
            f"Read are {' '.join(SUFFIXES)}; text must be UTF-8, records need a field {self._data.field!r}.",
        )


def open_text(rest: str, data: DataConfig, emit: Emit) -> Text:
    """The files at a path. Raises SeedbedError where there is no such path or nothing readable below it."""
    validation = _files("data.validation_path", data.validation_path, data) if data.validation_path else None
    return Text(f"text:{rest}", data, _files("--data text:PATH", rest, data), validation, emit)


def _files(option: str, asked: str, data: DataConfig) -> Files:
    root = Path(asked).expanduser()
    if not root.exists():
        near = root.parent if root.parent.is_dir() else None
        hint = f"{near} is there; check the last part of the name." if near else f"{root.parent} is not there either."
        raise SeedbedError(f"There is no file or folder {root} ({option}).", hint)
    if not root.is_dir() and not root.is_file():
        raise SeedbedError(f"{root} is neither a file nor a folder ({option}).", "Name a file or a folder.")
    files = Files(root, data.field, data.separator)
    if not len(files):
        seen = ", ".join(f"{count} {name}" for name, count in files.skipped.most_common(_NAMED_EXTENSIONS))
        raise SeedbedError(
            f"The folder {root} holds no text to read" + (f" (only {seen})." if seen else "; it is empty."),
            f"Read are {' '.join(SUFFIXES)}. One file of another extension can be named: text:{root}/FILE.",
        )
    return files
