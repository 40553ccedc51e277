"""Reads and changes the labels of a run: its name, tags, note, and whether it is archived."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any, NamedTuple

from seedbed.errors import SeedbedError, UsageError
from seedbed.files import make_dir, read_json, write_json
from seedbed.locks import Lock
from seedbed.runs.store import RunDir, Store, checked_name, quoted
from seedbed.runs.tasks import FOLDER as TASK_FOLDER
from seedbed.text import printable

TAG = re.compile(r"[a-z0-9][a-z0-9_.-]{0,31}")
MOST_TAGS = 16
LONGEST_NOTE = 2000
"""The maximum number of characters of a note."""
_FORMAT = 1


class Labels(NamedTuple):
    """A run's name, its tags in alphabetical order, whether it is archived, and its note (empty where there is none)."""

    name: str
    tags: tuple[str, ...] = ()
    archived: bool = False
    note: str = ""


def read_labels(run: RunDir) -> Labels:
    """Read the labels of a run. Never raises: if they cannot be read, the labels are only the name from its creation."""
    try:
        value = read_json(run.labels)
    except SeedbedError:
        value = None
    if not isinstance(value, dict):
        return Labels(run.first_name())
    name, tags, note = value.get("name"), value.get("tags"), value.get("note")
    valid = [tag for tag in tags if isinstance(tag, str) and TAG.fullmatch(tag)] if isinstance(tags, list) else []
    return Labels(
        name if isinstance(name, str) and name else run.first_name(),
        tuple(sorted(set(valid))[:MOST_TAGS]),
        value.get("archived") is True,
        note[:LONGEST_NOTE] if isinstance(note, str) else "",
    )


def names(store: Store) -> Lock:
    """The lock for the names of runs in a store. Hold it (as a context manager) from choosing a name until it is stored."""
    store.refuse_file()
    return Lock(make_dir(store.root) / ".names.lock")


def rename(run: RunDir, name: str, store: Store | None = None) -> Labels:
    """Rename a run or task; its id stays. Raises UsageError if the name is invalid or taken.

    The name must be free in the store of the run; for a task, whose directory lies elsewhere, in `store`.
    """
    checked_name(name, "")
    if store is None or run.path.parent.name != TASK_FOLDER:
        store = Store(run.path.parent)
    path = run.path.resolve()
    others = [other for other in (*store.all(), *store.tasks()) if other.path.resolve() != path]
    with names(store) if others else nullcontext():
        for other in others:
            if name.casefold() in (other.name().casefold(), other.id.casefold()):
                raise UsageError(
                    f"Another run is already called {quoted(other.name())}: {printable(other.id)}.",
                    "Choose another name, or rename that run first.",
                )
        return _change(run, name=name)


def change_tags(run: RunDir, add: Iterable[str] = (), remove: Iterable[str] = ()) -> Labels:
    """Add tags to a run and remove others. Adding an existing tag or removing a missing one does nothing.

    Raises UsageError for an invalid tag, or if there are too many.
    """
    added = [checked_tag(tag) for tag in add]
    gone = {tag.casefold() for tag in remove}
    return _change(run, added=added, gone=gone)


def set_archived(run: RunDir, archived: bool) -> Labels:
    """Archive the run if `archived`, else unarchive it."""
    return _change(run, archived=archived)


def set_note(run: RunDir, note: str) -> Labels:
    """Replace the run's note; an empty one removes it. Raises UsageError if it is too long or not UTF-8."""
    return _change(run, note=checked_note(note))


def checked_note(note: str) -> str:
    """Check a note and return it without surrounding whitespace. Raises UsageError if it is too long or not UTF-8."""
    stripped = note.strip()
    if len(stripped) > LONGEST_NOTE:
        raise UsageError(
            f"The note has {len(stripped):,} characters; at most {LONGEST_NOTE:,} are allowed.",
            "Shorten it, or keep it in a file.",
        )
    try:
        stripped.encode()
    except UnicodeEncodeError:
        raise UsageError("The note is not valid UTF-8 text.", "Type it again.") from None
    return stripped


def checked_tag(tag: str) -> str:
    """Check a tag and return it in lower case. Raises UsageError if it is not valid."""
    if not TAG.fullmatch(tag.lower()):
        raise UsageError(
            f"{quoted(tag)} is not a valid tag.",
            "A tag starts with a letter or digit and has letters, digits, '_', '.' or '-' (at most 32 characters).",
        )
    return tag.lower()


def _change(
    run: RunDir,
    *,
    name: str | None = None,
    added: Iterable[str] = (),
    gone: Iterable[str] = (),
    archived: bool | None = None,
    note: str | None = None,
) -> Labels:
    """Read, change and replace labels.json under its lock, so that no concurrent change is lost."""
    with Lock(run.path / ".labels.lock"):
        kept = _kept(run)
        before = read_labels(run)
        tags = tuple(sorted({*before.tags, *added} - {*gone}))
        if len(tags) > MOST_TAGS:
            raise UsageError(
                f"{printable(run.id)} would have {len(tags)} tags; at most {MOST_TAGS} are allowed.",
                "Remove some tags first.",
            )
        after = Labels(
            name or before.name,
            tags,
            before.archived if archived is None else archived,
            before.note if note is None else note,
        )
        value = {**kept, "format": _FORMAT, **after._asdict(), "tags": list(tags)}
        if value != kept:
            write_json(run.labels, value)
        return after


def _kept(run: RunDir) -> dict[str, Any]:
    """Read labels.json, to preserve fields that this version does not know; {} if the file is broken."""
    try:
        value = read_json(run.labels)
    except SeedbedError:
        return {}
    if not isinstance(value, dict):
        return {}
    version = value.get("format", _FORMAT)
    if isinstance(version, int) and version > _FORMAT:
        raise SeedbedError(
            f"{run.labels} was written by a newer version of Seedbed (format {version}; this version reads up to "
            f"{_FORMAT}).",
            "To change this run's labels, update Seedbed first.",
        )
    return value
