"""Tells changes that only format: the text before and after has the same tokens."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterable

from seedbed.curation.commits.context import indent_of

_TOKENS = re.compile(r"""\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'|`[^`]*`|\w+|[^\w\s]""")
"""Strings, whose whitespace is content, words and signs."""
_LIKE_A_VERSION = re.compile(r"\d+\.\d+\.\d|version", re.IGNORECASE)
_MOST_CHARACTERS = 60_000
"""Of a text whose tokens are read as Python's, which takes a millisecond for a thousand characters."""
_TRAILING_COMMA = re.compile(r",([)\]}])")
_VERSION = re.compile(r"\d+(?:\.\d+)+[\w.+-]*|\b\d+\b|\b[0-9a-f]{40,}\b")
INDENTED = frozenset(
    (
        "Python",
        "YAML",
        "Makefile",
        "Haskell",
        "CoffeeScript",
        "Nim",
        "F#",
        "Elm",
        "Pug",
        "Sass",
        "Markdown",
        "reStructuredText",
    )
)
"""Languages in which the indentation, or the end of a line, says something."""


def only_formats(before: str, after: str, language: str | None) -> bool:
    """Whether two texts differ in whitespace only, and in commas before closing brackets.

    In languages where indentation says something, the depth of every line must be the same, too, or, for Python, its tokens.
    """
    if _squeezed(before) != _squeezed(after):
        return False
    if language not in INDENTED:
        return True
    if _depths(before) == _depths(after):
        return True
    if language != "Python" or len(before) > _MOST_CHARACTERS or (tokens := _python_tokens(before)) is None:
        return False
    return tokens == _python_tokens(after)


def same_letters(removed: Iterable[str], added: Iterable[str]) -> bool:
    """Whether lines have the same characters in the same order, without whitespace and commas. If not, they change more."""
    return "".join("".join(removed).replace(",", "").split()) == "".join("".join(added).replace(",", "").split())


def only_changes_versions(removed: str, added: str) -> bool:
    """Whether the changed lines differ in numbers and versions only, and there are few of them."""
    if not removed or removed.count("\n") != added.count("\n") or removed.count("\n") > 20:
        return False
    return (
        _LIKE_A_VERSION.search(removed) is not None
        and removed != added
        and _VERSION.sub("#", removed) == _VERSION.sub("#", added)
    )


def _squeezed(text: str) -> str:
    return _TRAILING_COMMA.sub(r"\1", " ".join(_TOKENS.findall(text)).replace(", ", ","))


def _python_tokens(text: str) -> list[tuple[int, str]] | None:
    """The tokens that the parser of Python would get; None if the text is no Python of this version."""
    found = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type in (tokenize.INDENT, tokenize.DEDENT, tokenize.NEWLINE):
                found.append((token.type, ""))
            elif token.type not in (tokenize.NL, tokenize.COMMENT):
                found.append((token.type, token.string))
    except (tokenize.TokenError, SyntaxError):
        return None
    return [
        each
        for each, following in zip(found, [*found[1:], (0, "")], strict=True)
        if not (each[1] == "," and following[1] in (")", "]", "}"))
    ]


def _depths(text: str) -> list[tuple[int, str]]:
    """Each line that is not blank: how many lines it is within, and its tokens."""
    found = []
    open_indents: list[int] = []
    for line in text.split("\n"):
        if not line or line.isspace():
            continue
        depth = indent_of(line)
        while open_indents and open_indents[-1] >= depth:
            open_indents.pop()
        open_indents.append(depth)
        found.append((len(open_indents), " ".join(_TOKENS.findall(line))))
    return found
