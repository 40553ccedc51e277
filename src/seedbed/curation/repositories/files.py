"""The files of a repository, a part of it, or a plain folder: their names, and their contents read safely."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal, Self

import msgspec

from seedbed.curation.drops import Drops
from seedbed.curation.folder import DESCRIPTION, is_dataset
from seedbed.curation.repositories import git
from seedbed.curation.repositories.filters import Limits, path_reason, text_reason
from seedbed.curation.repositories.languages import (
    Language,
    language_of_first_line,
    language_of_path,
    language_of_text,
)
from seedbed.curation.repositories.licences import licence_paths
from seedbed.curation.repositories.names import name_of, names_of_path
from seedbed.errors import UsageError
from seedbed.text import printable, quoted

STEP = "files"
"""The name under which left-out files are counted."""
_ATTRIBUTES = {"linguist-generated": "generated file", "linguist-vendored": "vendored or built folder"}
_PATHS_AT_ONCE = 500
_COMMON_BYTES = 8000


class Entry(msgspec.Struct, frozen=True):
    """A file by its path below the tree's top; bytes of the path that are not UTF-8 are surrogates."""

    path: str
    mode: str = "100644"
    hash: str = ""
    """Of a file in a commit: the object with its content."""
    tracked: bool = True
    said: Literal["", "source", "generated file", "vendored or built folder"] = ""
    """What the repository says of it in .gitattributes, with GitHub's linguist-generated and linguist-vendored."""


class Tree(msgspec.Struct, frozen=True, kw_only=True):
    """A repository or a folder whose files are read."""

    name: str
    """Of the repository: its remote's owner/name or its folder; of a plain folder: its name."""
    top: Path | None
    """The folder of the files; None for files of a commit."""
    repository: git.Repository | None
    commit: str | None
    """The commit whose files are read, or that is checked out; None for a plain folder or an empty repository."""
    from_commit: bool
    """Whether contents are those of the commit, not those of the folder."""
    licence_files: tuple[Entry, ...] = ()
    """Of a part of a repository: the files outside it that say something of the licence of the repository."""


class Source(msgspec.Struct, frozen=True):
    """A source file: its path in the repository, its text and its language."""

    path: str
    text: str
    language: Language


class UnreadableError(Exception):
    """A file's content could not be read; the message is the reason to count."""


def open_tree(path: Path, *, commit: str | None = None, untracked: bool = False) -> tuple[Tree, list[Entry]]:
    """The tree at a path and its files, sorted by their paths' bytes.

    In a repository, these are the tracked files below `path`, as they are in the working tree; with `untracked`, also those
    that are neither tracked nor ignored. With `commit`, and for a bare repository (then HEAD), the files are those of the
    commit. In a folder that is in no repository, or of which git tracks nothing, all files that no .gitignore excludes.
    Symbolic links are never followed. Raises UsageError if there is no such folder or commit.
    """
    if not path.is_dir():
        known = path.exists() or path.is_symlink()
        raise UsageError(
            f"{quoted(printable(str(path)))} is {'no folder' if known else 'not there'}.",
            "Give the folder of a repository, or any folder with source files.",
        )
    path = path.resolve()
    try:
        repository = git.open_repository(path)
    except UsageError:
        repository = None
    if repository is not None:
        tree, entries = _of_repository(path, repository, commit, untracked)
        if entries or repository.top is None or path == repository.top.resolve():
            return tree, entries
    if commit is not None:
        raise UsageError(
            f"{quoted(printable(str(path)))} is in no repository, so it has no commits.", "Leave out the commit."
        )
    return _of_folder(path)


def _of_repository(
    path: Path, repository: git.Repository, commit: str | None, untracked: bool
) -> tuple[Tree, list[Entry]]:
    from_commit = commit is not None or repository.top is None
    head = git.commit_hash(repository, commit or "HEAD")
    if head is None and commit is not None:
        raise UsageError(
            f"There is no commit {quoted(printable(commit))} in {quoted(printable(str(path)))}.",
            "See `git log` for commits and `git branch --all` for branches.",
        )
    top = None if repository.top is None else repository.top.resolve()
    below = "" if top is None or path == top else path.relative_to(top).as_posix() + "/"
    every: list[Entry] = []
    if head is not None or not from_commit:
        listed = git.tracked_files(repository, head if from_commit else None)
        every = [Entry(each.path, each.mode, each.hash) for each in listed]
    entries = [each for each in every if each.path.startswith(below)]
    outside = {} if not below else {each.path: each for each in every if not each.path.startswith(below)}
    if untracked and not from_commit:
        others = (each for each in git.untracked_files(repository) if each.startswith(below))
        entries += [Entry(each.rstrip("/"), "040000" if each.endswith("/") else "", tracked=False) for each in others]
    tree = Tree(
        name=name_of(repository),
        top=None if from_commit else top,
        repository=repository,
        commit=head,
        from_commit=from_commit,
        licence_files=tuple(outside[path] for path in licence_paths(outside)),
    )
    if from_commit:
        return tree, _sorted(entries)
    attributes = [each for each in (*entries, *outside.values()) if each.path.endswith(".gitattributes")]
    return tree, _sorted(_with_attributes(tree, entries, attributes))


def _with_attributes(tree: Tree, entries: list[Entry], attributes: Sequence[Entry]) -> list[Entry]:
    """The entries with what the repository says of them; git reads the attributes, and starts nothing for it.

    `attributes`: the `.gitattributes` files of the whole repository.
    """
    with Reader(tree) as reader:
        if not any(_mentions_linguist(reader, each) for each in attributes):
            return entries
    assert tree.repository is not None
    said: dict[str, str] = {}
    for at in range(0, len(entries), _PATHS_AT_ONCE):
        paths = [each.path for each in entries[at : at + _PATHS_AT_ONCE]]
        facts = git.run(
            tree.repository, f"--work-tree={tree.top}", "check-attr", "-z", *_ATTRIBUTES, "--", *paths, cwd=tree.top
        ).split(b"\0")
        for path, attribute, value in zip(facts[0::3], facts[1::3], facts[2::3], strict=False):
            reason = _ATTRIBUTES[attribute.decode()]
            if value in (b"set", b"true"):
                said[os.fsdecode(path)] = reason
            elif value in (b"unset", b"false"):
                said.setdefault(os.fsdecode(path), "source")
    return [msgspec.structs.replace(each, said=said.get(each.path, "")) for each in entries]


def _mentions_linguist(reader: Reader, entry: Entry) -> bool:
    try:
        return b"linguist-" in reader.read(entry, _PATHS_AT_ONCE * 1000)
    except UnreadableError:
        return False


def _of_folder(path: Path) -> tuple[Tree, list[Entry]]:
    """The files of a folder without a repository: git lists them, with an empty repository elsewhere, for .gitignore."""
    with tempfile.TemporaryDirectory(prefix="seedbed-") as empty:
        git.run(None, "init", "--quiet", "--bare", "--template=", empty)
        listed = git.untracked_files(git.Repository(git_dir=Path(empty), top=path))
    # A repository within the folder is listed as its name and a slash: mode of a folder.
    ours = {each.removesuffix(DESCRIPTION) for each in listed if is_dataset_file(path, each)}
    entries = [
        Entry(each.rstrip("/"), "040000" if each.endswith("/") else "", tracked=False)
        for each in listed
        if "/.seedbed/" not in f"/{each}" and not any(each.startswith(folder) for folder in ours)
    ]
    tree = Tree(
        name=(names_of_path(str(path)) or ("folder",))[0], top=path, repository=None, commit=None, from_commit=False
    )
    return tree, _sorted(entries)


def is_dataset_file(folder: Path, path: str) -> bool:
    """Whether a path in a folder is the description of a dataset that Seedbed made there, which is no source."""
    return path.endswith(f"/{DESCRIPTION}") and is_dataset((folder / path).parent)


def _sorted(entries: list[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda each: os.fsencode(each.path))


class Reader:
    """Reads the files of a tree, one at a time. Use it as a context manager."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._stack = ExitStack()
        self._objects: git.Objects | None = None
        self._folders: dict[str, bool] = {}

    def __enter__(self) -> Self:
        if self._tree.from_commit:
            assert self._tree.repository is not None
            self._objects = self._stack.enter_context(git.Objects(self._tree.repository))
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def read(self, entry: Entry, most_bytes: int) -> bytes:
        """The content of a file. Raises UnreadableError with the reason to count if there is none to use."""
        if entry.mode == "120000":
            raise UnreadableError("symbolic link")
        if entry.mode == "160000":
            raise UnreadableError("submodule")
        if entry.mode == "040000":
            raise UnreadableError(git.NESTED)
        if self._objects is None:
            return self._read_file(entry, most_bytes)
        try:
            content, _ = self._objects.read(entry.hash, most_bytes)
        except git.GitError as error:
            raise UnreadableError("unreadable object of git") from error
        if content is None:
            raise UnreadableError(f"larger than {most_bytes:,} bytes")
        return content

    def _read_file(self, entry: Entry, most_bytes: int) -> bytes:
        """The content of a file in the folder; twice if it changes meanwhile."""
        assert self._tree.top is not None
        if not self._is_inside(entry.path):
            raise UnreadableError("behind a symbolic link")
        path = self._tree.top / entry.path
        for _ in range(2):
            try:
                content = _read_unchanged(path, most_bytes)
            except FileNotFoundError as error:
                raise UnreadableError("not in the working tree") from error
            except OSError as error:
                raise UnreadableError("unreadable file") from error
            if content is not None:
                return content
        raise UnreadableError("changed while it was read")

    def _is_inside(self, path: str) -> bool:
        """Whether no folder of a path is a symbolic link."""
        folder = path.rpartition("/")[0]
        if folder not in self._folders:
            assert self._tree.top is not None
            whole = str(self._tree.top / folder) if folder else str(self._tree.top)
            self._folders[folder] = os.path.realpath(whole) == whole
            if len(self._folders) > 10_000:
                self._folders = {folder: self._folders[folder]}
        return self._folders[folder]


def _read_unchanged(path: Path, most_bytes: int) -> bytes | None:
    """The content of a regular file; None if it changed while it was read. Raises OSError, and UnreadableError."""
    before = path.lstat()
    if stat.S_ISLNK(before.st_mode):
        raise UnreadableError("symbolic link")
    if not stat.S_ISREG(before.st_mode):
        raise UnreadableError("no regular file")
    if before.st_size > most_bytes:
        raise UnreadableError(f"larger than {most_bytes:,} bytes")
    # Without O_NONBLOCK, a pipe that took the file's place meanwhile would block.
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as handle:
        opened = os.fstat(fd)
        if not stat.S_ISREG(opened.st_mode):
            raise UnreadableError("no regular file")
        content = handle.read(most_bytes + 1)
        after = os.fstat(fd)
    same = (opened.st_size, opened.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    return content if same and len(content) == after.st_size else None


def sources(tree: Tree, entries: Sequence[Entry], limits: Limits, drops: Drops) -> Iterator[Source]:
    """The source files among the entries, in order, one in memory at a time; each other file is counted by its reason."""
    with Reader(tree) as reader:
        for entry in entries:
            reason, text = "", ""
            try:
                found = source_of(reader, entry, limits)
                if isinstance(found, Source):
                    yield found
                    continue
                reason, text = found
            except UnreadableError as error:
                reason = str(error)
            drops.drop(STEP, reason, where_of(tree, entry.path), text)


def source_of(reader: Reader, entry: Entry, limits: Limits) -> Source | tuple[str, str]:
    """The source of a file, or the reason why it is none and its text. Raises UnreadableError.

    The path is judged first, so that files that are no sources are not read.
    """
    reason = entry_reason(entry)
    return source_of_content(entry.path, reader.read(entry, limits.bytes), limits) if reason is None else (reason, "")


def entry_reason(entry: Entry) -> str | None:
    """Why a file is no source, as its path, its mode and the repository say; None if its content must say."""
    if entry.mode in ("", "100644", "100755", "100664") and entry.said != "source":
        reason = entry.said or path_reason(entry.path, tracked=entry.tracked)
        if reason is not None:
            return reason
    language = language_of_path(entry.path)
    if language is not None and language.kind == "data":
        return "data file"
    name = entry.path.rsplit("/", 1)[-1]
    if language is None and "." in name[1:] and entry.mode in ("", "100644"):
        return "no known programming language"
    return None


def source_of_content(path: str, content: bytes, limits: Limits) -> Source | tuple[str, str]:
    """The source of a file whose path may be one, or the reason why it is none and its text."""
    language = language_of_path(path) or language_of_first_line(content)
    if language is None:
        return "no known programming language", ""
    if b"\0" in content:
        return "binary file", ""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return "not UTF-8", ""
    language = language_of_text(language, path, text)
    reason = text_reason(text, language, limits)
    return Source(path, text, language) if reason is None else (reason, text)


def where_of(tree: Tree, path: str) -> str:
    """A file in messages and samples: the name of its repository and its path there."""
    return printable(f"{tree.name}/{path}")


def size_of(tree: Tree, entries: Sequence[Entry], limits: Limits) -> int:
    """About how many bytes the entries have that will be read: those whose paths may be sources, and that are not too large.

    Files of a commit count 8 kB each, without a look at their objects.
    """
    total = 0
    for entry in entries:
        language = language_of_path(entry.path)
        if language is None or language.kind == "data" or path_reason(entry.path, tracked=entry.tracked) is not None:
            continue
        if tree.top is None:
            total += _COMMON_BYTES
            continue
        try:
            size = os.lstat(tree.top / entry.path).st_size
        except OSError:
            continue
        total += size if size <= limits.bytes else 0
    return total


def fingerprint(tree: Tree, entries: Sequence[Entry]) -> str:
    """Hex digest that changes when a file changes: of the objects of a commit, or of names, sizes and times of files.

    It also changes with what the repository says of the files, which may stand in a file that is not among them.
    """
    import hashlib

    digest = hashlib.blake2b(digest_size=16)
    for entry in entries:
        facts = f"{entry.mode} {entry.hash}"
        if tree.top is not None:
            try:
                found = os.lstat(tree.top / entry.path)
                facts = f"{found.st_mode:o} {found.st_size} {found.st_mtime_ns}"
            except OSError:
                facts = "none"
        digest.update(os.fsencode(entry.path) + b"\0" + f"{facts} {entry.said}".rstrip().encode() + b"\0")
    return digest.hexdigest()
