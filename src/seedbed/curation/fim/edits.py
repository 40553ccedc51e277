"""Middles from the edits of commits: the lines that a commit added to a file, in the file as it is after the commit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from seedbed.curation.commits.formatting import only_changes_versions, same_letters
from seedbed.curation.fim.draws import Draws
from seedbed.curation.fim.spans import Span
from seedbed.curation.repositories.patches import Patch

_MOST_BETWEEN = 2
"""Hunks with at most so many lines between them, none of which has a letter or digit, are one edit."""


class Edit(NamedTuple):
    """Lines `first` to before `last` of a text after a commit, from 0, which took the place of `removed` ones."""

    first: int
    last: int
    removed: tuple[str, ...]
    added: tuple[str, ...]
    """Those among the lines that are new."""


def edits_of(patch: Patch) -> list[Edit]:
    """The edits of a file, from top to bottom; one that only removes lines has none.

    Git divides a change at blank lines and brackets that stay, so that hunks with only such lines between them are joined.
    """
    lines = (patch.after or "").split("\n")
    found: list[Edit] = []
    shift = 0
    for hunk in patch.hunks:
        first = hunk.start + shift
        shift += len(hunk.added) - len(hunk.removed)
        edit = Edit(first, first + len(hunk.added), hunk.removed, hunk.added)
        if found and _belong_together(found[-1], edit, lines):
            before = found.pop()
            edit = Edit(before.first, edit.last, before.removed + edit.removed, before.added + edit.added)
        found.append(edit)
    return found


def _belong_together(one: Edit, other: Edit, lines: Sequence[str]) -> bool:
    between = lines[one.last : other.first]
    return bool(one.added and other.added) and len(between) <= _MOST_BETWEEN and not _has_words(between)


def _has_words(lines: Sequence[str]) -> bool:
    return any(character.isalnum() for line in lines for character in line)


def useless(edit: Edit) -> str | None:
    """Why an edit gives no middle: it removes, formats or changes versions only, or adds no word; None if it gives one."""
    if not edit.added:
        return "edit that only removes lines"
    if not _has_words(edit.added):
        return "edit that adds only blank lines or brackets"
    if same_letters(edit.removed, edit.added):
        return "edit that only formats"
    if only_changes_versions("\n".join(edit.removed), "\n".join(edit.added)):
        return "edit that only changes versions"
    return None


def span_of(text: str, edit: Edit, draws: Draws) -> Span:
    """The middle of an edit that is not `useless`, in the text after it.

    It has no blank lines at its ends, and no line end at its end. It begins at the indentation of its first line or at its
    begin, half and half, but after a byte order mark.
    """
    lines = text.split("\n")
    first, last = edit.first, edit.last
    while not lines[first].strip("\ufeff \t\r\f\v"):
        first += 1
    while not lines[last - 1].strip():
        last -= 1
    line, begin = lines[first], _start(lines, first)
    end = begin + _start(lines[first:last], last - first) - 1 - lines[last - 1].endswith("\r")
    if draws.uniform() < 0.5:
        begin += len(line) - len(line.lstrip(" \t\ufeff"))
    elif line.startswith("\ufeff"):
        begin += 1
    return Span("edit", begin, end)


def _start(lines: Sequence[str], number: int) -> int:
    """Where a line begins in the text of these lines, each of which has a newline."""
    return sum(map(len, lines[:number])) + number
