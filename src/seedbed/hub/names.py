"""Names of models on the Hugging Face Hub: `hub:NAME[@REVISION]`."""

from __future__ import annotations

import re
from typing import NamedTuple

from seedbed.errors import UsageError
from seedbed.text import printable, shorten

PREFIX = "hub:"
DEFAULT_REVISION = "main"
FORM = "hub:OWNER/NAME, or hub:OWNER/NAME@REVISION for a branch, a tag or a commit"

# The Hub's rules for names of repositories (huggingface_hub.utils.validate_repo_id).
_NAME = re.compile(r"[A-Za-z0-9_](?:[\w.-]*[A-Za-z0-9_])?(?:/[A-Za-z0-9_](?:[\w.-]*[A-Za-z0-9_])?)?", re.ASCII)
_LONGEST_NAME = 96
# Git's rules for names of references, as far as they protect the paths that are made of them.
_REVISION = re.compile(r"[A-Za-z0-9_](?:[\w./+-]*[A-Za-z0-9_+-])?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")


class HubName(NamedTuple):
    """A model on the Hub: the name of its repository, and a branch, tag or commit of it."""

    name: str
    revision: str = DEFAULT_REVISION

    def __str__(self) -> str:
        return f"{PREFIX}{self.name}" + ("" if self.revision == DEFAULT_REVISION else f"@{self.revision}")


def is_hub_reference(reference: str) -> bool:
    """Whether a reference to a model starts with `hub:`."""
    return reference.startswith(PREFIX)


def hub_name(reference: str) -> HubName:
    """The name and revision in `hub:NAME[@REVISION]`. Raises UsageError if one of them is invalid."""
    name, at, revision = reference.removeprefix(PREFIX).partition("@")
    shown = f'"{shorten(printable(reference), 120)}"'
    if not is_valid_name(name):
        raise UsageError(f"{shown} is not a valid name of a model on the Hub.", f"Write {FORM}.")
    if at and (not _REVISION.fullmatch(revision) or ".." in revision or "//" in revision):
        raise UsageError(f"{shown} has no valid revision after the @.", f"Write {FORM}.")
    return HubName(name, revision or DEFAULT_REVISION)


def is_valid_name(name: str) -> bool:
    """Whether the Hub allows this name for a repository."""
    forbidden = "--" in name or ".." in name or name.endswith(".git")
    return _NAME.fullmatch(name) is not None and len(name) <= _LONGEST_NAME and not forbidden


def is_commit(revision: str) -> bool:
    """Whether a revision is the full hash of a commit, which never changes."""
    return _COMMIT.fullmatch(revision) is not None
