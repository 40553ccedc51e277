"""Tells which files of a repository are sources: what a path says, and what the text says."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from importlib.resources import files as package_files
from itertools import pairwise

import msgspec

from seedbed.curation.repositories.languages import Language


class Limits(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """What a source file may be at most.

    The limits of lines and letters are those of StarCoder (Li et al. 2023, arXiv 2305.06161, section 3.2). Its limits on
    comments are not used: they are meant for files from anywhere, and would leave out files of the user's own.
    """

    bytes: int = 1_000_000
    line: int = 1000
    """Characters in the longest line of code."""
    mean_line: int = 100
    """Characters in a line of code on average."""
    letters: float = 0.25
    """The least share of letters and digits among the characters."""


class _Rules(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    vendored: list[str]
    built: list[str]
    lock_files: list[str]
    generated_names: list[str]
    minified_names: list[str]
    generated_lines: list[str]
    header_lines: int


@cache
def _rules() -> _Rules:
    import tomllib

    text = package_files("seedbed.curation.repositories").joinpath("filters.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), _Rules)


@cache
def _folders(*, tracked: bool) -> frozenset[str]:
    rules = _rules()
    return frozenset(rules.vendored if tracked else [*rules.vendored, *rules.built])


@cache
def _pattern(field: str) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{each})" for each in getattr(_rules(), field)))


def path_reason(path: str, *, tracked: bool = True) -> str | None:
    """Why a file is no source, as far as its path says: vendored folder, lock file, generated, minified; None if it may be.

    `tracked`: git tracks the file; otherwise folders such as `build` count as made by a build.
    """
    *folders, name = path.split("/")
    known = _folders(tracked=tracked)
    if any(folder in known for folder in folders) or any(folder.endswith(".egg-info") for folder in folders):
        return "vendored or built folder"
    if name in _rules().lock_files:
        return "lock file"
    lower = name.lower()
    if _pattern("minified_names").fullmatch(lower):
        return "minified file"
    if _pattern("generated_names").fullmatch(lower):
        return "generated file"
    return None


def text_reason(text: str, language: Language, limits: Limits) -> str | None:
    """Why a text is not kept: empty, generated, minified, long lines, few letters, Git LFS pointer; None if it is kept."""
    if not text or text.isspace():
        return "empty file"
    if text.startswith("version https://git-lfs.github.com/spec/"):
        return "Git LFS pointer"
    if is_generated(text):
        return "generated file"
    if language.kind == "document":
        return _few_letters(text, limits)
    lines = text.count("\n") + (not text.endswith("\n"))
    longest = max(map(len, text.split("\n")))
    mean = len(text) / lines
    if language.name in ("JavaScript", "TypeScript", "CSS", "HTML") and (
        mean > 200 or longest > max(5000, len(text) // 2)
    ):
        return "minified file"
    if longest > limits.line:
        return f"line longer than {limits.line} characters"
    if mean > limits.mean_line and len(text) > 10 * limits.mean_line:  # a short file may be one long sentence
        return f"lines longer than {limits.mean_line} characters on average"
    return _few_letters(text, limits)


def is_generated(text: str) -> bool:
    """Whether the first lines say that a program wrote the text."""
    return _is_generated(text[:4000])


@lru_cache(maxsize=1024)
def _is_generated(beginning: str) -> bool:
    """The same of the beginning of a text, which most versions of a file share."""
    most = _rules().header_lines
    start = beginning.lstrip("\ufeff").lower().split("\n")[:most]
    pattern = _pattern("generated_lines")
    return any("generated" in line and pattern.search(line) for line in start) or _says_so_apart(start)


def _says_so_apart(lines: list[str]) -> bool:
    """Whether lines next to each other say "generated" and "do not edit"."""
    return any(
        "generated" in f"{one}{other}" and re.search(r"\bdo not (edit|modify)\b", f"{one} {other}")
        for one, other in pairwise(lines)
    )


def _few_letters(text: str, limits: Limits) -> str | None:
    """The reason if too few characters are letters or digits; those beyond ASCII count as letters, which is fast."""
    encoded = text.encode("utf-8", "replace")
    others = len(encoded) - len(encoded.translate(None, _NOT_ALPHANUMERIC))
    return "few letters and digits" if len(text) - others < limits.letters * len(text) else None


_NOT_ALPHANUMERIC = bytes(code for code in range(128) if not chr(code).isalnum())
