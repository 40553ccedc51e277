"""text:PATH as a source: a file or a folder of one's own, split by document or beside an own validation set.

Refuses to know how a format is read.
"""

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
from seedbed.data import holdout, ours
from seedbed.data.holdout import HEAD_DOCUMENTS, Item, Plan, Spared, cut_message, cut_pieces, plan
from seedbed.data.messages import PASSED_OVER
from seedbed.data.opening import NoTextError, UnreadableError, opened
from seedbed.data.readers import PIECE_CHARS, READ, Document, kind_inside, kind_of, read_file
from seedbed.data.recognise import HEAD_BYTES, json_kind, markup_of
from seedbed.data.records import Reading
from seedbed.data.separators import Separators
from seedbed.errors import SeedbedError, UsageError
from seedbed.events import Emit, Message
from seedbed.files import expand_home, sha256_file
from seedbed.text import listed, quoted

_FORMAT = "text 2"
"""Raise it when the same files would yield other documents than before."""

_NAMED = 10
"""As many file names are given for each reason to leave files out."""
_QUIET = frozenset(("hidden", ours.REASON))
"""What is left out as a matter of course, and said without a warning."""


class TextFile(NamedTuple):
    """A file to read, and how (see readers.kind_of)."""

    path: Path
    kind: str


class TooManyFilesError(Exception):
    """A quick look at a folder would not be quick."""


class Files:
    """The files that one path names: itself, or everything readable below it in sorted order.

    What Seedbed wrote itself is no text, wherever it lies: a run would read its own log.
    """

    def __init__(self, root: Path, reading: Reading, separator: str) -> None:
        self.root = root
        self.separators = Separators(separator)
        self._reading = reading
        self.is_single = root.is_file()
        """Whether the path names one file, and no folder."""
        self.most_skipped = 0
        """How many files and folders a walk may pass over before TooManyFilesError; 0 is any number."""
        self._num_skipped = 0
        self.skipped: dict[str, list[str]] = {}
        """What the walk left out: reason -> names below the root."""
        self.left_out: dict[str, list[str]] = {}
        """Files that the last reading left out: reason -> names below the root."""
        self.drops: Counter[str] = Counter()
        """Files and records left out, by reason, in the last reading."""
        self.warnings: list[str] = []
        self.markup: dict[str, list[str]] = {}
        """Text files that hold something else beside words: what -> names below the root."""

    @cached_property
    def _list(self) -> list[TextFile]:
        """The files. Raises UnreadableError for a single one that cannot be looked into."""
        return [*self.walk()]

    def walk(self) -> Iterator[TextFile]:
        """The files one by one, as they are found; what is passed over is noted in `skipped`."""
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
        if ours.folder_kind(folder):
            self._skip(ours.REASON, folder)
            return False
        return True

    def _file(self, path: Path) -> TextFile | None:
        """How to read a file in a folder; None, and noted, where it is not to be read."""
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
        if ours.file_kind(path, kind):
            self._skip(ours.REASON, path)
            return None
        return TextFile(path, kind)

    def _records_in(self, path: Path) -> str:
        """`records` where a .json file holds JSON lines, as many do."""
        try:
            with opened(path, HEAD_BYTES) as handle:
                return "records" if json_kind(handle.read()) == "records" else ""
        except UnreadableError:
            return ""

    def _skip(self, reason: str, path: Path) -> None:
        self._num_skipped += 1
        if self.most_skipped and self._num_skipped > self.most_skipped:
            raise TooManyFilesError
        self.skipped.setdefault(reason, []).append(self._name(path))

    def _name(self, path: Path) -> str:
        return str(path.relative_to(self.root)) if path != self.root else path.name

    def _unreadable_folder(self, error: OSError) -> None:
        self._skip("unreadable folder", Path(os.fsdecode(error.filename or self.root)))

    def __len__(self) -> int:
        return len(self._list)

    def documents(self) -> Iterator[Document]:
        """Every document in order. In a folder an unreadable file is counted and passed over; a named file raises."""
        files = self._list
        drops: Counter[str] = Counter()
        left_out: dict[str, list[str]] = {}
        drops.update(self.passed_over())
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
        """What was left out, by name, and what was wrong with the first file of the last reading that was."""
        told = ["" if left_out is self.skipped else next(iter(self.warnings), "")]
        for reason, names in left_out.items():
            if reason == "unknown extension":
                found = Counter(_extension(Path(name)) for name in names).most_common(_NAMED)
                told.append(
                    "Extensions that are not read: " + ", ".join(f"{name} ({count})" for name, count in found) + "."
                )
            else:
                told.append(f"{reason[:1].upper()}{reason[1:]}: {_files_named(names)}.")
        return " ".join(filter(None, told))

    def none_readable(self) -> SeedbedError:
        """What to tell where the folder holds nothing to read."""
        if not self.skipped:
            return SeedbedError(f"The folder {quoted(self.root)} is empty.", f"{READ}")
        counted = _counted(self.passed_over())
        saved = self.root / "dataset_info.json", self.root / "dataset_dict.json"
        way = f"A dataset that `datasets` saved is named hf:{self.root}. " if any(map(Path.exists, saved)) else ""
        return SeedbedError(
            f"The folder {quoted(self.root)} holds no text to read ({counted}). {self.named(self.skipped)}",
            f"{way}{READ} One file of another extension can be named: text:{self.root}/FILE.",
        )

    def passed_over(self) -> Counter[str]:
        """How many files the walk left out, by reason."""
        return Counter({reason: len(names) for reason, names in self.skipped.items()})

    def size_bytes(self) -> int:
        """How large the files are together, as they lie on disk; one that cannot be asked counts nothing."""
        sizes = []
        for file in self._list:
            with contextlib.suppress(OSError):
                sizes.append(file.path.stat().st_size)
        return sum(sizes)

    def digest(self) -> str:
        """Hex digest of the files' kinds and bytes in order; names and places do not enter."""
        whole = hashlib.sha256(f"{self._reading.field} {self._reading.encoding}\n{self.separators.identity}".encode())
        for file in self._list:
            try:
                content = sha256_file(file.path)
            except OSError as error:
                content = f"unreadable {error.errno}"
            whole.update(f"{file.kind} {file.path.suffix in ('.gz', '.zst')} {content}\n".encode())
        return whole.hexdigest()


def _extension(path: Path) -> str:
    """The extension of a file, with the one before .gz or .zst."""
    suffixes = path.suffixes[-2:] if path.suffix.lower() in (".gz", ".zst") else path.suffixes[-1:]
    found = "".join(suffixes).lower()
    return f"none before {found}" if found in (".gz", ".zst") else found or "none"


class Text:
    """A file or folder, with documents held out of it or with a validation set of its own."""

    def __init__(self, name: str, data: DataConfig, files: Files, validation: Files | None, emit: Emit) -> None:
        self.name = name
        self._data = data
        self._files = files
        self._validation = validation
        self._emit = emit
        self._told = False
        self._said: set[Message] = set()

    @property
    def drops(self) -> Counter[str]:
        """Files and records left out, by reason, in the last reading."""
        return self._files.drops + (self._validation.drops if self._validation else Counter())

    @property
    def size_bytes(self) -> int:
        """How large the files are together, as they lie on disk."""
        return self._files.size_bytes() + (self._validation.size_bytes() if self._validation else 0)

    def fingerprint(self) -> str:
        """Digest of the bytes of all files and of what decides the split."""
        identity = [_FORMAT, holdout.VERSION, str(PIECE_CHARS), str(self._data.max_documents), self._files.digest()]
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
            self._emit(cut_message(quoted(self.name), made.cut, self._data.validation))
        return made

    def _side(self, split: Literal["train", "validation"]) -> Iterator[str]:
        made = self._plan
        spared = Spared(made)
        for document in self._limited(self._files):
            side = made.side(document.digest, document.length)
            spared.see(document.digest, document.length)
            if made.cut is not None and side == "cut":
                yield from cut_pieces(document.pieces, made.cut, split)
            elif side == split:
                yield from document.pieces
        if split == "train":
            self._say_once(spared.messages(quoted(self.name)))

    @property
    def _parts(self) -> list[Files]:
        return [self._files] + ([self._validation] if self._validation else [])

    def passed_over(self) -> list[Message]:
        """What to say of files that are left out for their name, kind or place, as the folder is now. Reads none of them."""
        counts = sum((part.passed_over() for part in self._parts), Counter[str]())
        named = [part.named(part.skipped) for part in self._parts]
        return [self._left_out(PASSED_OVER, counts, named)] if counts else []

    def _left_out(self, code: str, counts: Counter[str], named: Iterable[str]) -> Message:
        return Message(
            level="info" if counts.keys() <= _QUIET else "warning",
            code=code,
            text=f"Left out of {quoted(self.name)}: {_counted(counts)}.",
            why=" ".join(filter(None, named)),
            hint=_hint(counts, self._data),
        )

    def _tell_skipped(self) -> None:
        """Say once what was left out and why, and which texts are not only words."""
        if self._told:
            return
        self._told = True
        for message in self.passed_over():
            self._emit(message)
        counts = self.drops - sum((part.passed_over() for part in self._parts), Counter[str]())
        if counts:
            self._emit(self._left_out("data-skipped", counts, (part.named(part.left_out) for part in self._parts)))
        for part in self._parts:
            for what, names in part.markup.items():
                self._emit(
                    Message(
                        level="warning",
                        code="data-markup",
                        text=f"{_files_named(names)} of {quoted(self.name)} {'is' if len(names) == 1 else 'are'} {what}.",
                        why="The model learns all of it as text, with names, tags and brackets.",
                        hint=_MARKUP_HINTS.get(what, "Take the text out first, if it is the words that you want."),
                    )
                )

    def _tell_separators(self) -> None:
        """Say once how files were divided into documents."""
        self._say_once(self._files.separators.messages(quoted(self.name)))

    def _say_once(self, messages: Iterable[Message]) -> None:
        for message in messages:
            if message not in self._said:
                self._said.add(message)
                self._emit(message)

    def _nothing(self, split: str) -> NoTextError:
        if split == "validation" and self._validation is None:
            return NoTextError(
                f"{quoted(self.name)} is too short to hold out any validation text.",
                "Add text, or name a validation file: --set data.validation_path=FILE.",
            )
        files = self._validation if split == "validation" and self._validation else self._files
        first = next(iter(files.warnings), "")
        return NoTextError(
            f"No text is left in {quoted(files.root)} ({_counted(files.drops) or 'no files'}). {first}".strip(),
            _hint(files.drops, self._data),
        )


_MARKUP_HINTS = {
    "JSON lines": "To train on a field of the records, name the file .jsonl and set data.field.",
    "a JSON array": "To train on a field of the records, write one per line to a .jsonl file and set data.field.",
}


def _counted(drops: Counter[str]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in drops.most_common())


def _files_named(names: list[str]) -> str:
    return listed([quoted(name) for name in names[:_NAMED]] + names[_NAMED:], _NAMED)


def _hint(drops: Counter[str], data: DataConfig) -> str:
    """What to do about what was left out."""
    hints = [READ]
    if "not UTF-8" in drops:
        hints.append("For files that are not UTF-8, name their encoding: --set data.encoding=cp1252 (or another).")
    elif any(reason.startswith("neither UTF-8") for reason in drops):
        hints.append("data.encoding names the encoding of files that are not UTF-8.")
    if "no text field" in drops:
        hints.append(f"Records need a field {quoted(data.field)}: --set data.field=NAME names another.")
    return " ".join(hints)


def open_text(rest: str, data: DataConfig, emit: Emit) -> Text:
    """The files at a path. Raises SeedbedError where there is no such path or nothing readable below it."""
    validation = files_at("data.validation_path", data.validation_path, data) if data.validation_path else None
    files = files_at("--data text:PATH", rest, data)
    for each in (files, validation):
        if each is not None and not len(each):
            raise each.none_readable()
    return Text(f"text:{rest}", data, files, validation, emit)


def files_at(option: str, asked: str, data: DataConfig) -> Files:
    """The files that a path names, not yet looked for. Raises UsageError where it names none, or what Seedbed wrote."""
    root = expand_home(asked)
    if not root.exists():
        if root.is_symlink():
            raise UsageError(
                f"{quoted(root)} is a link to {quoted(root.readlink())}, which is not there ({option}).",
                "Mend the link, or name the file or folder itself.",
            )
        there = root.parent.is_dir()
        hint = (
            f"{quoted(root.parent)} is there; check the last part of the name."
            if there
            else f"{quoted(root.parent)} is not there either."
        )
        raise UsageError(f"There is no file or folder {quoted(root)} ({option}).", hint)
    if not root.is_dir() and not root.is_file():
        raise UsageError(f"{quoted(root)} is neither a file nor a folder ({option}).", "Name a file or a folder.")
    _refuse_ours(root, option)
    return Files(root, Reading(data.field, data.encoding), data.separator)


def _refuse_ours(root: Path, option: str) -> None:
    """Raise SeedbedError where a person named what Seedbed wrote."""
    held = ours.holder(root)
    what = f"is {held[1]}" if held else ""
    if held and not root.samefile(held[0]):
        what = f"is part of {held[1]}, {quoted(held[0])},"
    elif not held and root.is_file():
        kind = ours.file_kind(root, kind_of(root))
        what = f"is {kind}" if kind else ""
    if what:
        prepared = held is not None and held[1] == ours.DATASET
        raise UsageError(
            f"{quoted(root)} {what} that Seedbed wrote, not text ({option}).".replace(", that", " that"),
            f"To train on a prepared dataset write --data {held[0]}."
            if prepared and held
            else "Name text of your own.",
        )
