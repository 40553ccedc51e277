"""Renames, tags, annotates, archives and deletes runs."""

from __future__ import annotations

from collections.abc import Collection

from seedbed.runs import labels, retention
from seedbed.runs.store import RunDir, Store


def rename(run: RunDir, name: str, store: Store) -> labels.Labels:
    """Rename a run or task. Raises UsageError if the name is invalid or belongs to another run or task of the store."""
    return labels.rename(run, name, store)


def change_tags(run: RunDir, add: Collection[str] = (), remove: Collection[str] = ()) -> labels.Labels:
    """Add tags to a run and remove others. Raises UsageError for an invalid tag."""
    return labels.change_tags(run, add, remove)


def set_note(run: RunDir, note: str) -> labels.Labels:
    """Replace the run's note; an empty text removes it. Raises UsageError if it is too long."""
    return labels.set_note(run, note)


def set_archived(run: RunDir, archived: bool) -> labels.Labels:
    """Archive the run if `archived`, else unarchive it."""
    return labels.set_archived(run, archived)


def delete(run: RunDir) -> int:
    """Remove the run and everything it saved; returns the bytes freed. Raises SeedbedError while a process owns it."""
    return retention.delete(run)
