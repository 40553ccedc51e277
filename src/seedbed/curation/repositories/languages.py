"""The language of a source file, by its path or its first line."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files as package_files
from pathlib import PurePosixPath
from typing import Literal

import msgspec

_CPP = re.compile(r"^[ \t]*(?:class \w|namespace\b|template ?<|using \w)|\bstd::", re.MULTILINE)


class Language(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A row of languages.toml, which says what the fields mean."""

    name: str = ""
    extensions: list[str] = []
    names: list[str] = []
    interpreters: list[str] = []
    kind: Literal["code", "document", "data"] = "code"
    grammar: str | None = None


@cache
def languages() -> dict[str, Language]:
    """The table of languages, by name."""
    import tomllib

    text = package_files("seedbed.curation.repositories").joinpath("languages.toml").read_text(encoding="utf-8")
    rows = msgspec.convert(tomllib.loads(text)["languages"], dict[str, Language])
    return {name: msgspec.structs.replace(row, name=name) for name, row in rows.items()}


@cache
def _by(field: Literal["extensions", "names", "interpreters"]) -> dict[str, Language]:
    return {key: row for row in languages().values() for key in getattr(row, field)}


def language_of_path(path: str) -> Language | None:
    """The language that a path says, by its name or extension; None if it says none.

    An extension in capitals counts as in small letters: `X.PY` is Python. `Dockerfile.dev` counts as `Dockerfile`.
    """
    name = path.rsplit("/", 1)[-1]
    if (found := _by("names").get(name)) is not None:
        return found
    extension = PurePosixPath(name).suffix[1:].lower()
    if extension and (found := _by("extensions").get(extension)) is not None:
        return found
    stem = name.partition(".")[0]
    return _by("names").get(stem) if stem in ("Dockerfile", "Containerfile", "Makefile") else None


def language_of_text(language: Language, path: str, text: str) -> Language:
    """The language after a look at the text: a `.h` file with classes, namespaces or templates is C++, not C."""
    is_header = language.name == "C" and path.lower().endswith(".h")
    return languages()["C++"] if is_header and _CPP.search(text) else language


def language_of_first_line(start: bytes) -> Language | None:
    """The language whose interpreter the first line names after `#!`; None if there is none."""
    if not start.startswith(b"#!"):
        return None
    words = start[2:200].split(b"\n", 1)[0].decode("utf-8", "replace").split()
    while words and (words[0].rsplit("/", 1)[-1] == "env" or words[0].startswith("-") or "=" in words[0]):
        words.pop(0)
    if not words:
        return None
    program = words[0].rsplit("/", 1)[-1]
    known = _by("interpreters")
    return known.get(program) or known.get(program.rstrip("0123456789."))
