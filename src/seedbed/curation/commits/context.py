"""Chooses what is shown of a file before an edit: the whole file, or the definitions around the lines that the edit needs."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

_DEFINITION = re.compile(
    r"\b(?:def|class|function|func|fn|fun|struct|union|impl|trait|enum|interface|object|record|module|namespace|package|sub|proc"
    r"|describe|context|it|test|section)\b|\)\s*(?:const|noexcept|override|throws [\w, .]+|->.*|:.*)?\s*\{?\s*$"
)
_CONTROL = re.compile(
    r"[}\s]*(?:if|elif|else|for|foreach|while|until|unless|do|switch|case|when|match|select|try|catch|except|finally|rescue|with"
    r"|return|loop|begin|using|lock|synchronized|guard)\b"
)
_MOST_LINES = 80
"""Lines of a definition that is shown whole."""
_NEAR = 15
"""Lines around a change within a longer definition."""
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
    lines = text.split("\n")
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
    first = _beginning(lines, start, end)
    last = _ending(lines, first, end)
    if last - first <= max(_MOST_LINES, end - start):
        return [(first, last)]
    near = (max(start - _NEAR, 0), min(end + _NEAR, len(lines)))
    return [(first, min(first + 1, len(lines))), near] if first < near[0] else [near]


def _beginning(lines: Sequence[str], start: int, end: int) -> int:
    """The line where the definition around some lines begins."""
    inside = [line for line in lines[start:end] if line.strip()] or lines[start : start + 1] or [""]
    indent = min(map(_indent, inside))
    if indent == 0 and any(_indent(line) == 0 and _DEFINITION.search(line) for line in inside):
        return start
    for at in range(start - 1, -1, -1):
        line = lines[at]
        if not re.search(r"\w", line) or _indent(line) > indent or (indent > 0 and _indent(line) == indent):
            continue
        if indent == 0:  # lines at the margin: from the end of the definition before them
            return at if start - at <= _NEAR else start
        indent = _indent(line)
        if indent == 0 or (_DEFINITION.search(line) and not _CONTROL.match(line)):
            return at
    return start


def _ending(lines: Sequence[str], first: int, end: int) -> int:
    """The line before which the definition that begins at `first` ends."""
    indent = _indent(lines[first]) if first < len(lines) else 0
    for at in range(max(end, first + 1), len(lines)):
        line = lines[at]
        if line.strip() and _indent(line) <= indent:
            if re.match(r"\s*(?:[})\]]|end\b)", line):
                return at + 1
            if re.search(r"\w", line):
                while at > end and not lines[at - 1].strip():
                    at -= 1
                return at
    return len(lines)


def _indent(line: str) -> int:
    expanded = line.expandtabs(8)
    return len(expanded) - len(expanded.lstrip())
