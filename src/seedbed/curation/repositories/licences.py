"""Finds the licence of source files, and decides which licences are let through.

A file has, in this order: the licence that its header names (SPDX-License-Identifier, or a usual notice); that of the nearest
licence file or package metadata (pyproject.toml, package.json, Cargo.toml), in its folder or above.
Licence files are recognised by phrases that only this licence has (licences.toml), not by their whole text.

The gate is `any` by default. People prepare data from their own repositories, which often name no licence, and whose owners
need none; so an unknown licence is kept, and counted for the report. `permissive` and a list of identifiers drop what they do
not name, unknown licences included.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterable
from functools import cache
from importlib.resources import files as package_files

import msgspec

from seedbed.config.spelling import did_you_mean, nearest
from seedbed.curation.record import Licence
from seedbed.errors import UsageError
from seedbed.text import printable, quoted

UNKNOWN = "unknown"
_SPDX = re.compile(r"SPDX-License-Identifier:[ \t]*([A-Za-z0-9.+() \t-]+)")
_LICENCE_FILE = re.compile(
    r"(un)?licen[cs]e([._-].*)?|.*[._-]licen[cs]e(\.(md|txt|rst))?|copying([._-].*)?", re.IGNORECASE
)
_METADATA = ("pyproject.toml", "package.json", "Cargo.toml")
_HEADER_CHARACTERS = 3000
LICENCE_BYTES = 200_000
"""The most bytes of a licence file or of package metadata."""
_ENOUGH = 0.85
"""The share of a phrase's groups of three words that a text must have."""
_OWN = re.compile(r"LicenseRef-[A-Za-z0-9.-]+", re.IGNORECASE)
"""The identifiers that SPDX leaves to everyone."""
_OLD = re.compile(r"([al]?gpl-\d\.\d|gfdl-1\.\d)(\+?)")
_TOKEN = re.compile(r"\(|\)|[A-Za-z0-9.+-]+")


class KnownLicence(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A row of licences.toml, which says what the fields mean."""

    phrases: list[str]
    but_not: list[str] = []
    header: str | None = None
    permissive: bool = False
    any: bool = False
    """One of the phrases is enough."""


@cache
def known_licences() -> dict[str, KnownLicence]:
    """The table of licences, by SPDX identifier."""
    text = package_files("seedbed.curation.repositories").joinpath("licences.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), dict[str, KnownLicence])


# ---------------------------------------------------------------------------------------------- what a text says


def licence_of_text(text: str) -> str | None:
    """The SPDX identifier of a licence file, or several joined by AND; None if it is no known licence."""
    words = _words(text)
    groups = _groups(words)
    found = []
    for spdx, row in known_licences().items():
        shares = [_share(groups, phrase) for phrase in row.phrases]
        fits = max(shares) >= _ENOUGH if row.any else min(shares) >= _ENOUGH
        if fits and not any(_share(groups, phrase) >= _ENOUGH for phrase in row.but_not):
            found.append(spdx)
    return " AND ".join(_most_specific(found)) or _named(text) or _notice(text[:_HEADER_CHARACTERS])


def _named(text: str) -> str | None:
    """The SPDX expression that the first lines name, as the COPYING of Linux does; None if they name none."""
    found = _SPDX.search(text[:_HEADER_CHARACTERS])
    return None if found is None else _expression(found[1])


def _most_specific(found: list[str]) -> list[str]:
    """The licences without those whose text another one quotes: LGPL 3 and AGPL 3 name the GPL, Python's history has others."""
    named = set(found)
    if named & {"LGPL-3.0-only", "AGPL-3.0-only"}:
        named.discard("GPL-3.0-only")
    if "Python-2.0" in named:
        named -= {"PSF-2.0", "HPND", "ISC", "0BSD"}
    if "Apache-2.0" in named and len(found) > 3:  # a list of the licences of others comes after the own one
        named = {"Apache-2.0"}
    return [each for each in found if each in named]


def licence_of_header(text: str) -> str | None:
    """The SPDX expression that the first lines of a source file name; None if they name none."""
    start = text[:_HEADER_CHARACTERS]
    if (spdx := _SPDX.search(start)) is not None:
        return _expression(spdx[1])
    lower = start.lower()
    if "permission is hereby granted" in lower or "redistribution and use in source" in lower:
        return licence_of_text(start)
    return _notice(start) if "licen" in lower else None


def _notice(start: str) -> str | None:
    """The licence that a usual notice stands for; None if there is none."""
    lower = " ".join(re.sub(r"[#*/;%!]+", " ", start).lower().split())
    for name, row in known_licences().items():
        if row.header is not None and re.search(row.header, lower):
            later = name.startswith(("GPL", "LGPL", "AGPL")) and "any later version" in lower
            return name.replace("-only", "-or-later") if later else name
    return None


def _expression(written: str) -> str | None:
    """An SPDX expression with single spaces, cut where it stops being one."""
    kept: list[str] = []
    wants_name = True
    for word in _TOKEN.findall(written):
        is_operator = word in ("AND", "OR", "WITH")
        if (word not in "()" and is_operator == wants_name) or (word == "(" and not wants_name):
            break
        kept.append(word)
        wants_name = is_operator or word == "("
    while kept and kept[-1] in ("AND", "OR", "WITH", "("):
        kept.pop()
    return " ".join(kept).replace("( ", "(").replace(" )", ")") or None


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def _groups(words: list[str]) -> set[tuple[str, ...]]:
    return {tuple(words[at : at + 3]) for at in range(max(1, len(words) - 2))}


def _share(groups: set[tuple[str, ...]], phrase: str) -> float:
    wanted = _phrase_groups(phrase)
    return len(wanted & groups) / len(wanted)


@cache
def _phrase_groups(phrase: str) -> set[tuple[str, ...]]:
    return _groups(_words(phrase))


# ---------------------------------------------------------------------------------------------- what a repository says


def is_licence_file(path: str) -> bool:
    """Whether a file is named as a licence, such as LICENSE, COPYING.LESSER, LICENSE-MIT or UNLICENSE."""
    name = path.rsplit("/", 1)[-1]
    return _LICENCE_FILE.fullmatch(name) is not None and not name.endswith((".py", ".js", ".ts", ".go", ".rs", ".java"))


def licence_paths(paths: Iterable[str]) -> list[str]:
    """The paths that say something of licences: licence files and package metadata."""
    return [path for path in paths if is_licence_file(path) or path.rsplit("/", 1)[-1] in _METADATA]


def licence_in_metadata(name: str, text: str) -> str | None:
    """The SPDX expression in pyproject.toml, package.json or Cargo.toml; None if there is none, or the file is invalid."""
    try:
        value = json.loads(text) if name.endswith(".json") else tomllib.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    if not name.endswith(".json"):
        value = value.get("package" if name == "Cargo.toml" else "project")
    found = value.get("license") if isinstance(value, dict) else None
    if isinstance(found, dict):  # {text = "MIT"} or {"type": "MIT"}
        found = found.get("text") or found.get("type")
    if not isinstance(found, str) or len(found) > 200:
        return None
    found = " ".join(found.replace("/", " OR ").split())  # the old form of Cargo.toml: MIT/Apache-2.0
    known = {each.lower() for each in known_licences()}
    names = [each for each in _TOKEN.findall(found) if each not in ("AND", "OR", "WITH", "(", ")")]
    identifiers = all(each.lower() in known or re.search(r"[A-Za-z].*-", each) for each in names)
    return found if identifiers and _expression(found) == found else None


class Licences:
    """The licences of the files of one repository."""

    def __init__(self, paths: Iterable[str], read: Callable[[str], str | None]) -> None:
        """`paths`: those of `licence_paths`; `read` gives the text of one, or None if it cannot be read."""
        self._by_folder: dict[str, list[str]] = {}
        self._metadata: dict[str, list[str]] = {}
        for path in sorted(paths):
            folder, _, name = path.rpartition("/")
            (self._metadata if name in _METADATA else self._by_folder).setdefault(folder, []).append(path)
        self._read = read
        self._found: dict[str, Licence | None] = {}

    def of(self, path: str, text: str) -> Licence:
        """The licence of a source file and where it was found; `unknown` if nothing says it."""
        header = licence_of_header(text)
        if header is not None:
            return Licence(spdx=header, found_in="header")
        folder = path.rpartition("/")[0]
        while True:
            found = self._of_folder(folder)
            if found is not None:
                return found
            if not folder:
                return Licence(spdx=UNKNOWN, found_in="")
            folder = folder.rpartition("/")[0]

    def _of_folder(self, folder: str) -> Licence | None:
        if folder not in self._found:
            self._found[folder] = self._look(folder)
        return self._found[folder]

    def _look(self, folder: str) -> Licence | None:
        files = self._by_folder.get(folder, [])
        found = {path: spdx for path in files if (spdx := licence_of_text(self._read(path) or "")) is not None}
        names = sorted(set(found.values()))
        metadata = self._of_metadata(folder)
        if metadata is not None and len(names) != 1:
            return metadata  # several files do not say whether one may choose
        if names:
            return Licence(spdx=" AND ".join(names), found_in=", ".join(found))
        return Licence(spdx=UNKNOWN, found_in=", ".join(files)) if files else None

    def _of_metadata(self, folder: str) -> Licence | None:
        for path in self._metadata.get(folder, ()):
            found = licence_in_metadata(path.rsplit("/", 1)[-1], self._read(path) or "")
            if found is not None:
                return Licence(spdx=found, found_in=path)
        return None


# ---------------------------------------------------------------------------------------------- the gate


class Gate(msgspec.Struct, frozen=True):
    """Which licences are let through: all, or those with these SPDX identifiers."""

    allowed: frozenset[str] | None = None

    def lets_through(self, licence: Licence) -> bool:
        """Whether a licence is let through: of `A OR B`, one must be allowed; of `A AND B`, both; of `A WITH B`, A.

        An unknown licence, or an expression that cannot be read, is let through only if all are.
        """
        if self.allowed is None:
            return True
        if licence.spdx == UNKNOWN:
            return False
        tokens = _TOKEN.findall(licence.spdx)
        try:
            value = self._any_of(tokens)
        except (IndexError, RecursionError):
            return False
        return value and not tokens

    def _any_of(self, tokens: list[str]) -> bool:
        value = self._all_of(tokens)
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            value = self._all_of(tokens) or value
        return value

    def _all_of(self, tokens: list[str]) -> bool:
        value = self._one(tokens)
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            value = self._one(tokens) and value
        return value

    def _one(self, tokens: list[str]) -> bool:
        word = tokens.pop(0)
        if word == "(":
            value = self._any_of(tokens)
            if tokens.pop(0) != ")":
                raise IndexError
            return value
        assert self.allowed is not None
        value = _comparable(word) in self.allowed
        if tokens and tokens[0] == "WITH":
            del tokens[:2]
        return value


def gate(wanted: str) -> Gate:
    """The gate for `any`, `permissive`, or SPDX identifiers separated by commas. Raises UsageError for others."""
    if wanted == "any":
        return Gate()
    if wanted == "permissive":
        names = [spdx for spdx, row in known_licences().items() if row.permissive]
        return Gate(frozenset(map(_comparable, names)))
    names = [each.strip() for each in wanted.split(",")]
    known = {each.lower() for each in identifiers()}
    for name in names:
        if name.lower() not in known and not _OWN.fullmatch(name):
            raise UsageError(
                f"{quoted(printable(name))} is not an SPDX identifier of a licence.",
                f"{did_you_mean(_similar(name))}Write any, permissive, or identifiers separated by commas, such as "
                "MIT,Apache-2.0. spdx.org/licenses lists them.",
            )
    return Gate(frozenset(map(_comparable, names)))


@cache
def identifiers() -> tuple[str, ...]:
    """The identifiers of licences that SPDX knows."""
    text = package_files("seedbed.curation.repositories").joinpath("spdx.toml").read_text(encoding="utf-8")
    return tuple(tomllib.loads(text)["identifiers"])


def _similar(name: str) -> list[str]:
    """Identifiers that a name may mean, at most three: those it begins, such as BSD, or is the beginning of; else the nearest."""
    lower = name.lower()
    begun = [each for each in (*known_licences(), *identifiers()) if lower and each.lower().startswith(lower)]
    ends = [each for each in identifiers() if lower.startswith(each.lower())]
    return list(dict.fromkeys(begun))[:3] or sorted(ends, key=len)[-1:] or nearest(name, identifiers())


def _comparable(identifier: str) -> str:
    """An identifier in small letters; old ones of the GNU licences, such as GPL-2.0 and GPL-2.0+, as they are written now."""
    lower = identifier.lower()
    found = _OLD.fullmatch(lower)
    return f"{found[1]}-{'or-later' if found[2] else 'only'}" if found else lower
