"""Chooses what is shown of a file before an edit: the whole file, or the definitions around the lines that the edit needs."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from seedbed.curation.repositories.patches import lines_of

_DEFINITION = re.compile(
    r"\b(?:def|class|function|func|fn|fun|struct|union|impl|trait|enum|interface|object|record|module|namespace|package|sub|proc"
    r"|describe|context|it|test|section)\b|\)\s*(?:const|noexcept|override|throws [\w, .]+|->.*|:.*)?\s*\{?\s*$"
)
_CONTROL = re.compile(
    r"[}\s]*(?:if|elif|else|for|foreach|while|until|unless|do|switch|case|when|match|select|try|catch|except|finally|rescue|with"
    r"|return|loop|begin|using|lock|synchronized|guard)\b"
)
_DIRECTIVE = re.compile(r"#\s*(?:if|ifdef|ifndef|else|elif|endif|define|undef|include|pragma)\b|\w+:\s*$")
_OPENING = re.compile(r"(?:[{(\[:|]|\bdo|\bthen|[-=]>)\s*$")
_CLOSING = re.compile(r"\s*(?:[})\]]|end\b)")
_WORD = re.compile(r"\w")
_MOST_LINES = 80
"""Lines of a definition that is shown whole."""
_NEAR = 15
"""Lines around a change within a longer definition."""
_LEAST = 5
"""Lines before and after each change that are shown in any case."""
_GAP = 3
"""Pieces that are no further apart become one."""


class Shown(msgspec.Struct, frozen=True):
    """A piece of a file: the lines from `start` to before `end`, from 0. `whole`: it is all of the file."""

    start: int
    end: int
    text: str
    whole: bool = False


def whole_file(text: str) -> Shown:
    """All of a file."""
    return Shown(0, text.count("\n") + 1, text, whole=True)


def excerpts(text: str, needed: Sequence[tuple[int, int]]) -> list[Shown]:
    """Pieces that have all the needed lines, given as (start, end), with the definitions around them.

    A definition is found by its indentation, which works alike for every language: it begins at the nearest line above that
    is indented less and looks like one, or at the margin, and ends before the next line that is indented no more.
    """
    lines = lines_of(text)
    spans: list[tuple[int, int]] = []
    for start, end in needed:
        spans += _around(lines, start, end)
    merged: list[list[int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1] + _GAP:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    if merged == [[0, len(lines)]]:
        return [whole_file(text)]
    # The newline of a piece's last line is part of it, as it is of a whole file.
    return [Shown(s, e, "\n".join(lines[s:e]) + ("\n" if e < len(lines) else "")) for s, e in merged]


def _around(lines: Sequence[str], start: int, end: int) -> list[tuple[int, int]]:
    """The definition around some lines, or its first line and what is near them."""
    first = min(_beginning(lines, start, end), max(start - _LEAST, 0))
    last = max(_ending(lines, first, end), min(end + _LEAST, len(lines)))
    if last - first <= max(_MOST_LINES, end - start):
        return [(first, last)]
    near = (max(start - _NEAR, 0), min(end + _NEAR, len(lines)))
    return [(first, min(first + 1, len(lines))), near] if first < near[0] else [near]


def _beginning(lines: Sequence[str], start: int, end: int) -> int:
    """The line where the definition around some lines begins."""
    inside = [line for line in lines[start:end] if line.strip()] or lines[start : start + 1] or [""]
    indent = min(map(indent_of, inside))
    if indent == 0 and any(indent_of(line) == 0 and _DEFINITION.search(line) for line in inside):
        return start
    deeper = " " * indent
    for at in range(start - 1, -1, -1):
        line = lines[at]
        if indent and line.startswith(deeper):  # most lines, and the fastest to tell
            continue
        depth = indent_of(line)
        if depth > indent or (depth == indent and indent > 0) or not _WORD.search(line):
            continue
        if indent == 0:  # lines at the margin: from the end of the definition before them
            return at if start - at <= _NEAR else start
        controls = _CONTROL.match(line) is not None
        if (depth == 0 and not _DIRECTIVE.match(line)) or (not controls and _DEFINITION.search(line)):
            return at
        # Others, such as `private` of Ruby, are indented less than their place says.
        if controls or _OPENING.search(line):
            indent = depth
            deeper = " " * indent
    return start


def _ending(lines: Sequence[str], first: int, end: int) -> int:
    """The line before which the definition that begins at `first` ends."""
    indent = indent_of(lines[first]) if first < len(lines) else 0
    deeper = " " * (indent + 1)
    for at in range(max(end, first + 1), len(lines)):
        line = lines[at]
        if line.startswith(deeper):
            continue
        if at - first > _MOST_LINES and at > end:  # too long to be shown whole
            return at
        if indent_of(line) <= indent and line.strip():
            if _CLOSING.match(line):
                return at + 1
            if _WORD.search(line):
                while at > end and not lines[at - 1].strip():
                    at -= 1
                return at
    return len(lines)


def indent_of(line: str) -> int:
    """The columns before a line's first letter; a tab goes to the next multiple of 8."""
    stripped = line.lstrip(" ")
    if stripped[:1] != "\t":
        return len(line) - len(stripped)
    expanded = line.expandtabs(8)
    return len(expanded) - len(expanded.lstrip())
