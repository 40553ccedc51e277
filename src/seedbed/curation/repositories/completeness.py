"""Tells when a clone has only a part of the history or of the files, and with which command the rest is downloaded."""

from __future__ import annotations

import shlex
from typing import Literal, NamedTuple

from seedbed.curation.repositories import git
from seedbed.curation.repositories.git import Repository
from seedbed.curation.repositories.names import name_of
from seedbed.text import printable


class Missing(NamedTuple):
    """What a clone lacks, as a sentence, and how to get it."""

    kind: Literal["shallow", "partial"]
    text: str
    hint: str


def missing_of(repository: Repository) -> Missing | None:
    """What a shallow or partial clone lacks; None if it has all, as far as its config says."""
    command = f"git -C {shlex.quote(printable(str(repository.place)))} fetch"
    name = name_of(repository)
    if git.is_shallow(repository):
        return Missing(
            "shallow",
            f"{name} is a shallow clone (--depth): its history is cut, and older commits are not here.",
            f"Get the whole history first: `{command} --unshallow`.",
        )
    if git.is_partial(repository):
        return Missing(
            "partial",
            f"{name} is a partial clone (--filter): commits whose files were not downloaded are left out.",
            f"Get all files first: `{command} --refetch --no-filter`.",
        )
    return None
