"""Names of repositories in rows and messages, without credentials and without the path of the user's home folder."""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path

from seedbed.config.environment import env
from seedbed.curation.repositories import git
from seedbed.curation.repositories.git import GitError, Repository
from seedbed.text import printable

_NAME_PART = re.compile(r"[A-Za-z0-9._~+-]+")
_SAYS_NOTHING = frozenset(
    ("checkout", "clone", "code", "git", "main", "master", "project", "repo", "repos", "repository", "source", "src")
)
"""Last parts of paths that many repositories have; the part before them belongs to the name."""
_MOST_PARTS = 3


class Names:
    """The names that repositories and folders have got so far, so that no two of them get the same."""

    def __init__(self) -> None:
        self._owners: dict[str, Hashable] = {}

    def add(self, names: tuple[str, ...], owner: Hashable, where: str = "") -> str:
        """The first of `names` that no other `owner` has; else the first one with `where`, or with a number.

        `owner`: what the name stands for; equal owners have the same name.
        """
        first = names[0]
        others = (f"{first} ({number})" for number in range(2, len(self._owners) + 3))
        for name in (*names, *([f"{first} ({where})"] if where else []), *others):
            if self._owners.setdefault(name, owner) == owner:
                return name
        raise AssertionError("There are more numbers than names.")


def name_of(repository: Repository) -> str:
    """A name without credentials and local paths: that of its remote `origin`, such as owner/name, else of its folder.

    Clones of one repository have the same name, so that their files and commits are known to be the same.
    """
    return names_of(repository)[0]


def names_of(repository: Repository) -> tuple[str, ...]:
    """The name of a repository, and longer ones, with folders that it is in, for where another repository has that name.

    A repository whose remote has an address has one name only.
    """
    url = _remote(repository)
    if (name := name_in_url(url)) is not None:
        return (name,)
    if url.startswith(("/", "file://")):  # a clone of a folder: that has the same files and commits
        found = names_of_path(re.sub(r"^file://[^/]*", "", url))
        if found:
            return found
    return names_of_path(str(git.common_dir(repository))) or ("repository",)  # of the main worktree


def _remote(repository: Repository) -> str:
    """The URL of its remote `origin`, with credentials if it has some; "" if there is none."""
    try:
        return git.run(repository, "config", "--local", "--get", "remote.origin.url").decode("utf-8", "replace").strip()
    except GitError:
        return ""


def names_of_path(path: str) -> tuple[str, ...]:
    """Names of the repository in a folder: its last part, unless that says nothing, then with parts before it.

    Folders of users are no part of a name. Without any part, there is no name.
    """
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if parts and parts[-1] == ".git":
        parts.pop()
    home = [part for part in (env("HOME") or "").split("/") if part]
    if home and parts[: len(home)] == home:
        parts = parts[len(home) :]
    elif parts[:1] in (["home"], ["Users"]):
        parts = parts[2:]
    if not parts:
        return ()
    parts[-1] = parts[-1].removesuffix(".git") or parts[-1]
    least = 2 if parts[-1].lower() in _SAYS_NOTHING else 1
    names = [printable("/".join(parts[-count:])) for count in range(least, least + _MOST_PARTS)]
    return tuple(dict.fromkeys(names))


def name_in_url(url: str) -> str | None:
    """The path of a URL, such as `owner/name`; None for a local path, a file URL, and anything odd.

    A path of one part that says nothing, such as `repo`, has the name of the host before it.
    """
    scp = re.fullmatch(r"(?:[^/@:]+@)?([^/@:]{2,}):(?!/)(.+)", url)
    found = scp or re.fullmatch(r"(?:https?|ssh|git)://(?:[^/@]*@)?([^/:]+)[^/]*/(.+)", url)
    if found is None:
        return None
    parts = re.sub(r"(/?\.git)?/*$", "", found[2]).split("/")
    if len(parts) == 1 and parts[0].lower() in _SAYS_NOTHING:
        parts = [found[1], *parts]
    usable = len(parts) <= 5 and all(_NAME_PART.fullmatch(part) and set(part) != {"."} for part in parts)
    return "/".join(parts) if usable else None


def owner_of(repository: Repository | None, path: Path) -> tuple[tuple[str, ...], Hashable]:
    """The names that a repository can have, or the folder `path` in none, and what tells it from others; see `Names.add`."""
    if repository is None:
        folder = path.resolve()
        return names_of_path(str(folder)) or ("folder",), folder
    remote = name_in_url(_remote(repository))
    return names_of(repository), remote or git.common_dir(repository)
