"""Groups of files that belong together, of which each may be shown before a gap in another.

A row that shows another file gives away that file's text. So files are shown only within small groups, and such a row is
linked to the files that it shows: the split keeps what is linked together, and a group is too small to unbalance it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from seedbed.curation.repositories.files import Source

GROUP_FILES = 8
"""The most files of a group."""
_MOST_IMPORTS = 40
_MOST_CANDIDATES = 4

_LINE = re.compile(
    r"^[ \t]*(?:#[ \t]*include|import|from|use|pub use|mod|pub mod|require|require_relative|export|load|source|\.)\b[^\n]*"
    r"|^[^\n]*\brequire\([^\n]*|^[ \t]*(?:[\w.]+[ \t]+)?\"[\w./-]+\"[ \t]*$",
    re.MULTILINE,
)
_NAME = re.compile(r"[\"'<]([\w./@-]+)[\"'>]|\b(\w+(?:(?:\.|::)\w+)+)|\b(?:mod|import|from)[ \t]+\.*(\w+)\b(?!\.|::)")


def imported_names(text: str) -> list[str]:
    """The names that the import lines of a source file mention, as paths without extension, such as `seedbed/text`.

    One pattern fits many languages: it may find names that are no imports, which then belong to no file.
    """
    found: dict[str, None] = {}
    for line in _LINE.findall(text[:20_000]):
        for quoted, dotted, word in _NAME.findall(line):
            name = quoted or dotted.replace("::", "/").replace(".", "/") or word
            parts = [each for each in name.split("/") if each not in ("", ".", "..", "crate", "self", "super", "@")]
            if parts:
                found["/".join(parts).lower()] = None
        if len(found) >= _MOST_IMPORTS:
            break
    return list(found)


class Neighbours:
    """The groups of the code files of a unit, by language. It keeps the begin of each file, so that it can be shown."""

    def __init__(self, sources: Iterable[Source], most_characters: int) -> None:
        """`most_characters`: how much of the begin of each file is kept."""
        self._texts: dict[str, str] = {}
        by_language: dict[str, dict[str, list[str]]] = {}
        for source in sources:
            if source.language.kind == "code":
                self._texts[source.path] = source.text[:most_characters]
                names = by_language.setdefault(source.language.name, {})
                names[source.path] = imported_names(source.text)
        self._imports: dict[str, list[str]] = {}
        self._group: dict[str, list[str]] = {}
        for names in by_language.values():
            imports = _resolved(names)
            self._imports |= imports
            self._group |= _groups(list(names), imports)

    def of(self, path: str) -> list[tuple[str, str]]:
        """The other files of the group, as paths and texts: those that the file imports first, then as they are sorted."""
        members = [each for each in self._group.get(path, ()) if each != path]
        imported = self._imports.get(path, ())
        members.sort(key=lambda each: (imported.index(each) if each in imported else len(imported), each))
        return [(each, self._texts[each]) for each in members]


def _stem(path: str) -> str:
    """A path without its extension, in small letters; `__init__`, `index` and `mod` stand for their folder."""
    folder, _, name = path.lower().rpartition("/")
    stem = name.partition(".")[0]
    if stem in ("__init__", "index", "mod") and folder:
        return folder
    return f"{folder}/{stem}" if folder else stem


def _resolved(names: dict[str, list[str]]) -> dict[str, list[str]]:
    """For each path, the paths that its imported names mean: whose ends fit, the nearest in the tree of folders first."""
    by_last: dict[str, list[tuple[str, str]]] = {}
    for path in names:
        stem = _stem(path)
        by_last.setdefault(stem.rsplit("/", 1)[-1], []).append((stem, path))
    found: dict[str, list[str]] = {}
    for path, wanted in names.items():
        meant: dict[str, None] = {}
        for name in wanted:
            base = re.sub(r"\.\w{1,4}$", "", name)
            for candidate in (base, base.rpartition("/")[0]):
                last = candidate.rsplit("/", 1)[-1]
                fitting = [
                    other
                    for stem, other in by_last.get(last, ())
                    if candidate and other != path and (stem == candidate or stem.endswith("/" + candidate))
                ]
                if fitting:
                    fitting.sort(key=lambda other: (-_shared(path, other), other))
                    meant.update(dict.fromkeys(fitting[:_MOST_CANDIDATES]))
                    break
        found[path] = list(meant)
    return found


def _shared(one: str, other: str) -> int:
    """The number of folders that two paths share at their begin."""
    count = 0
    for left, right in zip(one.split("/")[:-1], other.split("/")[:-1], strict=False):
        if left != right:
            break
        count += 1
    return count


def _groups(paths: Sequence[str], imports: dict[str, list[str]]) -> dict[str, list[str]]:
    """The group of each path, of at most `GROUP_FILES`: joined by imports, then with the next file of the same folder."""
    group = {path: [path] for path in paths}

    def join(one: str, other: str) -> None:
        left, right = group[one], group[other]
        if left is not right and len(left) + len(right) <= GROUP_FILES:
            left += right
            for each in right:
                group[each] = left

    for path in paths:
        for other in imports.get(path, ()):
            join(path, other)
    last_of_folder: dict[str, str] = {}
    for path in paths:
        folder = path.rpartition("/")[0]
        if folder in last_of_folder:
            join(last_of_folder[folder], path)
        last_of_folder[folder] = path
    return group
