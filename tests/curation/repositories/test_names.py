"""Names of repositories: no credentials, no folders of users, and never the same for two repositories."""

from __future__ import annotations

from pathlib import Path

import pytest

from git_repositories import GitRepository
from seedbed.curation.repositories.git import open_repository
from seedbed.curation.repositories.names import Names, name_in_url, name_of, names_of, names_of_path


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://user:password@github.com/owner/app.git", "owner/app"),
        ("git@github.com:owner/app.git", "owner/app"),
        ("ssh://git@host:2222/group/sub/app/", "group/sub/app"),
        ("https://host/owner/repo.git", "owner/repo"),
        ("https://host/owner/app/.git", "owner/app"),
        ("https://user:password@host:8443/repo.git", "host/repo"),
        ("git@host:repo", "host/repo"),
        ("https://host/.git", None),
        ("/home/me/app", None),
        ("file:///home/me/app", None),
        ("https://host/../../etc", None),
        ("https://host/own er/\x1b[31mapp", None),
    ],
)
def test_names_in_urls_have_no_credentials_and_no_local_paths(url: str, name: str | None) -> None:
    assert name_in_url(url) == name


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/srv/git/app.git", ("app", "git/app", "srv/git/app")),
        ("/data/tools/app/.git", ("app", "tools/app", "data/tools/app")),
        ("/data/tools/repo/.git", ("tools/repo", "data/tools/repo")),
        ("/home/marta/repo/", ("repo",)),
        ("/Users/marta/work/src", ("work/src",)),
        ("/own/place/marta/app", ("app",)),
        ("/.git", ()),
    ],
)
def test_names_of_folders_say_something_and_name_no_user(
    path: str, names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/own/place/marta")
    assert names_of_path(path) == names


def test_a_clone_has_the_name_of_its_source(tmp_path: Path) -> None:
    for place, name in (("app", "app"), ("tools/repo", "tools/repo")):
        repository = GitRepository(tmp_path / place)
        repository.commit("Add the file f", {"f.py": "a = 1\n"})
        for number, source in enumerate((str(repository.path), f"file://{repository.path}/.git")):
            copy = tmp_path / f"copy-{name.replace('/', '-')}-{number}"
            repository.git("clone", "-q", source, str(copy))
            assert name_of(open_repository(copy)) == name == name_of(open_repository(repository.path))


def test_no_two_owners_have_one_name(tmp_path: Path) -> None:
    names = Names()
    found = [names.add(("app", f"{place}/app"), place) for place in ("one", "two", "one", "two")]
    assert found == ["app", "two/app", "app", "two/app"]
    assert names.add(("app",), "three", "c/app") == "app (c/app)"
    assert [names.add(("app",), each) for each in ("four", "five")] == ["app (2)", "app (3)"]


def test_a_remote_with_an_address_has_one_name_only(tmp_path: Path) -> None:
    repository = GitRepository(tmp_path / "copy")
    repository.git("remote", "add", "origin", "git@github.com:owner/app.git")
    assert names_of(open_repository(repository.path)) == ("owner/app",)
