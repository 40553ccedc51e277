"""Tells changes that only format: the text before and after has the same tokens."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterable, Sequence

from seedbed.curation.commits.context import indent_of
from seedbed.curation.repositories.patches import lines_of

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
    one, other = lines_of(before), lines_of(after)
    first, last = _shared(one, other)
    if "`" in before or "`" in after:  # a string that may have several lines
        same = _squeezed(before) == _squeezed(after)
    else:
        same = _squeezed(_changed_text(one, first, last)) == _squeezed(_changed_text(other, first, last))
    if not same:
        return False
    if language not in INDENTED:
        return True
    if _depths(one, first, last) == _depths(other, first, last):
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


def _shared(one: Sequence[str], other: Sequence[str]) -> tuple[int, int]:
    """How many lines at the beginning, and how many others at the end, are the same in two texts."""
    most = min(len(one), len(other))
    first = next((number for number in range(most) if one[number] != other[number]), most)
    most -= first
    last = next((number for number in range(most) if one[-1 - number] != other[-1 - number]), most)
    return first, last


def _changed_text(lines: Sequence[str], first: int, last: int) -> str:
    """The lines without the `first` and `last` ones, with a line that is not blank on either side."""
    begin, end = first, len(lines) - last
    while begin > 0:
        begin -= 1
        if lines[begin].strip():
            break
    while end < len(lines):
        end += 1
        if lines[end - 1].strip():
            break
    return "\n".join(lines[begin:end])


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


def _depths(lines: Sequence[str], first: int, last: int) -> list[tuple[int, str]]:
    """Each line after the `first` ones that is not blank: how many lines it is within, and its tokens, without the `last`."""
    found = []
    open_indents: list[int] = []
    for number, line in enumerate(lines):
        if not line or line.isspace():
            continue
        depth = indent_of(line)
        while open_indents and open_indents[-1] >= depth:
            open_indents.pop()
        open_indents.append(depth)
        if number >= first:
            tokens = " ".join(_TOKENS.findall(line)) if number < len(lines) - last else ""
            found.append((len(open_indents), tokens))
    return found
