"""Checks, before anything is read, that a repository has the branch that a user names."""

from __future__ import annotations

import re
from collections.abc import Iterable

from seedbed.config.spelling import did_you_mean, edits, farthest
from seedbed.curation.repositories import git
from seedbed.curation.repositories.git import Repository
from seedbed.errors import UsageError
from seedbed.text import listed, printable, quoted

_SHOWN = 10
_EXPRESSION = re.compile(r".*[~^@:{}].*|[0-9a-f]{7,64}")
"""A hash, or an expression of git such as `main~3`, which a list of branches cannot confirm."""


def branch_names(repository: Repository) -> list[str]:
    """The branches of a repository, sorted: its own, such as `main`, then those of remotes, such as `origin/main`."""
    listed_refs = git.run(repository, "for-each-ref", "--format=%(refname)", "refs/heads", "refs/remotes")
    refs = listed_refs.decode("utf-8", "replace").splitlines()
    own, remote = "refs/heads/", "refs/remotes/"
    return [
        *sorted(ref.removeprefix(own) for ref in refs if ref.startswith(own)),
        *sorted(ref.removeprefix(remote) for ref in refs if ref.startswith(remote) and not ref.endswith("/HEAD")),
    ]


def check_branch(repository: Repository, name: str) -> None:
    """Raise UsageError, with the branches that there are, if no branch, tag or commit of a repository has this name."""
    if git.commit_hash(repository, name) is None:
        raise no_branch(name, quoted(printable(str(repository.place))), branch_names(repository))


def is_listed(name: str, refs: Iterable[str]) -> bool:
    """Whether one of the refs of a remote, such as refs/heads/main, can be what is named; hashes and expressions may be."""
    if name == "HEAD" or _EXPRESSION.fullmatch(name):
        return True
    return any(ref == name or ref.partition("refs/")[2].partition("/")[2] == name for ref in refs)


def no_branch(name: str, where: str, branches: Iterable[str]) -> UsageError:
    """The error for a branch that does not exist. `where`: the repository as the user knows it; the nearest names come first."""
    near = sorted(dict.fromkeys(branches), key=lambda each: _distance(name, each))
    message = f"There is no branch {quoted(printable(name))} in {where}."
    if not near:
        return UsageError(message, "It has no branches: leave out --branch.")
    likely = [each for each in near if _distance(name, each) <= farthest(name)][:3]
    return UsageError(message, f"{did_you_mean([printable(each) for each in likely])}Branches: {listed(near, _SHOWN)}.")


def _distance(name: str, branch: str) -> int:
    """Letters to change; `origin/main` is as near to `main` as can be without being it."""
    last = branch.partition("/")[2]
    whole = edits(name.lower()[:100], branch.lower()[:100])
    return min(whole, 1 + edits(name.lower()[:100], last.lower()[:100])) if last else whole
