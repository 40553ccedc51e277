"""Makes a chat record of a commit: its message and the files before it are the request, its edits are the answer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache

import msgspec

from seedbed.curation.commits.context import Shown, excerpts, whole_file
from seedbed.curation.commits.edits import CONTEXTS, EditError, FileEdit, Form, apply_edits, edit_of, write_edits
from seedbed.curation.commits.formatting import only_changes_versions, only_formats, same_letters
from seedbed.curation.commits.messages import Intent
from seedbed.curation.drops import Drops
from seedbed.curation.record import Licence, Message, Provenance, Record, content_id
from seedbed.curation.repositories.filters import is_generated, path_reason
from seedbed.curation.repositories.history import Commit
from seedbed.curation.repositories.languages import Language, language_of_path
from seedbed.curation.repositories.licences import UNKNOWN
from seedbed.curation.repositories.patches import Change, Patch

STEP = "commits"
"""The name under which commits that are left out are counted."""
SYSTEM = {
    "blocks": "You edit code. Answer with the edits that make the change: `### Edit`, `### New file`, `### Delete` or"
    " `### Rename` with a path, and SEARCH/REPLACE blocks whose SEARCH lines are in the file once.",
    "diff": "You edit code. Answer with a diff without line numbers: `diff edit`, `diff new`, `diff delete` or"
    " `diff rename` with a path, and hunks whose lines are in the file once.",
}
_ODD_PATH = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff`]| -> |^\s|\s$")
_FENCE = re.compile(r"(?m)^\s*(`{3,})")
_FENCE_NAMES = {"c++": "cpp", "c#": "csharp", "shell": "bash", "restructuredtext": "rst", "f#": "fsharp"}
_UNSUITABLE = frozenset(("link or submodule", "binary or large file"))
_ELSEWHERE = "file outside the folder"
_NAMED_DATA = frozenset(("CSV", "Jupyter Notebook"))


class ExampleOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a commit becomes an example. Sizes are in characters, of which 3 to 4 make a token of code."""

    form: Form = "blocks"
    """Of the answer: search/replace blocks, or a diff without line numbers."""
    system: bool = True
    """Whether a short system message names the form of the answer."""
    max_files: int = 10
    """Of a commit; one that changes more is left out."""
    max_lines: int = 400
    """Removed and added, of a commit."""
    context_characters: int = 16_000
    """Of the files before the commit: of the largest, only the definitions around the changes are shown, until all fit.

    It counts at most as half of `max_characters`.
    """
    max_characters: int = 32_000
    """Of the whole example."""


class LeftOutError(Exception):
    """A commit gives no example; the message is the reason to count."""


def judge(
    commit: Commit, intent: Intent, options: ExampleOptions, cut: frozenset[str], drops: Drops, below: str = ""
) -> None:
    """Raise LeftOutError if a commit's message, parents or list of files say that it gives no example.

    `cut`: commits of a shallow clone whose parent is missing, so that all files seem new. `below`: see `file_reason`.
    """
    if len(commit.parents) > 1:
        raise LeftOutError("merge")
    if commit.hash in cut:
        raise LeftOutError("first commit of a shallow clone")
    if intent.problem is not None:
        raise LeftOutError(intent.problem)
    if commit.changes is None or len(intent.text) > options.max_characters // 4:
        raise LeftOutError("message or list of files too long")
    if not commit.changes:
        raise LeftOutError("no file changed")
    reasons = [file_reason(change, below) for change in commit.changes]
    kept = Counter(change.status for change, reason in zip(commit.changes, reasons, strict=True) if reason is None)
    if not kept:
        raise LeftOutError(_only(reasons))
    # A renamed file is listed as one deleted and one added.
    if kept["M"] + kept["T"] + max(kept["A"], kept["D"]) > options.max_files:
        raise LeftOutError(f"more than {options.max_files} files")
    drops.note(STEP, f"kind: {intent.kind}")


def file_reason(change: Change, below: str = "") -> str | None:
    """Why a file is no part of an example, as its path and mode say; None if it is one.

    `below`: a folder of the repository, with a slash at its end; files elsewhere are no part of an example.
    """
    if below and not (change.path.startswith(below) and change.old_path.startswith(below)):
        return _ELSEWHERE
    if {change.old_mode, change.mode} & {"120000", "160000"}:
        return "link or submodule"
    return _path_reason(change.path)


@lru_cache(maxsize=10_000)
def _path_reason(path: str) -> str | None:
    reason = path_reason(path)
    if reason is None and (language := language_of(path)) is not None and language.name in _NAMED_DATA:
        return "data file"
    return "vendored file" if reason == "vendored or built folder" else reason


@lru_cache(maxsize=10_000)
def language_of(path: str) -> Language | None:
    """The language that a path says; a history has the same paths many times."""
    return language_of_path(path)


def example(
    commit: Commit,
    intent: Intent,
    patches: Sequence[Patch],
    options: ExampleOptions,
    repository: str,
    drops: Drops,
    licence: Callable[[str], Licence | None] | None = None,
    below: str = "",
) -> Record:
    """The record of a commit. Raises LeftOutError with the reason if there is none.

    Its edits are proved: applied to the files before, and using only lines that are shown, they give the files after.
    `licence`: the licence of a path in the repository.
    """
    reasons = [_left_out(patch, drops, below) for patch in patches]
    kept = [patch for patch, reason in zip(patches, reasons, strict=True) if reason is None]
    if not kept:
        raise LeftOutError(_only(reasons))
    changed = [
        patch for patch in kept if patch.hunks or (patch.change.status in "AD" and (patch.before or patch.after))
    ]
    if not changed:
        raise LeftOutError("files only moved" if any(p.change.status == "R" for p in kept) else "only modes changed")
    _judge_texts(changed, options)
    edits, answer = _proved_edits(kept, options.form)
    shown = _shown(kept, edits, min(options.context_characters, options.max_characters // 2))
    request = "\n\n".join([intent.text, *(_file_text(patch, pieces) for patch, pieces in shown)])
    if len(request) + len(answer) > options.max_characters:
        raise LeftOutError(f"more than {options.max_characters:,} characters")
    _check_shown(edits, shown)
    messages = [Message(role="user", content=request), Message(role="assistant", content=answer)]
    if options.system:
        messages.insert(0, Message(role="system", content=SYSTEM[options.form]))
    path = kept[0].change.path if len(kept) == 1 else None
    paths = sorted({path for patch in kept for path in (patch.change.path, patch.change.old_path)})
    record = Record(
        kind="chat",
        messages=messages,
        language=_language(changed),
        provenance=Provenance(
            source="git",
            repository=repository,
            path=path,
            commit=commit.hash,
            parent=commit.parents[0] if commit.parents else None,
            time=commit.time,
        ),
        licence=_licence_of_all(paths, licence) if licence is not None else None,
        links=[f"commit:{commit.hash}", *(f"path:{repository}/{path}" for path in paths)],
    )
    record.id = content_id(record)
    return record


def _licence_of_all(paths: Sequence[str], licence: Callable[[str], Licence | None]) -> Licence | None:
    """The licence of an example that shows several files: all of theirs, `unknown` for files without one."""
    found = list(dict.fromkeys(licence(path) for path in paths))
    if len(found) == 1:
        return found[0]
    names = sorted({each.spdx if each is not None else UNKNOWN for each in found})
    joined = " AND ".join(f"({name})" if " " in name else name for name in names)
    places = sorted({each.found_in for each in found if each is not None and each.found_in})
    return Licence(spdx=joined, found_in=", ".join(places))


def _only(reasons: Sequence[str | None]) -> str:
    """The reason of a commit all of whose files are left out."""
    most = Counter(filter(None, reasons)).most_common(1)[0][0]
    plural = {
        _ELSEWHERE: "files outside the folder",
        "link or submodule": "links or submodules",
        "binary or large file": "binary or large files",
    }
    return f"only {plural.get(most, f'{most}s')} changed"


def _left_out(patch: Patch, drops: Drops, below: str) -> str | None:
    """Why a file is left out of its commit's example, if it is. Raises LeftOutError if the commit makes no sense without it."""
    change = patch.change
    if (reason := file_reason(change, below)) == _ELSEWHERE:
        return reason
    if _ODD_PATH.search(change.path) or _ODD_PATH.search(change.old_path):
        raise LeftOutError("path with unusual characters")
    reason = reason or (patch.problem if patch.problem in _UNSUITABLE else None)
    if reason is None and patch.problem is not None:
        raise LeftOutError(f"file: {patch.problem}")
    if reason is None and any(text is not None and is_generated(text) for text in (patch.before, patch.after)):
        reason = "generated file"
    if reason is not None:
        drops.note(STEP, f"file left out of its commit: {reason}")
    return reason


def _judge_texts(changed: Sequence[Patch], options: ExampleOptions) -> None:
    removed = [line for patch in changed for hunk in patch.hunks for line in hunk.removed]
    added = [line for patch in changed for hunk in patch.hunks for line in hunk.added]
    if len(removed) + len(added) > options.max_lines:
        raise LeftOutError(f"more than {options.max_lines} lines")
    if all(_only_formats(patch) for patch in changed):
        raise LeftOutError("only formatting")
    if all(patch.change.status == "M" for patch in changed) and only_changes_versions(
        "\n".join(removed), "\n".join(added)
    ):
        raise LeftOutError("version or dependency bump")
    if all(patch.change.status == "D" for patch in changed):
        raise LeftOutError("files only deleted")


def _only_formats(patch: Patch) -> bool:
    if patch.before is None or patch.after is None:
        return False
    # Comparing whole files is slow, so first the changed lines: they need the same letters.
    if not same_letters(
        (line for hunk in patch.hunks for line in hunk.removed), (line for hunk in patch.hunks for line in hunk.added)
    ):
        return False
    language = language_of(patch.change.path)
    return only_formats(patch.before, patch.after, language.name if language is not None else None)


def _proved_edits(kept: Sequence[Patch], form: Form) -> tuple[list[FileEdit], str]:
    """The edits of the files, and the answer that, applied to the files before, gives exactly those after."""
    before = {patch.change.old_path: patch.before or "" for patch in kept if patch.change.status != "A"}
    expected: dict[str, str | None] = {patch.change.old_path: None for patch in kept if patch.change.status == "R"}
    for patch in kept:
        if patch.change.status in "ADR" or patch.hunks:
            only_moved = patch.before is None and patch.after is None
            expected[patch.change.path] = "" if only_moved else patch.after
    for context in CONTEXTS:
        try:
            edits = [_edit(patch, context) for patch in kept if patch.hunks or patch.change.status in "ADR"]
            answer = write_edits(edits, form)
            if apply_edits(before, answer) == expected:
                return edits, answer
        except EditError:
            continue
    raise LeftOutError("no edit can be told from other places")


def _edit(patch: Patch, context: int) -> FileEdit:
    change = patch.change
    if patch.before is None and patch.after is None:  # renamed without a change
        return FileEdit(action="rename", path=change.path, old_path=change.old_path)
    return edit_of(change.path, change.old_path, patch.before, patch.after, patch.hunks, context)


def _shown(
    kept: Sequence[Patch], edits: Sequence[FileEdit], most_characters: int
) -> list[tuple[Patch, list[Shown] | None]]:
    """What is shown of each file that was there before: pieces, or None for only its name."""
    needed = {
        edit.old_path: [(block.start, block.start + len(block.search)) for block in edit.blocks] for edit in edits
    }
    shown: dict[str, list[Shown] | None] = {}
    total = 0
    for patch in kept:
        if patch.change.status == "A" or patch.change.old_path not in needed:
            continue
        shown[patch.change.old_path] = None if patch.before is None else [whole_file(patch.before)]
        total += len(patch.before or "")
    texts = {patch.change.old_path: patch.before or "" for patch in kept if patch.change.old_path in shown}
    for path in sorted(texts, key=lambda path: (-len(texts[path]), path)):
        if total <= most_characters:
            break
        pieces = excerpts(texts[path], needed[path]) if needed[path] else None
        shown[path] = pieces
        total -= len(texts[path]) - sum(len(piece.text) for piece in pieces or ())
    return [(patch, shown[patch.change.old_path]) for patch in kept if patch.change.old_path in shown]


def _file_text(patch: Patch, pieces: list[Shown] | None) -> str:
    path = patch.change.old_path
    if pieces is None:
        return f"`{path}` (not shown)"
    language = language_of(path)
    name = language.name.lower() if language is not None else ""
    name = _FENCE_NAMES.get(name, name.replace(" ", ""))
    before = patch.before or ""
    count = before.count("\n") + (not before.endswith("\n"))
    texts = []
    for piece in pieces:
        fence = "```"
        if fence in piece.text:
            fence = "`" * max((len(found[1]) + 1 for found in _FENCE.finditer(piece.text)), default=3)
        unterminated = bool(piece.text) and not piece.text.endswith("\n")
        first, last = piece.start + 1, min(piece.end, count)
        lines = f"line {first}" if first == last else f"lines {first} to {last}"
        facts = [] if piece.whole else [f"{lines} of {count}"]
        facts += ["no newline at its end"] if unterminated else []
        facts += ["empty"] if not before else []
        heading = f"`{path}`" + (f" ({', '.join(facts)})" if facts else "") + ":"
        texts.append(f"{heading}\n{fence}{name}\n{piece.text}" + ("\n" if unterminated else "") + fence)
    return "\n\n".join(texts)


def _check_shown(edits: Sequence[FileEdit], shown: Sequence[tuple[Patch, list[Shown] | None]]) -> None:
    """Raise LeftOutError unless all lines that an edit searches for are shown."""
    pieces = {patch.change.old_path: found or [] for patch, found in shown}
    for edit in edits:
        for block in edit.blocks if edit.action != "new" else ():
            start, end = block.start, block.start + len(block.search)
            if not any(piece.start <= start and end <= piece.end for piece in pieces[edit.old_path]):
                raise LeftOutError("edits need lines that are not shown")


def _language(changed: Sequence[Patch]) -> str | None:
    """The language of most changed lines; of code, if there is any."""
    counts: Counter[str] = Counter()
    code: Counter[str] = Counter()
    for patch in changed:
        language: Language | None = language_of(patch.change.path)
        if language is not None:
            lines = sum(len(hunk.removed) + len(hunk.added) for hunk in patch.hunks)
            counts[language.name] += lines
            if language.kind == "code":
                code[language.name] += lines
    found = (code or counts).most_common(1)
    return found[0][0] if found else None
