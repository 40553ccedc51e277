"""Units of logs: what is read, and cached, as a whole."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from seedbed.curation.drops import Drops
from seedbed.curation.logs.characters import clean
from seedbed.curation.logs.conversation import MODEL
from seedbed.curation.logs.formats import FORMATS
from seedbed.curation.logs.options import STEP, LogOptions
from seedbed.curation.logs.sniff import Search, Sniffed, search
from seedbed.curation.record import Record
from seedbed.curation.steps import Unit
from seedbed.errors import UsageError
from seedbed.files import normal_path
from seedbed.text import legible, listed, printable, quoted

VERSION = 4
"""Raised when the same logs give other records, so that caches are not used."""


class LogUnit:
    """The files of one format that are read together, such as a project folder of Claude Code."""

    def __init__(self, name: str, files: list[tuple[Sniffed, str]], options: LogOptions) -> None:
        self.name = name
        self.format = files[0][0].format
        self._files = files
        self._options = options

    @property
    def size_bytes(self) -> int:
        """The sizes of its files; those that are gone have none."""
        return sum(_size_and_time(sniffed.path)[0] for sniffed, _ in self._files)

    def fingerprint(self) -> str:
        """Hex digest of the names, sizes and times of its files, the options, and the version of the reader."""
        parts = [f"{VERSION} {self.format} {self._options.text()}"]
        for sniffed, name in self._files:
            size, time = _size_and_time(sniffed.path)
            parts.append(f"{name}\0{size}\0{time}")
        return hashlib.blake2b("\n".join(parts).encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()

    def read(self, drops: Drops) -> Iterator[Record]:
        """Yield its records; see Unit."""
        for sniffed, _ in self._files:
            drops.note(STEP, f"file of {sniffed.format} {printable(sniffed.version)[:40]}".rstrip())
        files = [(sniffed.path, name) for sniffed, name in self._files]
        before = [_size_and_time(path) for path, _ in files]
        for record in FORMATS[self.format].read(files, self._options, drops):
            if record.provenance.model is None:
                answers = sum(message.role == "assistant" for message in record.messages or ())
                drops.note(STEP, "turns whose model is not named", answers)
            yield clean(record, drops)
        for (path, name), earlier in zip(files, before, strict=True):
            if _size_and_time(path) != earlier:
                drops.note(STEP, f"file that changed while it was read: {printable(name)}")


class UnreadFiles:
    """The files in a folder that are not read: it has no records, and counts them with their reasons."""

    name = "files of other formats"
    size_bytes = 0

    def __init__(self, found: Search) -> None:
        self._unknown = found.unknown
        self._others = found.others

    def fingerprint(self) -> str:
        """Hex digest of their names and reasons."""
        text = repr((self._unknown, sorted(self._others.items())))
        return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()

    def read(self, drops: Drops) -> Iterator[Record]:
        """Count the files; there are no records."""
        for name, reason in self._unknown:
            kind, _, detail = reason.partition(": ")
            drops.drop(STEP, kind, printable(name), detail)
        for suffix, count in sorted(self._others.items()):
            drops.note(STEP, f"other file: {printable(suffix)}", count)
        return iter(())


def find_units(path: Path, format: str | None = None, options: LogOptions | None = None) -> list[Unit]:  # noqa: A002
    """The units of logs in a file or folder, in the order of their names; the last counts the files that are not read.

    `format`: a name of FORMATS, or None to find the format of each file by its content. Raises UsageError if the path
    does not exist, the format is unknown, or no file there has conversations.
    """
    if format is not None and format not in FORMATS:
        raise UsageError(f"There is no format {quoted(printable(format))}.", f"Formats: {', '.join(FORMATS)}.")
    root = normal_path(path)
    if not root.exists():
        raise UsageError(f"{quoted(path)} does not exist.", "Check the path.")
    found = search(root, format)
    if not found.found:
        names = listed([f"{printable(name)} ({printable(reason)})" for name, reason in found.unknown], 5)
        seen = f" Not read: {names}." if names else ""
        raise UsageError(
            f"No logs of a known format are in {quoted(path)}.{seen}",
            f"Formats: {', '.join(FORMATS)}. Name one with --format to read files as it.",
        )
    groups: dict[tuple[Path, str], list[tuple[Sniffed, str]]] = {}
    base = root if root.is_dir() else root.parent
    for sniffed in found.found:
        name = legible(sniffed.path.relative_to(base).as_posix())
        key = (FORMATS[sniffed.format].unit_of(sniffed.path), sniffed.format)
        groups.setdefault(key, []).append((sniffed, name))
    units: list[Unit] = []
    for (place, _), files in sorted(groups.items(), key=lambda item: (str(item[0][0]), item[0][1])):
        units.append(LogUnit(_unit_name(place, base), sorted(files, key=lambda each: each[1]), options or LogOptions()))
    if found.unknown or found.others:
        units.append(UnreadFiles(found))
    return units


def models_of(drops: Drops) -> Counter[str]:
    """How many turns each model wrote in the logs that were read, by the model's name."""
    found: Counter[str] = Counter()
    for (step, what), count in drops.notes.items():
        if step == STEP and what.startswith(MODEL):
            found[what[len(MODEL) :]] += count
    return found


def _unit_name(place: Path, base: Path) -> str:
    try:
        return legible(place.relative_to(base).as_posix() if place != base else base.name)
    except ValueError:  # the unit is above the given folder, such as its session folder
        return legible(place.name)


def _size_and_time(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns
