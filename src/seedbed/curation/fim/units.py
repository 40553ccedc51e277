"""Units of input for fill in the middle: a repository, or a part of a large one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from seedbed.curation.drops import Drops
from seedbed.curation.fim import syntax
from seedbed.curation.fim.families import markers
from seedbed.curation.fim.family_table import check_context, family_named
from seedbed.curation.fim.neighbours import Neighbours
from seedbed.curation.fim.samples import SampleOptions, Sampler
from seedbed.curation.record import Licence, Provenance, Record
from seedbed.curation.repositories.files import (
    Entry,
    Reader,
    Source,
    Tree,
    UnreadableError,
    fingerprint,
    open_tree,
    size_of,
    sources,
    where_of,
)
from seedbed.curation.repositories.filters import Limits, path_reason
from seedbed.curation.repositories.git import Repository
from seedbed.curation.repositories.licences import LICENCE_BYTES, Licences, gate, licence_paths
from seedbed.errors import SeedbedError, UsageError
from seedbed.text import legible

if TYPE_CHECKING:
    from seedbed.tokenizer.tokenizer import Tokenizer

VERSION = 1
"""Raised when the same files give other rows."""
CHARACTERS_PER_TOKEN = 4
UNIT_FILES = 1000
"""The most files of a unit; a larger repository is several units, so that processes can share it."""


class FimOptions(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """How a repository becomes rows for fill in the middle."""

    family: str | None = None
    """The model family that will be trained, which decides markers and orders; rows hold no markers, so it may be left out."""
    tokenizer: Path | None = None
    """The folder of the model or tokenizer that counts tokens; without it, they are estimated."""
    samples: SampleOptions = SampleOptions()
    limits: Limits = Limits()
    untracked: bool = False
    """Whether files that git neither tracks nor ignores are read, too."""
    commit: str | None = None
    """The commit whose files are read, instead of those in the folder."""
    licences: str = "any"
    """Which licences are let through: any, permissive, or SPDX identifiers separated by commas."""
    context: Literal["file", "repository"] = "file"
    """Whether rows show other files of the repository before the file with the gap, with the markers of the family.

    Not by default: the same text then is in several rows, and such rows are split together with the files that they show.
    """


class FimUnit(msgspec.Struct, kw_only=True, frozen=True):
    """The files of a repository, or a part of them."""

    tree: Tree
    entries: list[Entry]
    licence_entries: list[Entry]
    """The files of the whole repository that say something of its licence."""
    options: FimOptions
    number: int = 0
    """Which part of the repository it is, from 0."""
    parts: int = 1
    size_bytes: int = 0
    """About; of files in a commit, which are not measured, as if each had 8 kB."""

    @property
    def name(self) -> str:
        """The name of the repository, with the number of the part if there are several."""
        return self.tree.name if self.parts == 1 else f"{self.tree.name} ({self.number + 1} of {self.parts})"

    @property
    def repository(self) -> Repository | None:
        """The repository of the files; None for a folder that is in none."""
        return self.tree.repository

    @property
    def repository_name(self) -> str:
        """The name of the repository in the provenance of its rows."""
        return self.tree.name

    def fingerprint(self) -> str:
        """Hex digest that changes with the files, the options and the way in which rows are made."""
        folder = self.options.tokenizer
        tokenizer = "" if folder is None else tokenizer_of(folder).fingerprint
        options = msgspec.structs.replace(self.options, tokenizer=None)
        entries = fingerprint(self.tree, [*self.entries, *self.licence_entries])
        facts = msgspec.json.encode((VERSION, self.tree.name, options, tokenizer, entries))
        return hashlib.blake2b(facts, digest_size=16).hexdigest()

    def read(self, drops: Drops) -> Iterator[Record]:
        """Yield the rows, file by file; what is left out is counted in `drops`."""
        sampler = sampler_of(self.options)
        neighbours = None
        if self.options.context == "repository":
            characters = CHARACTERS_PER_TOKEN * self.options.samples.max_tokens
            neighbours = Neighbours((source for source, _ in self._sources(Drops())), characters)
        for source, licence in self._sources(drops):
            drops.note("licences", f"files: {licence.spdx}")
            provenance = Provenance(
                source="files" if self.tree.repository is None else "git",
                repository=self.tree.name,
                path=legible(source.path),
                commit=self.tree.commit,
            )
            others = None if neighbours is None else neighbours.of(source.path)
            yield from sampler.records(source, provenance, licence, drops, others)

    def _sources(self, drops: Drops) -> Iterator[tuple[Source, Licence]]:
        """The source files whose licences are let through."""
        allowed = gate(self.options.licences)
        with Reader(self.tree) as reader:
            licences = Licences(
                [each.path for each in self.licence_entries], licence_reader(reader, self.licence_entries)
            )
            for source in sources(self.tree, self.entries, self.options.limits, drops):
                licence = licences.of(source.path, source.text)
                if allowed.lets_through(licence):
                    yield source, licence
                else:
                    where = where_of(self.tree, source.path)
                    drops.drop("licences", f"licence not let through: {licence.spdx}", where, source.text)


def licence_reader(reader: Reader, entries: Sequence[Entry]) -> Callable[[str], str | None]:
    """A function that gives the text of one of the licence files, or None if it cannot be read."""
    by_path = {each.path: each for each in entries}

    def read(path: str) -> str | None:
        try:
            return reader.read(by_path[path], LICENCE_BYTES).decode("utf-8", "replace")
        except UnreadableError:
            return None

    return read


def licence_entries_of(tree: Tree, entries: Sequence[Entry]) -> list[Entry]:
    """The files of a repository that say something of its licence, in order of `licence_paths`.

    Of a part of a repository, also those of the folders that it is in.
    """
    by_path = {each.path: each for each in (*tree.licence_files, *entries)}
    return [by_path[path] for path in licence_paths(by_path) if path_reason(path) is None]


def fim_units(path: Path, options: FimOptions, *, name: str | None = None) -> list[FimUnit]:
    """The units of a repository, a folder in one, a bare repository, or a folder without a repository.

    `name`: that of the repository in rows and messages, where its own could be that of another one, too. Raises UsageError
    or SeedbedError if there is nothing to read, a package is missing, or the tokenizer lacks the markers of the family. A
    repository without files has no units.
    """
    if options.family is not None:
        options = msgspec.structs.replace(options, family=family_named(options.family))
    if options.context == "repository":
        check_context(options.family)
    gate(options.licences)
    syntax.require()
    sampler_of(options)  # refuses a tokenizer that does not fit before anything is read
    tree, entries = open_tree(path, commit=options.commit, untracked=options.untracked)
    tree = tree if name is None else msgspec.structs.replace(tree, name=name)
    parts = [entries[at : at + UNIT_FILES] for at in range(0, len(entries), UNIT_FILES)]
    licence_entries = licence_entries_of(tree, entries)
    return [
        FimUnit(
            tree=tree,
            entries=part,
            licence_entries=licence_entries,
            options=options,
            number=number,
            parts=len(parts),
            size_bytes=size_of(tree, part, options.limits),
        )
        for number, part in enumerate(parts)
    ]


@cache
def sampler_of(options: FimOptions) -> Sampler:
    """The sampler of options, made once in each process."""
    tokenizer = None if options.tokenizer is None else tokenizer_of(options.tokenizer)
    found = None
    if options.family is not None and tokenizer is not None:
        try:
            found = markers(options.family, tokenizer)
        except SeedbedError as error:
            raise UsageError(error.message, error.hint) from None
    return Sampler(options.samples, options.family, tokenizer, found)


@cache
def tokenizer_of(folder: Path) -> Tokenizer:
    """The tokenizer of a folder, read once in each process."""
    from seedbed.tokenizer.tokenizer import Tokenizer

    return Tokenizer.of_model(folder)
