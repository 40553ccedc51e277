"""What people call a run: its name, its tags, whether it is out of sight. Knows nothing of what the run does."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any, NamedTuple

from seedbed.errors import SeedbedError, UsageError
from seedbed.files import Lock, make_dir, read_json, write_json
from seedbed.runs.store import RunDir, Store, checked_name
from seedbed.text import printable, shorten

TAG = re.compile(r"[a-z0-9][a-z0-9_.-]{0,31}")
MOST_TAGS = 16
_FORMAT = 1


class Labels(NamedTuple):
    """A run's name, its tags in alphabetical order, and whether it is archived."""

    name: str
    tags: tuple[str, ...] = ()
    archived: bool = False


def read_labels(run: RunDir) -> Labels:
    """The labels as far as they can be read: never raises, and falls back to the name that the run was made with."""
    try:
        value = read_json(run.labels)
    except SeedbedError:
        value = None
    if not isinstance(value, dict):
        return Labels(run.name())
    name, tags = value.get("name"), value.get("tags")
    words = [tag for tag in tags if isinstance(tag, str) and TAG.fullmatch(tag)] if isinstance(tags, list) else []
    return Labels(
        name if isinstance(name, str) and name else run.name(),
        tuple(sorted(set(words))[:MOST_TAGS]),
        value.get("archived") is True,
    )


def names(store: Store) -> Lock:
    """The names of a store are one resource: whoever chooses one holds this lock, as a context, until it is taken."""
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
                    f"Another run is called {printable(other.name())} already: {printable(other.id)}.",
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


def checked_tag(tag: str) -> str:
    """The tag in lower case, if it may be one. Raises UsageError."""
    if not TAG.fullmatch(tag.lower()):
        raise UsageError(
            f"{shorten(printable(repr(tag)), 60)} is not a tag.",
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
        after = Labels(name or now.name, tags, now.archived if archived is None else archived)
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
