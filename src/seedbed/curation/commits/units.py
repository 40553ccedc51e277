"""Units of input for examples of edits: the history of a repository, in ranges of commits that processes can share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from seedbed.curation.commits.examples import STEP, ExampleOptions, LeftOutError, example, file_reason, judge
from seedbed.curation.commits.messages import Intent, read_message
from seedbed.curation.drops import Drops
from seedbed.curation.record import Licence, Record
from seedbed.curation.repositories import git
from seedbed.curation.repositories.git import Repository
from seedbed.curation.repositories.history import (
    Commit,
    HistoryOptions,
    TooLarge,
    Unreadable,
    commit_ranges,
    folder_within,
    list_commits,
    read_commits,
    read_patches,
)
from seedbed.curation.repositories.names import name_of
from seedbed.text import legible

VERSION = 3
"""Raised when the same history gives other examples."""
BYTES_OF_COMMIT = 4000
"""About how much text a commit has, for the progress."""
LicenceOf = Callable[[Repository, str, str], Licence | None]
"""The licence of a path in a commit of a repository, from (repository, commit, path)."""


class CommitOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which commits of a repository are read, and how they become examples."""

    history: HistoryOptions = HistoryOptions()
    examples: ExampleOptions = ExampleOptions()


class CommitUnit(msgspec.Struct, frozen=True, kw_only=True):
    """A range of the commits of a repository, the oldest first."""

    repository: Repository
    repository_name: str
    hashes: str
    """The hashes of the commits, each with a newline."""
    options: CommitOptions
    number: int = 0
    parts: int = 1
    unreadable: int = 0
    """Commits of the whole history that could not be listed; counted with the first range."""
    below: str = ""
    """The folder of the repository whose files are read, with a slash at its end; empty for all of it."""
    licence_of: LicenceOf | None = None
    """A function of a module, so that other processes can be given it."""
    licence_files: dict[str, str] = {}
    """What `licence_of` reads: paths and the hashes of their contents, which are part of the fingerprint."""

    @property
    def name(self) -> str:
        """The name of the repository, with the number of the range if there are several."""
        return (
            self.repository_name if self.parts == 1 else f"{self.repository_name} ({self.number + 1} of {self.parts})"
        )

    @property
    def size_bytes(self) -> int:
        """About how much text it has."""
        return self.hashes.count("\n") * BYTES_OF_COMMIT

    def fingerprint(self) -> str:
        """Hex digest that changes with the commits, the licences, the options and the way in which examples are made."""
        licences = [[legible(path), digest] for path, digest in self.licence_files.items()]
        facts = (
            VERSION,
            self.repository_name,
            legible(self.below),
            self.options,
            self.hashes,
            self.unreadable,
            licences,
        )
        return hashlib.blake2b(msgspec.json.encode(facts), digest_size=16).hexdigest()

    def read(self, drops: Drops) -> Iterator[Record]:
        """Yield an example for each commit that gives one; each other commit is counted in `drops` by its reason."""
        for _ in range(self.unreadable):
            drops.drop(STEP, "unreadable commit, with all before it", self.repository_name)
        kept: list[tuple[Commit, Intent]] = []
        cut = git.shallow_commits(self.repository)
        for found in read_commits(self.repository, self.hashes.split()):
            if isinstance(found, Commit):
                intent = read_message(found.message)
                try:
                    judge(found, intent, self.options.examples, cut, drops, self.below)
                    kept.append((found, intent))
                except LeftOutError as error:
                    self._drop(drops, found.hash, str(error), intent.text)
            else:
                self._drop_unread(drops, found)
        yield from self._examples(kept, drops)

    def _examples(self, kept: Sequence[tuple[Commit, Intent]], drops: Drops) -> Iterator[Record]:
        hashes = [commit.hash for commit, _ in kept]
        patches = read_patches(self.repository, hashes, unwanted=lambda change: file_reason(change, self.below))
        for (commit, intent), found in zip(kept, patches, strict=True):
            if not isinstance(found, tuple):
                self._drop_unread(drops, found)
                continue

            def licence(path: str, commit: str = commit.hash) -> Licence | None:
                return self.licence_of(self.repository, commit, path) if self.licence_of is not None else None

            options, name = self.options.examples, self.repository_name
            try:
                yield example(commit, intent, found[1], options, name, drops, licence, self.below)
            except LeftOutError as error:
                self._drop(drops, commit.hash, str(error), intent.text)

    def _drop_unread(self, drops: Drops, found: Unreadable | TooLarge) -> None:
        reason = "too large to read" if isinstance(found, TooLarge) else "unreadable objects"
        self._drop(drops, found.hash, reason, "")

    def _drop(self, drops: Drops, commit: str, reason: str, text: str) -> None:
        drops.drop(STEP, reason, f"{self.repository_name}@{commit[:12]}", text)


def commit_units(
    path: Path,
    options: CommitOptions,
    *,
    name: str | None = None,
    licence_of: LicenceOf | None = None,
    licence_files_of: Callable[[Repository], dict[str, str]] = lambda repository: {},
) -> list[CommitUnit]:
    """The units of the repository that has `path`, or of the folder `path` of it.

    `name`: of the repository in the records, instead of its own. `licence_files_of`: what `licence_of` reads.

    Ranges are those of `commit_ranges`. Raises SeedbedError if there is no repository, and UsageError for an unknown branch
    or date. An empty one has no units.
    """
    repository = git.open_repository(path)
    below = folder_within(repository, path)
    hashes, unreadable = list_commits(repository, options.history, below)
    ranges = commit_ranges(hashes)
    shown = name or name_of(repository)
    licence_files = licence_files_of(repository)
    return [
        CommitUnit(
            repository=repository,
            repository_name=shown,
            hashes="".join(f"{digest}\n" for digest in part),
            options=options,
            number=number,
            parts=len(ranges),
            unreadable=unreadable if number == 0 else 0,
            below=below,
            licence_of=licence_of,
            licence_files=licence_files,
        )
        for number, part in enumerate(ranges)
    ]
