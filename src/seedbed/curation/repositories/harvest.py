"""Finds every repository below a folder, each once, and clones those that are given as URLs."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from seedbed import locks
from seedbed.config.spelling import any_of
from seedbed.curation.drops import Drops
from seedbed.curation.repositories import git
from seedbed.curation.repositories.git import GitError, Repository
from seedbed.curation.repositories.names import Names, name_of, names_of
from seedbed.errors import SeedbedError, UsageError
from seedbed.files import make_dir, publish_dir, remove_tree, temporary_dir
from seedbed.text import printable, quoted

STEP = "harvest"
"""The name under which what is passed over is counted."""
UNREADABLE = "unreadable repository"
"""The reason with which a repository is counted that git refuses, such as one with a damaged config."""
PROTOCOLS = ("https", "ssh", "git", "file")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_SCP = re.compile(r"(?:[\w.-]+@)?[\w.-]{2,}:(?![/\\]{2})[^\s:]+")
_PASSED_OVER = frozenset(("node_modules", ".venv", "venv", ".tox", ".nox", "__pycache__", "site-packages", ".cache"))
"""Folders of packages that are installed, which are large and hold no repositories of the user."""
_SETTLED_S = 24 * 3600.0


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A repository, and a name that no other one of the same harvest has."""

    repository: Repository
    name: str


def is_url(given: str) -> bool:
    """Whether a text is the URL of a repository, or `[user@]host:path` as ssh has it, rather than a folder."""
    return _URL.fullmatch(given) is not None or (_SCP.fullmatch(given) is not None and not Path(given).exists())


def find_repositories(folder: Path, drops: Drops, names: Names | None = None) -> list[Found]:
    """Every repository below a folder, in order of their paths: nested ones, submodules and bare ones, each once.

    The worktrees of one repository share their history, so that the first is taken. Symbolic links to folders are not
    followed, so that none leads out of the folder or in circles; links and folders that cannot be read are counted in
    `drops`. `names`: those of repositories that were found elsewhere. Raises UsageError if there is no such folder, or no
    repository in it.
    """
    if not folder.is_dir():
        raise UsageError(f"{quoted(printable(str(folder)))} is not a folder.", "Check the path.")
    found: list[Found] = []
    seen: dict[Path, str] = {}
    names = names or Names()
    for repository in _walk(folder.resolve(), folder.resolve(), drops):
        where = _relative(repository.place, folder.resolve())
        try:
            shared = git.common_dir(repository)
        except GitError as error:
            drops.drop(STEP, UNREADABLE, where, error.message)
            continue
        if shared in seen:
            drops.drop(STEP, "worktree of a repository that is read already", where, seen[shared])
            continue
        seen[shared] = where
        # Two folders may have the same name, and so have two clones of the same remote.
        known = names_of(repository)
        name = names.add(known, shared) if where == "." else names.add(known[:1], shared, where)
        found.append(Found(repository=repository, name=name))
    if not found:
        problem = next((each for each in drops.samples if each.reason == UNREADABLE), None)
        why = "" if problem is None else f" that can be read: {problem.text.removesuffix('.')}"
        raise UsageError(
            f"There is no git repository in {quoted(printable(str(folder)))}{why}.",
            "Give a folder with repositories, or a URL.",
        )
    return found


def _relative(path: Path, folder: Path) -> str:
    return printable(path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name)


def _walk(folder: Path, top: Path, drops: Drops) -> Iterator[Repository]:
    """The repositories at and below a folder; its own first, then those of its folders by name."""
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        repository = git.repository_at(here)
        if repository is not None and here.name != ".git":
            yield repository
            if repository.top is None:  # a bare one holds objects only
                continue
        elif os.path.lexists(here / ".git"):
            drops.drop(STEP, UNREADABLE, _relative(here, top), "its .git is damaged, or may not be read")
        try:
            with os.scandir(here) as entries:
                folders = sorted((each for each in entries if _is_folder(each, top, drops)), key=lambda e: e.name)
        except OSError as error:
            drops.drop(STEP, "unreadable folder", _relative(here, top), error.strerror or "")
            continue
        waiting += [Path(each.path) for each in reversed(folders)]


def _is_folder(entry: os.DirEntry[str], top: Path, drops: Drops) -> bool:
    if entry.is_symlink():
        if entry.is_dir():
            drops.drop(STEP, "symbolic link to a folder", _relative(Path(entry.path), top))
        return False
    return entry.is_dir() and entry.name != ".git" and entry.name not in _PASSED_OVER


def check_url(url: str) -> str:
    """The protocol of a URL. Raises UsageError if it is none of https, ssh, git and file."""
    shown = quoted(printable(git.without_credentials(url)))
    match = _URL.fullmatch(url)
    protocol = match[1] if match else "ssh" if _SCP.fullmatch(url) else ""
    if protocol not in PROTOCOLS or printable(url) != url or url.startswith("-"):
        raise UsageError(
            f"{shown} cannot be cloned.", f"Give a URL that begins with {any_of([f'{each}://' for each in PROTOCOLS])}."
        )
    rest = match[2] if match else url
    if rest.startswith("-") or "@-" in rest:
        raise UsageError(f"{shown} has a host that looks like an option.", "Check the URL.")
    return protocol


def clone_name(url: str) -> str:
    """The folder of a URL's clone: the last two parts of its path, and a hash, so that no two URLs share one."""
    plain = git.without_credentials(url).rstrip("/").removesuffix(".git")
    parts = [re.sub(r"[^\w.-]+", "-", part).strip(".-") for part in re.split(r"[/:]+", plain)]
    last = "-".join(part for part in parts[-2:] if part)[:80]
    return f"{last}-{hashlib.blake2b(plain.encode('utf-8', 'replace'), digest_size=4).hexdigest()}.git"


def remote_refs(url: str) -> list[str]:
    """The names of all branches and tags of the repository at an address, such as refs/heads/main; it is not cloned.

    Raises UsageError for other protocols, and SeedbedError with what git says if it fails.
    """
    said = _git(url, check_url(url), "ls-remote", "--heads", "--tags", "--quiet", "--", url, what="read")
    return [line.partition("\t")[2] for line in said.decode("utf-8", "replace").splitlines()]


def clone(
    url: str, folder: Path, *, update: bool = True, check: Callable[[], None] | None = None, names: Names | None = None
) -> Found:
    """Clone a repository, bare, with all its branches and its whole history, into a folder of its own below `folder`.

    Nothing is checked out, and nothing of it can start a program. A clone that is there already gets what is new, unless
    `update` is False. If another process clones the same address, this one waits for it and uses its clone. Stored
    passwords are not used. `check` is called several times a second meanwhile. Raises UsageError for other protocols, and
    SeedbedError with what git says if it fails; then, and if `check` raises, nothing is left behind.
    """
    protocol = check_url(url)
    target = make_dir(folder, 0o700) / clone_name(url)
    repository = None if update else git.repository_at(target)
    if repository is None:
        with locks.alone(target.with_name(f".{target.name}.lock"), check):
            repository = _cloned(url, protocol, target, update=update, check=check)
    return Found(repository=repository, name=(names or Names()).add((name_of(repository),), target, target.stem))


def _cloned(url: str, protocol: str, target: Path, *, update: bool, check: Callable[[], None] | None) -> Repository:
    """The clone of an address at `target`, made or updated. Only one process at a time may do that."""
    repository = git.repository_at(target)
    if repository is not None:
        if update:
            _update(repository, url, protocol, check)
    else:
        _remove_half_cloned(target)
        prepared = temporary_dir(target.parent, target.name)
        try:
            arguments = ("clone", "--bare", "--no-local", "--template=", "--quiet", "--", url, str(prepared))
            _git(url, protocol, *arguments, check=check)
            # The URL is stored without its credentials: they are in no file of ours.
            stored = git.without_credentials(url)
            git.run(git.Repository(git_dir=prepared, top=None), "config", "remote.origin.url", stored)
            publish_dir(prepared, target, durable=False)
        except BaseException:
            remove_tree(prepared)
            raise
        repository = git.Repository(git_dir=target, top=None)
    return repository


def _remove_half_cloned(target: Path) -> None:
    """Remove what clones into `target` that were killed a day ago or earlier have left. Younger ones may be at work on
    another machine, if the file system has no locks."""
    hidden = re.compile(rf"\.{re.escape(target.name)}\.[a-z0-9_]{{8}}")
    for path in target.parent.iterdir():
        with suppress(OSError):
            if hidden.fullmatch(path.name) and time.time() - path.stat().st_mtime > _SETTLED_S:
                remove_tree(path)


def _update(repository: Repository, url: str, protocol: str, check: Callable[[], None] | None) -> None:
    """Get new commits, and the branches as they are now."""
    refs = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
    arguments = ("fetch", "--quiet", "--prune", "--no-write-fetch-head", "--", url, *refs)
    _git(url, protocol, *arguments, repository=repository, check=check)


def _git(
    url: str,
    protocol: str,
    *arguments: str,
    repository: Repository | None = None,
    what: str = "cloned",
    check: Callable[[], None] | None = None,
) -> bytes:
    """What git prints. `what`: what could not be done with the address if it fails."""
    shown = git.without_credentials(url)
    try:
        return git.run(repository, *arguments, protocol=protocol, check=check)
    except GitError as error:
        if protocol == "file" and "dubious ownership" in error.message:
            raise UsageError(
                f"git refuses to clone {quoted(printable(shown))}: the repository belongs to another user.",
                "Give the folder itself, without file://; it is read where it is, and nothing in it is started.",
            ) from None
        said = error.message.partition("failed")[2].replace(url, shown)
        raise SeedbedError(
            f"{quoted(printable(shown))} could not be {what}{said or '.'}",
            "Check the URL and the connection. Stored passwords are not used: clone a private repository yourself, and give"
            " its folder.",
        ) from None
