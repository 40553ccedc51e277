"""The text of a changed file before and after a commit, made of git's diff and of the texts that are known already.

A diff without context says which lines a commit removed and added. The text before is most often the text after an earlier
commit, so that few texts are read from the repository. Each text is checked against git's hash of it.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import lru_cache

import msgspec

from seedbed.curation.repositories.git import GitError, Objects

_HEADING = re.compile(r"-(\d+)(?:,(\d+))? \+")
_MOST_KEPT = 32 << 20
"""Characters of texts that are kept for later commits."""


class Change(msgspec.Struct, frozen=True):
    """A file that a commit changed. `status`: A (added), M (modified), D (deleted), R (renamed) or T (its type changed)."""

    status: str
    path: str
    """After the commit; of a deleted file, before it."""
    old_path: str
    old_mode: str
    mode: str
    old_hash: str
    hash: str


class Hunk(msgspec.Struct, frozen=True):
    """A change of lines: `removed`, which begin at line `start` (from 0) of the text before, become `added`.

    Lines are those of `text.split("\\n")`: a text that ends with a newline has an empty last line.
    """

    start: int
    removed: tuple[str, ...]
    added: tuple[str, ...]


class Patch(msgspec.Struct, frozen=True):
    """The text of a changed file before and after a commit; None where it did not exist. `problem`: why both are unknown.

    Of a file that was renamed or whose mode was changed, and nothing else, both are None.
    """

    change: Change
    before: str | None = None
    after: str | None = None
    hunks: tuple[Hunk, ...] = ()
    problem: str | None = None


class Texts:
    """The texts of blobs by their hashes: those used last, and others from the repository."""

    def __init__(self, objects: Objects, most_bytes: int) -> None:
        self._objects = objects
        self._most_bytes = most_bytes
        self._kept: OrderedDict[str, str] = OrderedDict()
        self._characters = 0

    def read(self, digest: str) -> str | None:
        """The text of a blob; None if it is too large. Raises GitError, and UnicodeDecodeError if it is not UTF-8."""
        text = self._kept.get(digest)
        if text is not None:
            self._kept.move_to_end(digest)
            return text
        content, _size = self._objects.read(digest, self._most_bytes)
        return self.keep(digest, content.decode("utf-8")) if content is not None else None

    def read_ahead(self, digests: Iterable[str]) -> None:
        """Read texts that will be needed soon, up to a hundred of them at once."""
        missing = [digest for digest in dict.fromkeys(digests) if digest not in self._kept][:100]
        for digest, content in self._objects.read_ahead(missing, self._most_bytes).items():
            with suppress(UnicodeDecodeError):  # told when it is needed
                self.keep(digest, content.decode("utf-8"))

    def keep(self, digest: str, text: str) -> str:
        """Keep a text for later commits."""
        if digest not in self._kept:
            self._kept[digest] = text
            self._characters += len(text)
            while self._characters > _MOST_KEPT:
                self._characters -= len(self._kept.popitem(last=False)[1])
        return text


def patch_of(change: Change, section: bytes, texts: Texts) -> Patch:
    """The patch of a change. `section`: what git's diff without context says of it. Raises GitError for missing objects."""
    if change.status == "T" or {change.old_mode, change.mode} & {"120000", "160000"}:
        return Patch(change, problem="link or submodule")
    header, *parts = section.split(b"\n@@ ")
    if change.old_hash == change.hash:
        return Patch(change)
    if not parts and b"\nBinary files " in header:
        return Patch(change, problem="binary or large file")
    try:
        before = (
            "" if change.status == "A" else _deleted(parts) if change.status == "D" else texts.read(change.old_hash)
        )
        if before is None:
            return Patch(change, problem="binary or large file")
        hunks, after = apply_hunks(before, parts)
    except UnicodeDecodeError:
        return Patch(change, problem="not UTF-8")
    if change.status == "D":
        return Patch(change, before, None, hunks)
    if not _is_blob(after, change.hash):
        raise GitError(f"The diff of {change.hash} does not give its content.")
    texts.keep(change.hash, after)
    return Patch(change, None if change.status == "A" else before, after, hunks)


def _deleted(parts: Sequence[bytes]) -> str:
    """The text of a deleted file, all of which the diff shows."""
    if not parts:
        return ""
    lines = parts[0].decode("utf-8").split("\n")[1:]
    terminated = not any(line.startswith("\\") for line in lines[-2:])
    return "\n".join(line[1:] for line in lines if line.startswith("-")) + "\n" * terminated


@lru_cache(maxsize=16)
def lines_of(text: str) -> Sequence[str]:
    """The lines of a text, without their newlines; a text that ends with a newline has an empty last line.

    Those of the last texts are kept: of one commit, the same text is asked for several times.
    """
    return text.split("\n")


def apply_hunks(before: str, parts: Sequence[bytes]) -> tuple[tuple[Hunk, ...], str]:
    """The hunks of a diff without context, and the text after it. `parts`: each hunk's bytes, after `@@ ` at its beginning."""
    lines = lines_of(before)
    hunks: list[Hunk] = []
    made: list[str] = []
    at = 0
    unterminated = False
    for part in parts:
        start, removed, added, unterminated = _sides(part)
        hunks.append(Hunk(start, tuple(removed), tuple(added)))
        made += [*lines[at:start], *added]
        at = start + len(removed)
    made += lines[at:]
    ended = before == "" or before.endswith("\n")
    if (
        hunks and at == len(lines) - ended and ended == unterminated
    ):  # the newline at the end of the file is changed, too
        last = hunks[-1]
        if ended:
            made.pop()
            hunks[-1] = Hunk(last.start, (*last.removed, ""), last.added)
        else:
            made.append("")
            hunks[-1] = Hunk(last.start, last.removed, (*last.added, ""))
    return tuple(hunks), "\n".join(made)


def _sides(part: bytes) -> tuple[int, list[str], list[str], bool]:
    """Where a hunk begins, its removed and its added lines, and whether the last added one has no newline."""
    heading, *lines = part.decode("utf-8").split("\n")
    found = _HEADING.match(heading)
    assert found is not None
    removed: list[str] = []
    added: list[str] = []
    unterminated = False
    for line in lines:
        sign = line[:1]
        if sign == "-":
            removed.append(line[1:])
        elif sign == "+":
            added.append(line[1:])
        elif sign == "\\":
            unterminated = bool(added)
    return int(found[1]) - (found[2] != "0"), removed, added, unterminated


def _is_blob(text: str, digest: str) -> bool:
    """Whether git's hash of a text is `digest`."""
    content = text.encode()
    algorithm = hashlib.sha256 if len(digest) == 64 else hashlib.sha1
    return algorithm(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest() == digest
