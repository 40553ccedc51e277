"""Units of input for gaps from edits: the history of a repository, in ranges of commits that processes can share."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from seedbed.curation.commits.formatting import only_formats, same_letters
from seedbed.curation.commits.messages import read_message
from seedbed.curation.commits.units import BYTES_OF_COMMIT
from seedbed.curation.drops import Drops
from seedbed.curation.fim.draws import Draws
from seedbed.curation.fim.edits import Edit, edits_of, span_of, useless
from seedbed.curation.fim.units import FimOptions, licence_entries_of, licence_reader, sampler_of, tokenizer_of
from seedbed.curation.record import Licence, Provenance, Record, content_id
from seedbed.curation.repositories import git
from seedbed.curation.repositories.files import (
    Entry,
    Reader,
    Source,
    Tree,
    entry_reason,
    fingerprint,
    open_tree,
    source_of_content,
)
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
from seedbed.curation.repositories.languages import language_of_path
from seedbed.curation.repositories.licences import Licences, gate
from seedbed.curation.repositories.patches import Change, Patch
from seedbed.errors import UsageError
from seedbed.text import legible, printable, quoted

STEP = "edits"
"""The name under which commits and edits that are left out are counted."""
VERSION = 2
"""Raised when the same history gives other rows."""
_NO_EDITS = frozenset(("merge", "revert", "version or dependency bump"))
"""What a message says of commits that are left out. A message that says too little is no reason: rows do not show it."""
_CHANGELOG = re.compile(r"(change(s|log)|history|news|release[-_ ]?(s|notes?))\b[^/]*", re.IGNORECASE)
_LEAST_AROUND = 40
"""Characters around a middle, without blanks at the ends."""
_Found = tuple[Source, Licence, str, Edit]


class EditOptions(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Which commits are read for gaps, and how many they give."""

    history: HistoryOptions = HistoryOptions()
    per_commit: int = 3
    """The most rows of a commit; of more edits, this many are chosen at random."""
    max_files: int = 10
    """Source files that a commit changes; one that changes more is left out."""


class EditUnit(msgspec.Struct, kw_only=True, frozen=True):
    """A range of the commits of a repository, the oldest first."""

    tree: Tree
    """Says the name of the repository, and which licence its files have today, in the folder or the commit of the options."""
    repository: Repository
    hashes: str
    """The hashes of the commits, each with a newline."""
    licence_entries: list[Entry]
    said: dict[str, str]
    """What the repository says of files in .gitattributes today; see `Entry.said`."""
    fim: FimOptions
    options: EditOptions
    number: int = 0
    parts: int = 1
    unreadable: int = 0
    """Commits of the whole history that could not be listed; counted with the first range."""
    below: str = ""
    """The folder of the repository whose files are read, with a slash at its end; empty for all of it."""

    @property
    def name(self) -> str:
        """The name of the repository, with the number of the range if there are several."""
        return f"{self.tree.name}, edits" + (f" ({self.number + 1} of {self.parts})" if self.parts > 1 else "")

    @property
    def size_bytes(self) -> int:
        """About how much text it has."""
        return self.hashes.count("\n") * BYTES_OF_COMMIT

    def fingerprint(self) -> str:
        """Hex digest that changes with the commits, the licence files, the options and the way in which rows are made."""
        folder = self.fim.tokenizer
        tokenizer = "" if folder is None else tokenizer_of(folder).fingerprint
        options = msgspec.structs.replace(self.fim, tokenizer=None)
        licences = fingerprint(self.tree, self.licence_entries)
        said = [[legible(path), what] for path, what in self.said.items()]
        facts = (VERSION, self.tree.name, options, self.options, tokenizer, licences, said, legible(self.below))
        encoded = msgspec.json.encode((*facts, self.hashes, self.unreadable))
        return hashlib.blake2b(encoded, digest_size=16).hexdigest()

    def read(self, drops: Drops) -> Iterator[Record]:
        """Yield the rows, commit by commit; what is left out is counted in `drops`."""
        for _ in range(self.unreadable):
            drops.drop(STEP, "unreadable commit, with all before it", self.tree.name)
        cut = git.shallow_commits(self.repository)
        kept: list[Commit] = []
        for found in read_commits(self.repository, self.hashes.split()):
            if not isinstance(found, Commit):
                self._drop_unread(drops, found)
            elif (reason := self._commit_reason(found, cut)) is not None:
                drops.drop(STEP, reason, self._where(found.hash), found.message)
            else:
                kept.append(found)
        patches = read_patches(
            self.repository,
            [commit.hash for commit in kept],
            most_bytes_of_file=self.fim.limits.bytes,
            unwanted=self._unwanted,
        )
        with Reader(self.tree) as reader:
            paths = [each.path for each in self.licence_entries]
            licences = Licences(paths, licence_reader(reader, self.licence_entries))
            for commit, read in zip(kept, patches, strict=True):
                if isinstance(read, tuple):
                    yield from self._rows(commit, read[1], licences, drops)
                else:
                    self._drop_unread(drops, read)

    def _where(self, commit: str, path: str = "") -> str:
        return printable(f"{self.tree.name}{'/' if path else ''}{path}@{commit[:12]}")

    def _drop_unread(self, drops: Drops, found: Unreadable | TooLarge) -> None:
        reason = "too large to read" if isinstance(found, TooLarge) else "unreadable objects"
        drops.drop(STEP, reason, self._where(found.hash))

    def _commit_reason(self, commit: Commit, cut: frozenset[str]) -> str | None:
        """Why a commit gives no rows, as its parents, its message and the names of its files say; None if it may."""
        if len(commit.parents) > 1:
            return "merge"
        if commit.hash in cut:
            return "first commit of a shallow clone"
        problem = read_message(commit.message).problem
        if problem in _NO_EDITS:
            return problem
        if commit.changes is None:
            return "message or list of files too long"
        if not commit.changes:
            return "no file changed"
        reasons = [self._unwanted(change) for change in commit.changes]
        wanted = reasons.count(None)
        if {"new file", "deleted file"} <= set(reasons):  # a file that was renamed and edited is listed as these two
            wanted += min(reasons.count("new file"), reasons.count("deleted file"))
        if not wanted:
            return f"only {Counter(filter(None, reasons)).most_common(1)[0][0]} changed"
        return f"more than {self.options.max_files} files" if wanted > self.options.max_files else None

    def _unwanted(self, change: Change) -> str | None:
        """Why a changed file gives no middles, as its name, its mode and the kind of change say; None if it may."""
        if self.below and not (change.path.startswith(self.below) and change.old_path.startswith(self.below)):
            return "file outside the folder"
        if {change.old_mode, change.mode} & {"120000", "160000"}:
            return "link or submodule"
        said = self.said.get(change.path, "")
        reason = entry_reason(Entry(change.path, change.mode, said=said))  # type: ignore[arg-type]
        if reason is None and _is_changelog(change.path):
            reason = "changelog"  # every commit adds to it what its message says
        if reason is not None or change.status not in "AD":
            return reason
        return "new file" if change.status == "A" else "deleted file"

    def _rows(self, commit: Commit, patches: Sequence[Patch], licences: Licences, drops: Drops) -> Iterator[Record]:
        """The rows of a commit, in the order of its files: of more edits than it may have rows, random ones."""
        found = [each for patch in patches for each in self._edits(commit, patch, licences, drops)]
        seed, most = self.fim.samples.seed, self.options.per_commit
        draws = Draws("edits", seed, self.tree.name, commit.hash)
        made: dict[int, Record] = {}
        for number in sorted(range(len(found)), key=lambda _: draws.uniform()):
            if len(made) == most:
                drops.drop(STEP, "edit above the limit of its commit", self._where(commit.hash, found[number][0].path))
            elif (record := self._row(commit, found[number], drops)) is not None:
                made[number] = record
        yield from (made[number] for number in sorted(made))

    def _edits(self, commit: Commit, patch: Patch, licences: Licences, drops: Drops) -> list[_Found]:
        """The edits of a file that can be middles."""
        change = patch.change
        if patch.problem is not None or not patch.hunks:
            drops.note(STEP, f"file left out of its commit: {patch.problem or 'nothing but its name or mode changed'}")
            return []
        where = self._where(commit.hash, change.path)
        useful = []
        for edit in edits_of(patch):
            reason = useless(edit)
            if reason is None:
                useful.append(edit)
            else:
                drops.drop(STEP, reason, where, "\n".join(edit.added or edit.removed))
        if not useful:
            return []
        source = source_of_content(change.path, (patch.after or "").encode(), self.fim.limits)
        if not isinstance(source, Source):
            drops.drop(STEP, f"file: {source[0]}", where, source[1])
            return []
        if _only_formats(patch, source):
            drops.drop(STEP, "file that is only formatted", where, source.text)
            return []
        licence = licences.of(source.path, source.text)
        if not gate(self.fim.licences).lets_through(licence):
            drops.drop("licences", f"licence not let through: {licence.spdx}", where, source.text)
            return []
        return [(source, licence, change.old_path, edit) for edit in useful]

    def _row(self, commit: Commit, found: _Found, drops: Drops) -> Record | None:
        source, licence, old_path, edit = found
        repository, path = self.tree.name, legible(source.path)
        draws = Draws("edit", self.fim.samples.seed, f"{repository}/{path}", commit.hash, edit.first)
        record = sampler_of(self.fim).gap(source, span_of(source.text, edit, draws), draws)
        if record is None:
            where = self._where(commit.hash, source.path)
            drops.drop(STEP, "edit of more than half a row", where, "\n".join(edit.added))
            return None
        if len(f"{record.prefix}{record.suffix}".strip()) < _LEAST_AROUND:
            drops.drop(STEP, "edit of a whole file", self._where(commit.hash, source.path), source.text)
            return None
        record.provenance = Provenance(
            source="git",
            repository=repository,
            path=path,
            commit=commit.hash,
            parent=commit.parents[0],
            time=commit.time,
        )
        record.licence = licence
        paths = dict.fromkeys((path, legible(old_path)))
        record.links = [f"commit:{commit.hash}", *(f"path:{repository}/{each}" for each in paths)]
        record.id = content_id(record)
        return record


def _is_changelog(path: str) -> bool:
    language = language_of_path(path)
    name = path.rpartition("/")[2]
    return (language is None or language.kind == "document") and _CHANGELOG.fullmatch(name) is not None


def _only_formats(patch: Patch, source: Source) -> bool:
    removed = (line for hunk in patch.hunks for line in hunk.removed)
    added = (line for hunk in patch.hunks for line in hunk.added)
    return same_letters(removed, added) and only_formats(patch.before or "", source.text, source.language.name)


def edit_units(path: Path, fim: FimOptions, options: EditOptions, *, name: str | None = None) -> list[EditUnit]:
    """The units of the repository that has `path`, or of the folder `path` of it. `name`: as for `fim_units`.

    Raises UsageError if there is no repository, or for an unknown branch or date. An empty one has no units.
    """
    tree, entries = open_tree(path, commit=fim.commit)
    repository = tree.repository
    if repository is None:
        raise UsageError(
            f"{quoted(printable(str(path)))} is in no repository, so it has no edits.", "Leave out --edits."
        )
    tree = tree if name is None else msgspec.structs.replace(tree, name=name)
    below = folder_within(repository, path)
    hashes, unreadable = list_commits(repository, options.history, below)
    ranges = commit_ranges(hashes)
    return [
        EditUnit(
            tree=tree,
            repository=repository,
            hashes="".join(f"{digest}\n" for digest in part),
            licence_entries=licence_entries_of(tree, entries),
            said={each.path: each.said for each in entries if each.said},
            fim=fim,
            options=options,
            number=number,
            parts=len(ranges),
            unreadable=unreadable if number == 0 else 0,
            below=below,
        )
        for number, part in enumerate(ranges)
    ]
