"""Shallow and partial clones are told, with the command that gets the rest."""

from __future__ import annotations

import shlex
from pathlib import Path

from git_repositories import GitRepository
from seedbed.curation.repositories.completeness import missing_of
from seedbed.curation.repositories.git import is_partial, is_shallow, open_repository


def test_the_command_in_the_hint_gets_what_is_missing(tmp_path: Path) -> None:
    source = GitRepository(tmp_path / "app")
    for number in range(3):
        source.commit(f"Change f for the {number}th time", {"f": f"{number}\n"})
    source.git("config", "uploadpack.allowFilter", "true")
    url = f"file://{source.path}"
    source.git("clone", "-q", "--depth", "1", url, str(tmp_path / "a shallow one"))
    source.git("clone", "-q", "--filter=blob:none", url, str(tmp_path / "partial"))
    assert missing_of(open_repository(source.path)) is None
    shallow, partial = open_repository(tmp_path / "a shallow one"), open_repository(tmp_path / "partial")
    for repository, word in ((shallow, "shallow"), (partial, "partial")):
        missing = missing_of(repository)
        assert missing is not None
        assert word in missing.text
        source.git(*shlex.split(missing.hint.split("`")[1])[1:])
    assert not is_shallow(shallow)
    assert not source.git("-C", str(partial.place), "rev-list", "--objects", "--all", "--missing=print").count("?")
    assert is_partial(partial)
