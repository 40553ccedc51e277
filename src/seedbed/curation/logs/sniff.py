"""Finds logs in a file or folder, and which format each file has."""

from __future__ import annotations

import os
import stat
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from seedbed.curation.folder import is_dataset
from seedbed.curation.logs.formats import FORMATS
from seedbed.curation.logs.head import HEAD_BYTES, Head, head_of
from seedbed.curation.logs.lines import with_valid_characters

_SKIPPED_FOLDERS = frozenset(
    (".git", ".seedbed", ".hg", ".svn", "node_modules", "__pycache__", ".venv", "venv", ".tox")
)
_SUFFIXES = frozenset((".jsonl", ".ndjson", ".json", ".zip", ".md"))
_JSON = frozenset((".jsonl", ".ndjson", ".json"))
_COMPANIONS = frozenset(
    ("ui_messages.json", "task_metadata.json", "sessions-index.json", "message_feedback.json", "user.json",
     "shared_conversations.json", "model_comparisons.json", "group_chats.json", "history_item.json")
)  # fmt: skip
"""Files that belong to logs and have no conversation that other files do not have."""


class Sniffed(NamedTuple):
    """A file with conversations."""

    path: Path
    format: str
    version: str


class Search(NamedTuple):
    """What a folder has."""

    found: list[Sniffed]
    unknown: list[tuple[str, str]]
    """(name, reason) of each file that may have conversations but is not read."""
    others: Counter[str]
    """How many files have another suffix, by suffix."""


def search(root: Path, format_name: str | None) -> Search:
    """Look at a file, or at all files below a folder, hidden ones and linked ones too; each file counts once.

    `format_name`: take every file with a fitting suffix as this format.
    """
    result = Search([], [], Counter())
    for path, name, problem in _files(root):
        if problem:
            result.unknown.append((name, problem))
        elif path == root:
            _look(path, name, format_name, result)
        elif path.suffix not in _SUFFIXES or (path.suffix == ".md" and not path.name.startswith(".aider")):
            result.others[path.suffix or "(no suffix)"] += 1
        elif path.name in _COMPANIONS or path.name.endswith(".meta.json"):
            result.others[path.name if path.name in _COMPANIONS else ".meta.json"] += 1
        else:
            _look(path, name, format_name, result)
    return result


def _look(path: Path, name: str, format_name: str | None, result: Search) -> None:
    try:
        head = head_of(path)
    except OSError as error:
        result.unknown.append((name, f"unreadable file: {(error.strerror or str(error)).lower()}"))
        return
    if not head.data:
        result.unknown.append((name, "empty file"))
        return
    for each, module in FORMATS.items():
        if format_name is None or each == format_name:
            version = module.recognise(path, head)
            if version is not None:
                result.found.append(Sniffed(path, each, version))
                return
    if format_name is not None:
        result.found.append(Sniffed(path, format_name, "?"))
    else:
        result.unknown.append((name, _reason(path, head)))


def _reason(path: Path, head: Head) -> str:
    """Why no format reads a file: it is damaged, or of an unknown format."""
    plain = head.data.strip(b"\0 \t\r\n")
    if not plain:
        return "file of NUL bytes" if b"\0" in head.data else "empty file"
    if head.data.startswith(b"PK\x03\x04") or path.suffix == ".zip":
        return "zip file without conversations" if zipfile.is_zipfile(path) else "damaged zip file"
    if path.suffix not in _JSON or head.values or len(head.data) >= HEAD_BYTES:
        return "unknown format"
    if not plain.startswith((b"{", b"[")):
        return "no JSON"
    return "unknown format" if with_valid_characters(plain) is not None else "damaged JSON"


def _files(root: Path) -> Iterator[tuple[Path, str, str]]:
    """Yield (path, name relative to the root, problem or "") of each file, in the order of names."""
    if not root.is_dir():
        yield root, root.name, _problem(root, set())
        return
    seen: set[tuple[int, int]] = set()
    folders = [root]
    whole = root.resolve()
    while folders:
        folder = folders.pop()
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            names = sorted(entry.name for entry in os.scandir(folder))
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            yield folder, _relative(folder, root), f"unreadable folder: {reason}"
            continue
        inner = []
        for each in names:
            path = folder / each
            if _is_folder(path):
                if path.is_symlink() and whole.is_relative_to(path.resolve()):
                    yield path, _relative(path, root), "link to a folder above"
                elif each not in _SKIPPED_FOLDERS and not is_dataset(path):
                    inner.append(path)
            else:
                problem = _problem(path, seen)
                if problem != "seen":
                    yield path, _relative(path, root), problem
        folders += reversed(inner)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def _problem(path: Path, seen: set[tuple[int, int]]) -> str:
    try:
        status = path.stat()
    except OSError as error:
        return f"unreadable file: {(error.strerror or str(error)).lower()}"
    if not stat.S_ISREG(status.st_mode):
        return "not a regular file" + (": a pipe" if stat.S_ISFIFO(status.st_mode) else "")
    if (status.st_dev, status.st_ino) in seen:
        return "seen"
    seen.add((status.st_dev, status.st_ino))
    return ""


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() or "."
