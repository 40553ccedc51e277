"""What people say of a run: its name, its tags, a note, whether it is archived. Knows nothing of what the run does."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any, NamedTuple

from seedbed.errors import SeedbedError, UsageError
from seedbed.files import Lock, make_dir, read_json, write_json
from seedbed.runs.store import RunDir, Store, checked_name, quoted
from seedbed.text import printable

TAG = re.compile(r"[a-z0-9][a-z0-9_.-]{0,31}")
MOST_TAGS = 16
LONGEST_NOTE = 2000
"""Characters of a note."""
_FORMAT = 1


class Labels(NamedTuple):
    """A run's name, its tags in alphabetical order, whether it is archived, and its note (empty where there is none)."""

    name: str
    tags: tuple[str, ...] = ()
    archived: bool = False
    note: str = ""


def read_labels(run: RunDir) -> Labels:
    """The labels as far as they can be read: never raises, and falls back to the name that the run was made with."""
    try:
        value = read_json(run.labels)
    except SeedbedError:
        value = None
    if not isinstance(value, dict):
        return Labels(run.first_name())
    name, tags, note = value.get("name"), value.get("tags"), value.get("note")
    words = [tag for tag in tags if isinstance(tag, str) and TAG.fullmatch(tag)] if isinstance(tags, list) else []
    return Labels(
        name if isinstance(name, str) and name else run.first_name(),
        tuple(sorted(set(words))[:MOST_TAGS]),
        value.get("archived") is True,
        note[:LONGEST_NOTE] if isinstance(note, str) else "",
    )


def names(store: Store) -> Lock:
    """The names of a store are one resource: whoever chooses one holds this lock, as a context, until it is taken."""
    store.refuse_file()
    return Lock(make_dir(store.root) / ".names.lock")


def rename(run: RunDir, name: str) -> Labels:
    """Give the run another name; its id stays. Raises UsageError for a name that runs may not bear or that one bears."""
    checked_name(name, "")
    store = Store(run.path.parent)
    others = [other for other in store.all() if other.path != run.path]
    with names(store) if others else nullcontext():
        for other in others:
            if name.casefold() in (other.name().casefold(), other.id.casefold()):
                raise UsageError(
                    f"Another run is called {quoted(other.name())} already: {printable(other.id)}.",
                    "Choose another name, or rename that one first.",
                )
        return _change(run, name=name)


def change_tags(run: RunDir, add: Iterable[str] = (), remove: Iterable[str] = ()) -> Labels:
    """Add tags and take tags away; one that is there already, or not there, is no error. Raises UsageError."""
    added = [checked_tag(tag) for tag in add]
    gone = {tag.casefold() for tag in remove}
    return _change(run, added=added, gone=gone)


def set_archived(run: RunDir, archived: bool) -> Labels:
    """Put the run out of sight, or back."""
    return _change(run, archived=archived)


def set_note(run: RunDir, note: str) -> Labels:
    """Replace the run's note; an empty one takes it away. Raises UsageError for one that is too long or not UTF-8."""
    return _change(run, note=checked_note(note))


def checked_note(note: str) -> str:
    """The note without blanks around it, if it may be one. Raises UsageError."""
    stripped = note.strip()
    if len(stripped) > LONGEST_NOTE:
        raise UsageError(
            f"The note has {len(stripped):,} characters; {LONGEST_NOTE:,} is the most.",
            "Shorten it, or keep it in a file.",
        )
    try:
        stripped.encode()
    except UnicodeEncodeError:
        raise UsageError("The note is not valid UTF-8 text.", "Type it again.") from None
    return stripped


def checked_tag(tag: str) -> str:
    """The tag in lower case, if it may be one. Raises UsageError."""
    if not TAG.fullmatch(tag.lower()):
        raise UsageError(
            f"{quoted(tag)} is not a tag.",
            "A tag is one word: a letter or digit, then letters, digits, '_', '.' or '-'; up to 32 characters.",
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
    """Read, change and replace labels.json under its lock, so that two windows do not lose each other's change."""
    with Lock(run.path / ".labels.lock"):
        kept = _kept(run)
        now = read_labels(run)
        tags = tuple(sorted({*now.tags, *added} - {*gone}))
        if len(tags) > MOST_TAGS:
            raise UsageError(
                f"{printable(run.id)} would have {len(tags)} tags; {MOST_TAGS} is the most.", "Take some away first."
            )
        after = Labels(
            name or now.name,
            tags,
            now.archived if archived is None else archived,
            now.note if note is None else note,
        )
        value = {**kept, "format": _FORMAT, **after._asdict(), "tags": list(tags)}
        if value != kept:
            write_json(run.labels, value)
        return after


def _kept(run: RunDir) -> dict[str, Any]:
    """What stands in labels.json, for the fields that this version does not know. A broken file holds nothing."""
    try:
        value = read_json(run.labels)
    except SeedbedError:
        return {}
    if not isinstance(value, dict):
        return {}
    version = value.get("format", _FORMAT)
    if isinstance(version, int) and version > _FORMAT:
        raise SeedbedError(
            f"{run.labels} was written by a newer version (format {version}, this one knows {_FORMAT}).",
            "Update seedbed to change this run's labels.",
        )
    return value
