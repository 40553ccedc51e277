"""Names, tags, notes and the archive of runs, and their end."""

from __future__ import annotations

from collections.abc import Collection

from seedbed.runs import labels, retention
from seedbed.runs.store import RunDir


def rename(run: RunDir, name: str) -> labels.Labels:
    """Give the run another name. Raises UsageError for one that runs may not bear, or that another run bears."""
    return labels.rename(run, name)


def change_tags(run: RunDir, add: Collection[str] = (), remove: Collection[str] = ()) -> labels.Labels:
    """Add tags and take tags away. Raises UsageError for words that are no tags."""
    return labels.change_tags(run, add, remove)


def set_note(run: RunDir, note: str) -> labels.Labels:
    """Replace the run's note; an empty one takes it away. Raises UsageError for one that is too long."""
    return labels.set_note(run, note)


def set_archived(run: RunDir, archived: bool) -> labels.Labels:
    """Put the run out of sight, or back."""
    return labels.set_archived(run, archived)


def delete(run: RunDir) -> int:
    """Remove the run and all that it saved; the bytes that were freed. Raises SeedbedError while a process has it."""
    return retention.delete(run)
