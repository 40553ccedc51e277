"""Checks names, tags and notes of runs while a person types them, and says what was saved."""

from __future__ import annotations

from collections.abc import Collection

from seedbed.errors import SeedbedError
from seedbed.runs.labels import MOST_TAGS, checked_note, checked_tag
from seedbed.runs.store import checked_name


def name_problem(name: str, taken: Collection[str]) -> str:
    """Why a run cannot have the typed name; "" if it can. `taken`: names and ids of other runs, case-folded."""
    try:
        checked_name(name, "")
    except SeedbedError as error:
        return str(error)
    return f"Another run has the name {name}." if name.casefold() in taken else ""


def parsed_tags(typed: str) -> set[str]:
    """The tags in a typed text, separated by spaces or commas. Raises UsageError for a word that cannot be a tag."""
    return {checked_tag(word) for word in typed.replace(",", " ").split()}


def tags_problem(typed: str) -> str:
    """Why a typed text cannot be the tags of a run; "" if it can."""
    try:
        number = len(parsed_tags(typed))
    except SeedbedError as error:
        return str(error)
    return f"These are {number} tags, but a run can have at most {MOST_TAGS}." if number > MOST_TAGS else ""


def note_problem(typed: str) -> str:
    """Why a typed text cannot be the note of a run; "" if it can."""
    try:
        checked_note(typed)
    except SeedbedError as error:
        return str(error)
    return ""


def renamed(before: str, name: str) -> str:
    """The message to show once a run is renamed."""
    return f"{before} has been renamed to {name}."


def tagged(name: str, tags: Collection[str]) -> str:
    """The message to show once a run's tags are saved."""
    return f"{name} has the tags {' '.join(sorted(tags))}." if tags else f"{name} has no tags."


def noted(name: str, note: str) -> str:
    """The message to show once a run's note is saved."""
    return f"The note on {name} is saved." if note.strip() else f"The note on {name} is removed."


def archived(name: str, *, is_archived: bool) -> str:
    """The message to show once a run is archived or unarchived."""
    return f"{name} is archived: the list does not show it." if is_archived else f"{name} is in the list again."
