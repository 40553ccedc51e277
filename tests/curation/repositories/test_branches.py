"""A branch that does not exist is refused with the names of those that do, the nearest first."""

from __future__ import annotations

from pathlib import Path

import pytest

from git_repositories import GitRepository
from seedbed.curation.repositories.branches import branch_names, check_branch, is_listed
from seedbed.curation.repositories.git import open_repository
from seedbed.errors import UsageError


def test_the_nearest_branches_come_first(tmp_path: Path) -> None:
    made = GitRepository(tmp_path / "app")
    made.commit("Add f", {"f": "x\n"})
    for name in ("aardvark", "develop", "feature/login"):
        made.git("branch", name)
    made.git("tag", "v1")
    made.git("update-ref", "refs/remotes/origin/release", "HEAD")
    made.git("symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/release")
    repository = open_repository(made.path)
    assert branch_names(repository) == ["aardvark", "develop", "feature/login", "main", "origin/release"]
    for name in ("main", "v1", "main~0", "origin/release", made.git("rev-parse", "--short", "HEAD")):
        check_branch(repository, name)
    with pytest.raises(UsageError) as raised:
        check_branch(repository, "devlop")
    assert raised.value.hint.startswith("Did you mean develop? Branches: develop, ")
    with pytest.raises(UsageError) as raised:
        check_branch(repository, "release")  # it was never checked out here
    assert raised.value.hint.startswith("Did you mean origin/release? ")
    with pytest.raises(UsageError, match=r'"nope".*Branches: main, '):
        check_branch(repository, "nope")


def test_a_repository_without_branches_says_so(tmp_path: Path) -> None:
    empty = GitRepository(tmp_path / "app")
    with pytest.raises(UsageError, match="no branches"):
        check_branch(open_repository(empty.path), "main")


@pytest.mark.parametrize(
    ("name", "known"),
    [(name, True) for name in ("main", "feature/new", "refs/heads/main", "v1", "HEAD", "main~3", "0123abc")]
    + [(name, False) for name in ("new", "mai")],
)
def test_names_are_looked_up_among_the_refs_of_a_remote(name: str, known: bool) -> None:
    assert is_listed(name, ["refs/heads/main", "refs/heads/feature/new", "refs/tags/v1"]) is known
