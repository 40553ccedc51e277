"""Which units a preparation has: of the branch that is named, and of repositories of one name each with a name of its own."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from git_repositories import GitRepository
from prepared import preparation, source
from seedbed.config.preparing import Preparation
from seedbed.curation.drops import Drops
from seedbed.curation.inputs import units_of
from seedbed.curation.record import Record
from seedbed.errors import UsageError


def records_of(config: Preparation, drops: Drops | None = None) -> list[Record]:
    found = Drops() if drops is None else drops
    return [record for unit in units_of(config, found) for record in unit.read(found)]


def with_key(config: Preparation, key: str, value: object) -> Preparation:
    table, name = key.split(".")
    changed = msgspec.structs.replace(getattr(config, table), **{name: value})
    return msgspec.structs.replace(config, **{table: changed})


def test_harvest_reads_the_files_of_the_branch_that_is_named(tmp_path: Path) -> None:
    made = GitRepository(tmp_path / "all" / "app")
    made.commit("Begin with one", {"one.py": source(1)})
    made.git("checkout", "-q", "-b", "next")
    made.commit("Add two", {"two.py": source(2)})
    made.git("checkout", "-q", "main")
    made.write({"one.py": source(3), "draft.py": source(4)})
    GitRepository(tmp_path / "all" / "other").commit("Begin with five", {"five.py": source(5)})
    drops = Drops()
    config = with_key(preparation("harvest", tmp_path / "all"), "commits.branch", "next")
    found = records_of(config, drops)
    texts = {each.provenance.path: "" for each in found if each.kind != "chat"}
    for each in found:
        if each.kind != "chat":
            texts[each.provenance.path] += (
                (each.text or "") + (each.prefix or "") + (each.middle or "") + (each.suffix or "")
            )
    assert texts == {"one.py": source(1), "two.py": source(2)}
    assert {each.provenance.commit for each in found if each.kind != "chat"} == {made.git("rev-parse", "next")}
    assert drops.counts["harvest", "repository without a branch of this name"] == 1


@pytest.mark.parametrize("what", ["fim", "commits", "harvest"])
def test_repositories_of_one_name_are_told_apart_in_all_their_rows(what: str, tmp_path: Path) -> None:
    for number, place in enumerate(("one", "two")):
        made = GitRepository(tmp_path / place / "app")
        made.commit("Begin with all of it", {"a.py": source(number), "b.py": source(number + 10)})
        made.commit("Take the maximum of all", {"a.py": source(number).replace("min(", "max(")})
    config = with_key(preparation(what, tmp_path / "one" / "app", tmp_path / "two" / "app"), "fim.edits", 2)
    found = records_of(config)
    assert {each.provenance.repository for each in found} == {"app", "two/app"}


def test_clones_of_one_address_keep_its_name(tmp_path: Path) -> None:
    for place in ("one", "two"):
        made = GitRepository(tmp_path / place)
        made.commit("Begin", {f"{place}.py": source(len(place) + ord(place[0]))})
        made.git("remote", "add", "origin", "git@github.com:owner/app.git")
    found = records_of(preparation("fim", tmp_path / "one", tmp_path / "two"))
    assert {each.provenance.repository for each in found} == {"owner/app"}


def test_a_folder_of_a_repository_has_the_licence_of_the_repository(tmp_path: Path) -> None:
    made = GitRepository(tmp_path / "app")
    made.commit("Begin", {"Cargo.toml": '[package]\nlicense = "MIT"\n', "lib/a.py": source(1)})
    made.commit("Take the maximum of all", {"lib/a.py": source(1).replace("min(", "max(")})
    found = records_of(with_key(preparation("fim", tmp_path / "app" / "lib"), "fim.edits", 2))
    found += records_of(preparation("commits", tmp_path / "app" / "lib"))
    assert {each.provenance.commit is not None for each in found} == {True}
    assert {each.licence and each.licence.spdx for each in found} == {"MIT"}
    assert {each.kind for each in found} >= {"chat", "fim"}


def test_a_damaged_repository_does_not_end_the_others(tmp_path: Path) -> None:
    for name in ("bad", "good"):
        made = GitRepository(tmp_path / name)
        made.commit("Begin with all of it", {f"{name}.py": source(len(name))})
        made.commit("Take the maximum of all", {f"{name}.py": source(len(name)).replace("min(", "max(")})
    (tmp_path / "bad" / ".git" / "index").write_bytes(b"DIRC damaged")
    drops = Drops()
    found = records_of(preparation("harvest", tmp_path), drops)
    kinds = {(each.provenance.repository, each.kind == "chat") for each in found}
    assert kinds == {("good", False), ("good", True), ("bad", True)}
    assert drops.counts["harvest", "unreadable files of a repository"] == 1
    assert "index" in next(each.text for each in drops.samples if each.step == "harvest")


def test_commits_are_read_again_when_the_licence_of_the_repository_changes(tmp_path: Path) -> None:
    made = GitRepository(tmp_path / "app")
    made.commit("Begin", {"Cargo.toml": '[package]\nlicense = "MIT"\n', "lib/a.py": source(1)})
    made.commit("Take the maximum of all", {"lib/a.py": source(1).replace("min(", "max(")})
    config = preparation("commits", tmp_path / "app" / "lib")
    (before,) = units_of(config, Drops())
    made.commit("Change the licence", {"Cargo.toml": '[package]\nlicense = "GPL-3.0-only"\n'})
    (after,) = units_of(config, Drops())
    assert before.fingerprint() != after.fingerprint()
    made.commit("Change nothing here", {"other.py": source(2)})
    (same,) = units_of(config, Drops())
    assert same.fingerprint() == after.fingerprint()


@pytest.mark.parametrize("what", ["fim", "harvest"])
def test_a_repository_whose_files_git_does_not_know_says_how_they_are_added(what: str, tmp_path: Path) -> None:
    GitRepository(tmp_path / "app").write({"one.py": source(1)})
    with pytest.raises(UsageError) as refused:
        units_of(preparation(what, tmp_path / "app"), Drops())
    assert "`git add`" in refused.value.hint
