"""Units of input for fill in the middle: a repository, or a part of a large one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from seedbed.curation.drops import Drops
from seedbed.curation.fim import syntax
from seedbed.curation.fim.families import family_named, markers
from seedbed.curation.fim.samples import SampleOptions, Sampler
from seedbed.curation.record import Provenance, Record
from seedbed.curation.repositories.files import Entry, Tree, fingerprint, open_tree, sources
from seedbed.curation.repositories.filters import Limits
from seedbed.text import legible

if TYPE_CHECKING:
    from seedbed.tokenizer.tokenizer import Tokenizer

VERSION = 1
"""Raised when the same files give other rows."""
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
    context: Literal["file", "repository"] = "file"


class FimUnit(msgspec.Struct, kw_only=True, frozen=True):
    """The files of a repository, or a part of them."""

    tree: Tree
    entries: list[Entry]
    options: FimOptions
    number: int = 0
    """Which part of the repository it is, from 0."""
    parts: int = 1
    size_bytes: int = 0

    @property
    def name(self) -> str:
        """The name of the repository, with the number of the part if there are several."""
        return self.tree.name if self.parts == 1 else f"{self.tree.name} ({self.number + 1} of {self.parts})"

    def fingerprint(self) -> str:
        """Hex digest that changes with the files, the options and the way in which rows are made."""
        facts = msgspec.json.encode((VERSION, self.tree.name, self.options, fingerprint(self.tree, self.entries)))
        return hashlib.blake2b(facts, digest_size=16).hexdigest()

    def read(self, drops: Drops) -> Iterator[Record]:
        """Yield the rows, file by file; what is left out is counted in `drops`."""
        sampler = _sampler(self.options)
        for source in sources(self.tree, self.entries, self.options.limits, drops):
            provenance = Provenance(
                source="files" if self.tree.repository is None else "git",
                repository=self.tree.name,
                path=legible(source.path),
                commit=self.tree.commit,
            )
            yield from sampler.records(source, provenance, None, drops)


def fim_units(path: Path, options: FimOptions) -> list[FimUnit]:
    """The units of a repository, a folder in one, a bare repository, or a folder without a repository.

    Raises UsageError or SeedbedError if there is nothing to read, a package is missing, or the tokenizer lacks the markers of
    the family. A repository without files has no units.
    """
    if options.family is not None:
        options = msgspec.structs.replace(options, family=family_named(options.family))
    syntax.require()
    _sampler(options)  # refuses a tokenizer that does not fit before anything is read
    tree, entries = open_tree(path, commit=options.commit, untracked=options.untracked)
    parts = [entries[at : at + UNIT_FILES] for at in range(0, len(entries), UNIT_FILES)]
    return [
        FimUnit(tree=tree, entries=part, options=options, number=number, parts=len(parts))
        for number, part in enumerate(parts)
    ]


@cache
def _sampler(options: FimOptions) -> Sampler:
    """The sampler of options, made once in each process."""
    tokenizer = None if options.tokenizer is None else _tokenizer(options.tokenizer)
    found = markers(options.family, tokenizer) if options.family is not None and tokenizer is not None else None
    return Sampler(options.samples, options.family, tokenizer, found)


@cache
def _tokenizer(folder: Path) -> Tokenizer:
    from seedbed.tokenizer.tokenizer import Tokenizer

    return Tokenizer.of_model(folder)
