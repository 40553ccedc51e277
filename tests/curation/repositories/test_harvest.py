"""Finding repositories below a folder, each once, and cloning them from URLs."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier, BrokenBarrierError
from typing import Any

import pytest

from git_repositories import GitRepository
from seedbed.curation.drops import Drops
from seedbed.curation.repositories import git, harvest
from seedbed.curation.repositories.harvest import (
    STEP,
    check_url,
    clone,
    clone_name,
    find_repositories,
    is_url,
    remote_refs,
)
from seedbed.curation.repositories.history import HistoryOptions, list_commits
from seedbed.errors import SeedbedError, UsageError


def repository(path: Path, text: str = "x\n") -> GitRepository:
    made = GitRepository(path)
    made.commit("Add the file f", {"f": text})
    return made


def test_every_repository_is_found_once(tmp_path: Path) -> None:
    top = tmp_path / "src"
    app = repository(top / "app")
    repository(top / "app" / "nested")
    library = repository(tmp_path / "elsewhere" / "library")
    app.git("submodule", "add", "-q", str(library.path), "deps/library")
    app.commit("Use the library")
    app.git("worktree", "add", "-q", "-b", "other", str(top / "worktree"))
    app.git("clone", "-q", "--bare", str(app.path), str(top / "bare.git"))
    repository(top / "node_modules" / "package")
    (top / "app" / "loop").symlink_to(top)
    (top / "link").symlink_to(library.path)
    (top / "broken").mkdir()
    (top / "broken" / ".git").write_text("gitdir: /nowhere\n")
    drops = Drops()
    found = find_repositories(top, drops)
    places = [each.repository.place.relative_to(top).as_posix() for each in found]
    assert places == ["app", "app/deps/library", "app/nested", "bare.git"]
    assert len({each.name for each in found}) == 4
    assert drops.counts == {
        (STEP, "symbolic link to a folder"): 2,
        (STEP, "worktree of a repository that is read already"): 1,
        (STEP, "unreadable repository"): 1,
    }


def test_two_repositories_of_one_name_are_told_apart(tmp_path: Path) -> None:
    repository(tmp_path / "src" / "a" / "app")
    repository(tmp_path / "src" / "b" / "app")
    assert [each.name for each in find_repositories(tmp_path / "src", Drops())] == ["app", "app (b/app)"]


def test_the_folder_itself_can_be_the_repository(tmp_path: Path) -> None:
    repository(tmp_path / "app")
    (tmp_path / "link").symlink_to(tmp_path / "app")
    assert [each.name for each in find_repositories(tmp_path / "link", Drops())] == ["app"]


def test_a_folder_without_repositories_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no git repository"):
        find_repositories(tmp_path, Drops())
    with pytest.raises(UsageError, match="not a folder"):
        find_repositories(tmp_path / "missing", Drops())
    made = repository(tmp_path / "bad")
    (made.path / ".git" / "config").write_text("[core\n")
    with pytest.raises(UsageError, match=r"no git repository in .* that can be read: .*bad config line 1"):
        find_repositories(tmp_path, Drops())


def test_a_repository_whose_git_folder_cannot_be_read_is_counted(tmp_path: Path) -> None:
    repository(tmp_path / "good")
    (repository(tmp_path / "bad").path / ".git" / "HEAD").unlink()
    drops = Drops()
    assert [each.name for each in find_repositories(tmp_path, drops)] == ["good"]
    assert [(each.reason, each.where) for each in drops.samples] == [("unreadable repository", "bad")]


def test_all_branches_of_a_cloned_url_are_seen(tmp_path: Path) -> None:
    """The reproduced defect: a clone with --depth had one branch, whatever was asked for."""
    source = repository(tmp_path / "app")
    for number in range(20):
        source.commit(f"Change f for the {number}th time", {"f": f"{number}\n"})
    source.git("checkout", "-q", "-b", "other", "HEAD~5")
    source.commit("Add g on the other branch", {"g": "x\n"})
    source.git("checkout", "-q", "main")
    found = clone(f"file://{source.path}", tmp_path / "clones")
    assert len(list_commits(found.repository, HistoryOptions())[0]) == 21
    assert len(list_commits(found.repository, HistoryOptions(all_branches=True))[0]) == 22
    assert not git.is_shallow(found.repository)
    assert found.name == "app"
    source.commit("Add h", {"h": "x\n"})
    again = clone(f"file://{source.path}", tmp_path / "clones")
    assert again == found
    assert len(list_commits(again.repository, HistoryOptions(all_branches=True))[0]) == 23


def test_two_processes_that_clone_one_address_use_one_clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = repository(tmp_path / "app")
    both, begun = Barrier(2), []
    run = harvest._git

    def meeting(url: str, protocol: str, *arguments: str, **others: Any) -> bytes:
        begun.append(arguments[0])
        with suppress(BrokenBarrierError):
            both.wait(timeout=0.3)  # both are here at once, if nothing keeps them apart
        return run(url, protocol, *arguments, **others)

    monkeypatch.setattr(harvest, "_git", meeting)
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(lambda _: clone(f"file://{source.path}", tmp_path / "clones"), range(2)))
    assert found[0] == found[1]
    assert begun == ["clone", "fetch"]
    assert [path.name for path in (tmp_path / "clones").iterdir()] == [found[0].repository.git_dir.name]


def test_a_repository_of_another_user_is_read_from_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """git refuses to clone it: the error says what to do instead."""
    made = repository(tmp_path / "src" / "app")
    usual = git.environment
    monkeypatch.setattr(git, "environment", lambda *given: usual(*given) | {"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"})
    (found,) = find_repositories(tmp_path / "src", Drops())
    assert list_commits(found.repository, HistoryOptions()) == ([made.git("rev-parse", "HEAD")], 0)
    assert list(git.tracked_files(git.open_repository(made.path)))
    with pytest.raises(UsageError, match="belongs to another user") as error:
        clone(f"file://{made.path}", tmp_path / "clones")
    assert "Give the folder itself, without file://" in error.value.hint


def test_what_a_killed_clone_left_is_removed_when_it_is_old(tmp_path: Path) -> None:
    url = f"file://{repository(tmp_path / 'app').path}"
    folder = tmp_path / "clones"
    names = [f".{clone_name(url)}.{end}" for end in ("abcd_123", "efgh4567", "abcd_123.gone")]
    for name in [*names, ".other.git.abcd_123"]:
        (folder / name / "objects").mkdir(parents=True)
    for name in [names[0], names[2], ".other.git.abcd_123"]:
        os.utime(folder / name, (1, 1))
    clone(url, folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [clone_name(url), *names[1:], ".other.git.abcd_123"]
    )


def test_the_branches_of_an_address_are_known_without_a_clone(tmp_path: Path) -> None:
    source = repository(tmp_path / "app")
    source.git("branch", "feature/new")
    source.git("tag", "v1")
    assert remote_refs(f"file://{source.path}") == ["refs/heads/feature/new", "refs/heads/main", "refs/tags/v1"]
    with pytest.raises(SeedbedError, match="could not be read"):
        remote_refs(f"file://{tmp_path}/missing")


def test_two_urls_of_one_name_are_kept_apart(tmp_path: Path) -> None:
    """The reproduced defect: two URLs with one last part became one folder."""
    one, two = repository(tmp_path / "a" / "app", "one\n"), repository(tmp_path / "b" / "app", "two\n")
    first, second = (clone(f"file://{each.path}", tmp_path / "clones") for each in (one, two))
    assert first.repository.place != second.repository.place
    assert git.commit_hash(first.repository) == one.git("rev-parse", "HEAD")
    assert git.commit_hash(second.repository) == two.git("rev-parse", "HEAD")
    assert clone_name("https://github.com/a/x") != clone_name("https://gitlab.com/a/x")
    assert clone_name("https://me:secret@github.com/a/x.git") == clone_name("https://github.com/a/x/")


def test_a_failed_clone_leaves_nothing_and_shows_no_password(tmp_path: Path) -> None:
    with pytest.raises(SeedbedError) as raised:
        clone(f"file://me:secret@{tmp_path}/missing", tmp_path / "clones")
    assert "secret" not in str(raised.value)
    assert "could not be cloned" in raised.value.message
    assert list((tmp_path / "clones").iterdir()) == []


@pytest.mark.parametrize(
    "url",
    [
        "ext::sh -c touch% /tmp/x",
        "ext://host/x",
        "http://host/x",
        "ftp://host/x",
        "fd::17",
        "--upload-pack=touch x",
        "https://-host/x",
        "ssh://-oProxyCommand=touch/x",
        "git@-oProxyCommand=x:y",
        "https://host/\x1b[31m",
        "/tmp/app",
        "",
    ],
)
def test_other_urls_are_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        clone(url, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_urls_are_told_from_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("me@host:x").mkdir()
    for url in ("https://host/x", "ssh://git@host/x", "git@github.com:a/b.git", "host:a/b"):
        assert is_url(url)
        check_url(url)
    for folder in ("/home/me/src", "src", "./a:b", "~/src", "me@host:x", "C:/x"):
        assert not is_url(folder)
