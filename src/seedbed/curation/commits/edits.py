"""Edits of files as text, which apply to exactly the texts they were made for: search/replace blocks, or a diff.

An answer names each file and what is done to it:

    ### Edit src/app.py
    <<<<<<< SEARCH
    lines that are in the file once
    =======
    lines that take their place
    >>>>>>> REPLACE

A file has any number of such blocks, which apply one after the other. `### New file PATH` has one block without a search
part (`### New unterminated file PATH`: its last line has no newline); `### Delete PATH` has none; `### Rename OLD -> NEW` may
have blocks. The marks are longer than seven signs where a line of a file is itself such a mark. Blocks of this form are
those of Aider and of merge conflicts, without their fences.

Neither form has line numbers or hashes of objects, which no reader of the file could know.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Literal

import msgspec

from seedbed.curation.repositories.patches import Hunk, lines_of

Form = Literal["blocks", "diff"]
Action = Literal["edit", "new", "delete", "rename"]

CONTEXTS = (2, 8, 32)
"""Lines before and after each change that are tried in this order, until the edits apply."""
_HEADING = re.compile(r"### (Edit|New file|New unterminated file|Delete|Rename) (.+)")
_OPENING = re.compile(r"(<{7,}) SEARCH")
_LIKE_A_MARK = re.compile(r"(?m)^(<{7,}|={7,}|>{7,})(?: SEARCH| REPLACE)?\r?$")
_DIFF = "diff "
_HUNK = "@@ @@"
_NO_NEWLINE = "\\ No newline at end of file"


class EditError(ValueError):
    """An answer is no list of edits, or does not apply to the files."""


class Block(msgspec.Struct, frozen=True):
    """Lines that are in a text exactly once, and those that take their place."""

    lines: tuple[tuple[str, str], ...]
    """Each with its sign: " " for a line that stays, "-" for one that is removed, "+" for one that is added."""
    start: int = 0
    """The number, from 0, of the first of its lines in the text before."""

    @property
    def search(self) -> list[str]:
        """The lines before."""
        return [line for sign, line in self.lines if sign != "+"]

    @property
    def replace(self) -> list[str]:
        """The lines after."""
        return [line for sign, line in self.lines if sign != "-"]


class FileEdit(msgspec.Struct, frozen=True, kw_only=True):
    """What is done to one file. `path` is that after the edit, `old_path` that before it."""

    action: Action
    path: str
    old_path: str
    blocks: tuple[Block, ...] = ()
    newline: bool = True
    """Of a new file: whether its last line ends with a newline."""


def blocks_of(before: str, hunks: Sequence[Hunk], context: int) -> tuple[Block, ...]:
    """Blocks that make the hunks' changes: with `context` lines around each, and more where these are found elsewhere, too.

    Raises EditError if no block of up to 200 lines can be told from other places.
    """
    lines = lines_of(before)
    end_of_lines = len(lines) - (lines[-1] == "")  # no context at the empty line after the last newline
    haystack = f"\n{before}\n"
    spans: list[tuple[int, int, list[Hunk]]] = []
    for hunk in hunks:
        spans = _joined(spans, (*_widened(hunk.start, hunk.start + len(hunk.removed), context, end_of_lines), [hunk]))
    at = 0
    while at < len(spans):
        start, end, held = spans[at]
        if _is_once(haystack, lines[start:end]):
            at += 1
            continue
        wider = _widened(start, end, max(2, (end - start) // 2), end_of_lines)
        if wider == (start, end) or end - start > 200:
            raise EditError("The lines around a change are in the file more than once.")
        others, spans = spans, []
        for number, span in enumerate(others):
            spans = _joined(spans, (*wider, held) if number == at else span)
        at = 0 if len(spans) < len(others) else at
    return tuple(_block(lines, *span) for span in spans)


def _widened(start: int, end: int, by: int, most: int) -> tuple[int, int]:
    return max(start - by, 0), max(min(end + by, most), end)


def _joined(
    spans: list[tuple[int, int, list[Hunk]]], new: tuple[int, int, list[Hunk]]
) -> list[tuple[int, int, list[Hunk]]]:
    """The spans and a new last one; those that it touches become one with it."""
    start, end, hunks = new
    while spans and spans[-1][1] >= start:
        earlier = spans.pop()
        start, end, hunks = min(earlier[0], start), max(earlier[1], end), earlier[2] + hunks
    return [*spans, (start, end, hunks)]


def _is_once(haystack: str, lines: Sequence[str]) -> bool:
    if not lines:
        return haystack == "\n\n"  # only an empty file can be written without a search
    needle = "\n".join(["", *lines, ""])
    first = haystack.find(needle)
    return first >= 0 and haystack.find(needle, first + 1) < 0


def _block(lines: Sequence[str], start: int, end: int, hunks: Sequence[Hunk]) -> Block:
    made: list[tuple[str, str]] = []
    at = start
    for hunk in hunks:
        made += [(" ", line) for line in lines[at : hunk.start]]
        made += [("-", line) for line in hunk.removed]
        made += [("+", line) for line in hunk.added]
        at = hunk.start + len(hunk.removed)
    made += [(" ", line) for line in lines[at:end]]
    return Block(tuple(made), start)


def write_edits(edits: Sequence[FileEdit], form: Form) -> str:
    """The answer that says what is done to the files, without a newline at its end."""
    if form == "diff":
        return "\n".join(line for edit in edits for line in _diff_lines(edit))
    every = "\n".join(line for edit in edits for block in edit.blocks for _, line in block.lines)
    width = 7
    if any(mark in every for mark in ("<<<<<<<", "=======", ">>>>>>>")):
        taken = {len(found[1]) for found in _LIKE_A_MARK.finditer(every)}
        width = next(width for width in count(7) if width not in taken)
    return "\n".join(line for edit in edits for line in _block_lines(edit, width))


def _block_lines(edit: FileEdit, width: int) -> Iterator[str]:
    if edit.action == "rename":
        yield f"### Rename {edit.old_path} -> {edit.path}"
    else:
        new = "### New file " if edit.newline else "### New unterminated file "
        yield {"edit": "### Edit ", "new": new, "delete": "### Delete "}[edit.action] + edit.path
    for block in edit.blocks:
        yield "<" * width + " SEARCH"
        yield from block.search
        yield "=" * width
        yield from block.replace
        yield ">" * width + " REPLACE"


def _diff_lines(edit: FileEdit) -> Iterator[str]:
    yield f"{_DIFF}{edit.action} {edit.old_path}" + (f" -> {edit.path}" if edit.action == "rename" else "")
    if edit.blocks:
        yield "--- /dev/null" if edit.action == "new" else f"--- a/{edit.old_path}"
        yield f"+++ b/{edit.path}"
    for block in edit.blocks:
        yield _HUNK
        yield from (sign + line for sign, line in block.lines)
    if not edit.newline:
        yield _NO_NEWLINE


def read_edits(answer: str) -> list[FileEdit]:
    """The edits of an answer in either form. Raises EditError with the line at fault for anything else."""
    lines = answer.split("\n")
    return list(_read_diff(lines) if answer.startswith(_DIFF) else _read_blocks(lines))


def _read_blocks(lines: Sequence[str]) -> Iterator[FileEdit]:
    at = 0
    while at < len(lines):
        heading = _HEADING.fullmatch(lines[at])
        if heading is None:
            raise EditError(f"Line {at + 1} names no file.")
        at += 1
        blocks = []
        while at < len(lines) and (opening := _OPENING.fullmatch(lines[at])) is not None:
            width = len(opening[1])
            middle = _find(lines, "=" * width, at + 1)
            end = _find(lines, ">" * width + " REPLACE", middle + 1)
            blocks.append(
                Block(
                    (
                        *(("-", line) for line in lines[at + 1 : middle]),
                        *(("+", line) for line in lines[middle + 1 : end]),
                    )
                )
            )
            at = end + 1
        yield _named(heading[1], heading[2], tuple(blocks))


def _find(lines: Sequence[str], wanted: str, start: int) -> int:
    for number in range(start, len(lines)):
        if lines[number] == wanted:
            return number
    raise EditError(f"A block has no line {wanted}.")


def _named(what: str, path: str, blocks: tuple[Block, ...]) -> FileEdit:
    actions: dict[str, Action] = {"Edit": "edit", "Delete": "delete", "Rename": "rename"}
    action = actions.get(what, "new")
    old, _, new = path.partition(" -> ") if action == "rename" else (path, "", path)
    return FileEdit(action=action, path=new, old_path=old, blocks=blocks, newline="unterminated" not in what)


def _read_diff(lines: Sequence[str]) -> Iterator[FileEdit]:
    at = 0
    names = {"edit": "Edit", "new": "New file", "delete": "Delete", "rename": "Rename"}
    while at < len(lines):
        action, _, path = lines[at].removeprefix(_DIFF).partition(" ")
        if not lines[at].startswith(_DIFF) or action not in names:
            raise EditError(f"Line {at + 1} names no file.")
        at += 1
        if at < len(lines) and lines[at].startswith("--- "):
            at += 2
        blocks = []
        while at < len(lines) and lines[at] == _HUNK:
            start = at = at + 1
            while at < len(lines) and lines[at][:1] in (" ", "-", "+"):
                at += 1
            blocks.append(Block(tuple((line[0], line[1:]) for line in lines[start:at])))
        newline = not (at < len(lines) and lines[at] == _NO_NEWLINE)
        at += not newline
        yield _named(names[action] if newline else "New unterminated file", path, tuple(blocks))


def apply_edits(before: Mapping[str, str], answer: str) -> dict[str, str | None]:
    """The texts of the files that an answer changes, by their paths after it; None for those that are gone.

    `before`: the texts by path. Raises EditError if the answer does not apply to them exactly: a file is missing or already
    there, or the lines of a block are not in the file exactly once.
    """
    after: dict[str, str | None] = {}
    for edit in read_edits(answer):
        if edit.action == "new":
            if edit.path in before or len(edit.blocks) != 1 or edit.blocks[0].search:
                raise EditError(f"{edit.path} is there already, or its edit has no content of a new file.")
            after[edit.path] = _content(edit)
            continue
        if edit.old_path not in before:
            raise EditError(f"There is no file {edit.old_path}.")
        if edit.action == "rename":
            after[edit.old_path] = None
        after[edit.path] = None if edit.action == "delete" else _replaced(before[edit.old_path], edit.blocks)
    return after


def _content(edit: FileEdit) -> str:
    lines = edit.blocks[0].replace
    return "\n".join(lines) + ("\n" if lines and edit.newline else "")


def _replaced(text: str, blocks: Sequence[Block]) -> str:
    haystack = f"\n{text}\n"
    for block in blocks:
        search, replace = block.search, block.replace
        if not search:
            if haystack != "\n\n":
                raise EditError("A block without lines to search for is for an empty file.")
            haystack = "\n".join(["", *replace, "", ""])
            continue
        needle = "\n".join(["", *search, ""])
        at = haystack.find(needle)
        if at < 0 or haystack.find(needle, at + 1) >= 0:
            raise EditError("The lines of a block are not in the file exactly once.")
        haystack = haystack[:at] + "\n".join(["", *replace, ""]) + haystack[at + len(needle) :]
    return haystack[1:-1]


def edit_of(
    path: str, old_path: str, before: str | None, after: str | None, hunks: Sequence[Hunk], context: int = CONTEXTS[0]
) -> FileEdit:
    """The edit that makes `after` of `before`; None is a file that does not exist. `context`: lines around each change.

    Raises EditError if there is none, such as for lines that the file has everywhere. It is to be proved by `apply_edits`:
    what a block adds can be what the next one searches for.
    """
    if after is None:
        return FileEdit(action="delete", path=path, old_path=old_path)
    if before is None:
        lines = after.removesuffix("\n").split("\n") if after else []
        blocks: tuple[Block, ...] = (Block(tuple(("+", line) for line in lines)),)
        terminated = not after or after.endswith("\n")
        return FileEdit(action="new", path=path, old_path=path, blocks=blocks, newline=terminated)
    action: Action = "edit" if path == old_path else "rename"
    blocks = blocks_of(before, hunks, context) if hunks else ()
    return FileEdit(action=action, path=path, old_path=old_path, blocks=blocks)
