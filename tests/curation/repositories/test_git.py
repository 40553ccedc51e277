"""Reading repositories through git: nothing that a repository names is started, and odd repositories are read or refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from git_repositories import GitRepository
from seedbed.curation.commits.units import CommitOptions, commit_units
from seedbed.curation.drops import Drops
from seedbed.curation.repositories import git
from seedbed.curation.repositories.harvest import clone
from seedbed.curation.repositories.history import HistoryOptions, list_commits, read_commits, read_patches
from seedbed.curation.repositories.names import name_of
from seedbed.errors import SeedbedError, UsageError

TEXT = "def f():\n    return 1\n"


@pytest.fixture
def planted(tmp_path: Path) -> tuple[GitRepository, Path]:
    """A repository of which every hook, filter, driver and helper writes a marker file, with a signed-looking history."""
    repository = GitRepository(tmp_path / "planted")
    marker = tmp_path / "started"
    program = tmp_path / "program"
    program.write_text(f'#!/bin/sh\necho "$0 $*" >> {marker}\ncat\n')
    program.chmod(0o755)
    repository.commit("Add the file f", {"f.py": TEXT, "g.txt": "one\n"})
    attributes = "* filter=evil diff=evil merge=evil text\n"
    repository.commit("Change what f returns", {"f.py": TEXT.replace("1", "2"), ".gitattributes": attributes})
    tree, parent = repository.git("rev-parse", "HEAD^{tree}", "HEAD").split()
    signed = tmp_path / "signed"
    signed.write_text(
        f"tree {tree}\nparent {parent}\nauthor A <a@example.com> 1767312300 +0000\ncommitter A <a@example.com> 1767312300 +0000\n"
        "gpgsig -----BEGIN PGP SIGNATURE-----\n \n iQEz\n -----END PGP SIGNATURE-----\n\nSign the work in some way\n"
    )
    signed_hash = repository.git("hash-object", "-t", "commit", "-w", str(signed))
    repository.git("update-ref", "refs/heads/main", signed_hash)
    repository.commit("Change g a little bit", {"g.txt": "two\n"})
    for name in ("f", "g", "h"):  # a submodule's folder and loose names, so that ls-files has something to look at
        (repository.path / f"untracked-{name}").write_text("x")
    config = {
        **dict.fromkeys(("filter.evil.clean", "filter.evil.smudge", "filter.evil.process"), str(program)),
        **dict.fromkeys(
            ("diff.evil.textconv", "diff.evil.command", "diff.python.textconv", "diff.external"), str(program)
        ),
        **dict.fromkeys(
            ("core.fsmonitor", "core.pager", "core.editor", "core.sshCommand", "core.gitProxy"), str(program)
        ),
        **dict.fromkeys(("core.askPass", "credential.helper", "gpg.program", "gpg.ssh.program"), str(program)),
        **dict.fromkeys(("pager.log", "pager.diff-tree", "pager.rev-list", "interactive.diffFilter"), str(program)),
        **dict.fromkeys(("alias.log", "alias.diff-tree", "alias.cat-file", "alias.ls-files"), f"!{program}"),
        **dict.fromkeys(("core.alternateRefsCommand", "uploadpack.packObjectsHook", "sequence.editor"), str(program)),
        "log.showSignature": "true",
        "filter.evil.required": "true",
        "core.hooksPath": str(tmp_path / "hooks"),
        "remote.origin.url": f"ext::{program} %S",
        "remote.origin.promisor": "true",
        "remote.origin.uploadpack": str(program),
        "remote.origin.partialclonefilter": "blob:none",
        "remote.origin.fetch": "+refs/heads/*:refs/remotes/origin/*",
        "protocol.ext.allow": "always",
        "protocol.allow": "always",
        "maintenance.auto": "true",
        "gc.auto": "1",
        "submodule.recurse": "true",
        "diff.submodule": "log",
    }
    (tmp_path / "hooks").mkdir()
    for hook in ("post-checkout", "reference-transaction", "post-index-change", "pre-auto-gc", "fsmonitor-watchman"):
        (tmp_path / "hooks" / hook).symlink_to(program)
        (repository.path / ".git" / "hooks").mkdir(exist_ok=True)
        (repository.path / ".git" / "hooks" / hook).symlink_to(program)
    (repository.path / ".git" / "info").mkdir(exist_ok=True)
    (repository.path / ".git" / "info" / "attributes").write_text(attributes)
    lines = []
    for name, value in config.items():
        section, key = name.rsplit(".", 1)
        heading, _, sub = section.partition(".")
        lines.append(f'[{heading} "{sub}"]' if sub else f"[{heading}]")
        lines.append(f'\t{key} = "{value}"')
    with (repository.path / ".git" / "config").open("a") as handle:
        handle.write("\n".join(lines) + "\n[extensions]\n\tpartialClone = origin\n")
    return repository, marker


def read_all(path: Path) -> None:
    """All that reads a repository."""
    repository = git.open_repository(path)
    assert git.commit_hash(repository)
    assert name_of(repository)
    assert not git.is_shallow(repository)
    files = list(git.tracked_files(repository))
    assert {each.path for each in files} >= {"f.py", "g.txt"}
    assert len(list(git.tracked_files(repository, git.commit_hash(repository)))) == len(files)
    assert "untracked-f" in git.untracked_files(repository)
    with git.Objects(repository) as objects:
        assert objects.read(files[1].hash, 1000)[0] is not None
    hashes, bad = list_commits(repository, HistoryOptions(all_branches=True))
    assert (len(hashes), bad) == (4, 0)
    assert len(list(read_commits(repository, hashes))) == 4
    assert len(list(read_patches(repository, hashes))) == 4
    drops = Drops()
    records = [record for unit in commit_units(path, CommitOptions()) for record in unit.read(drops)]
    assert len(records) == 3, drops.counts


def test_nothing_that_a_repository_names_is_started(planted: tuple[GitRepository, Path]) -> None:
    repository, marker = planted
    # The plants work: git as people use it starts them.
    repository.git("-c", "core.pager=cat", "log", "-p", "--ext-diff", check=False)
    repository.git("status", check=False)
    assert marker.exists()
    marker.unlink()
    read_all(repository.path)
    assert not marker.exists(), marker.read_text()


def test_a_partial_clone_fetches_nothing(planted: tuple[GitRepository, Path]) -> None:
    repository, marker = planted
    first = repository.git("-c", "core.fsmonitor=false", "rev-parse", "HEAD~3:f.py")
    repository.remove_object(first)
    marker.unlink(missing_ok=True)
    repository_at = git.open_repository(repository.path)
    with git.Objects(repository_at) as objects, pytest.raises(git.GitError, match=r"missing|cannot be read"):
        objects.read(first, 1000)
    drops = Drops()
    records = [record for unit in commit_units(repository.path, CommitOptions()) for record in unit.read(drops)]
    assert drops.counts["commits", "unreadable objects"] == 2  # the commits that add and change the file
    assert [record.provenance.path for record in records] == ["g.txt"]
    assert not marker.exists(), marker.read_text()


def test_cloning_starts_nothing_of_the_source(planted: tuple[GitRepository, Path], tmp_path: Path) -> None:
    repository, marker = planted
    marker.unlink(missing_ok=True)
    found = clone(f"file://{repository.path}", tmp_path / "clones")
    clone(f"file://{repository.path}", tmp_path / "clones")
    assert not marker.exists(), marker.read_text()
    assert len(list_commits(found.repository, HistoryOptions())[0]) == 4


def test_the_callers_environment_does_not_reach_git(
    planted: tuple[GitRepository, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, marker = planted
    marker.unlink(missing_ok=True)
    other = GitRepository(tmp_path / "other")
    program = str(tmp_path / "program")
    for name in ("GIT_EXTERNAL_DIFF", "GIT_PAGER", "GIT_ASKPASS", "GIT_SSH", "GIT_SSH_COMMAND", "GIT_PROXY_COMMAND"):
        monkeypatch.setenv(name, program)
    monkeypatch.setenv("GIT_DIR", str(other.path / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other.path))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.fsmonitor")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", program)
    monkeypatch.chdir(other.path)
    read_all(repository.path)
    assert not marker.exists(), marker.read_text()


def test_a_work_tree_elsewhere_is_not_looked_at(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir()
    (private / "secret.txt").write_text("x")
    repository = GitRepository(tmp_path / "r")
    repository.commit("Add the file f", {"f.py": TEXT})
    repository.git("config", "core.worktree", str(private))
    found = git.open_repository(repository.path)
    assert found.top == repository.path
    assert git.untracked_files(found) == []


def empty(path: Path) -> Path:
    return GitRepository(path).path


def bare(path: Path) -> Path:
    repository = GitRepository(path / "full" / "app")
    repository.commit("Add the file f", {"f.py": TEXT})
    repository.git("clone", "-q", "--bare", str(repository.path), str(path / "app.git"))
    return path / "app.git"


def worktree(path: Path) -> Path:
    repository = GitRepository(path / "app")
    repository.commit("Add the file f", {"f.py": TEXT})
    repository.git("worktree", "add", "-q", "-b", "other", str(path / "tree"))
    return path / "tree"


@pytest.mark.parametrize(
    ("make", "is_bare", "files", "name"), [(empty, False, 0, "r"), (bare, True, 1, "app"), (worktree, False, 1, "app")]
)
def test_kinds_of_repositories(
    make: Callable[[Path], Path], is_bare: bool, files: int, name: str, tmp_path: Path
) -> None:
    path = make(tmp_path / "r")
    repository = git.open_repository(path)
    assert git.open_repository(path).place == path
    assert (repository.top is None, name_of(repository)) == (is_bare, name)
    head = git.commit_hash(repository)
    assert (head is None) == (files == 0)
    assert len(list(git.tracked_files(repository, head))) == files


def test_folders_within_a_repository_and_without_one(tmp_path: Path) -> None:
    repository = GitRepository(tmp_path / "r")
    repository.commit("Add the file f", {"a/b/f.py": TEXT})
    assert git.open_repository(tmp_path / "r" / "a" / "b").top == repository.path
    assert git.repository_at(tmp_path / "r" / "a") is None
    with pytest.raises(SeedbedError, match="not in a git repository"):
        git.open_repository(tmp_path)


def test_a_broken_config_is_named(tmp_path: Path) -> None:
    repository = GitRepository(tmp_path / "r")
    (repository.path / ".git" / "config").write_text("[core\n")
    with pytest.raises(git.GitError, match="bad config"):
        git.open_repository(repository.path)


def test_names_with_odd_bytes(tmp_path: Path) -> None:
    repository = GitRepository(tmp_path / "r")
    names = ["new\nline", "tab\tname", "ü", " space", "-option", os.fsdecode(b"latin-\xe9")]
    repository.commit("Add files", dict.fromkeys(names, "x"))
    found = git.open_repository(repository.path)
    assert sorted(each.path for each in git.tracked_files(found)) == sorted(names)


def test_a_large_object_is_passed_over_and_the_next_one_read(tmp_path: Path) -> None:
    repository = GitRepository(tmp_path / "r")
    repository.commit("Add files", {"large": "x" * 3_000_000, "small": "y"})
    found = git.open_repository(repository.path)
    large, small = (each.hash for each in git.tracked_files(found))
    with git.Objects(found) as objects:
        assert objects.read(large, 1000) == (None, 3_000_000)
        assert objects.read(small, 1000) == (b"y", 1)
        with pytest.raises(git.GitError, match="missing"):
            objects.read("0" * 40, 1000)
        with pytest.raises(git.GitError, match="not the hash"):
            objects.read("HEAD\nHEAD", 1000)
        assert objects.read(small, 1000) == (b"y", 1)


def test_messages_have_no_credentials_and_no_control_characters() -> None:
    said = git.message(b"fatal: unable to access 'https://me:secret@host/x': \x1b[31mno\n")
    assert "secret" not in said
    assert said == "fatal: unable to access 'https://host/x': no"


def test_a_missing_git_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SeedbedError, match="git was not found"):
        git.executable()


def test_a_long_command_ends_when_it_is_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped(Exception):  # noqa: N818  # as a request to stop
        pass

    def stop() -> None:
        raise Stopped

    monkeypatch.setattr(git, "command", lambda *_, **__: ["sh", "-c", "sleep 60 & sleep 60"])
    with pytest.raises(Stopped):  # its children have its pipes, so it would last a minute if they were left
        git.run(None, "clone", check=stop)


def test_authors_of_a_damaged_history_are_known_as_far_as_it_can_be_read(tmp_path: Path) -> None:
    """Their names are replaced in all texts, so those that are readable must not be lost with the others."""
    made = GitRepository(tmp_path / "app")
    first = made.commit("Begin", {"a.txt": "a\n"}, "--author=Lost Person <l@p.org>")
    made.commit("Go on", {"a.txt": "b\n"}, "--author=Marta Vogelsang <m@v.org>")
    made.remove_object(first)
    assert "Marta Vogelsang" in git.authors(git.open_repository(made.path))
    (made.path / ".git" / "refs" / "heads" / "broken").write_text("0" * 39 + "1\n")
    git.authors.cache_clear()
    assert "Marta Vogelsang" in git.authors(git.open_repository(made.path))


def test_names_of_authors_are_read_in_the_encoding_of_their_commits(tmp_path: Path) -> None:
    repository = GitRepository(tmp_path / "r")
    repository.git("config", "i18n.commitEncoding", "ISO-8859-1")
    repository.commit("Write one", {"f": "1\n"})
    tree = repository.git("write-tree")
    person = "Jörg Müller <j@example.com> 1700000000 +0000".encode("latin-1")
    raw = b"tree %s\nauthor %s\ncommitter %s\nencoding ISO-8859-1\n\nWrite" % (tree.encode(), person, person)
    (tmp_path / "raw").write_bytes(raw)
    made = repository.git("hash-object", "-t", "commit", "-w", str(tmp_path / "raw"))
    repository.git("update-ref", "refs/heads/main", made)
    found = git.open_repository(repository.path)
    assert git.authors(found) == ("Jörg Müller",)
    assert "Jörg Müller".encode() in git._names_in_commits(found)


def test_a_config_that_names_a_pipe_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = GitRepository(tmp_path / "r")
    os.mkfifo(repository.path / ".git" / "pipe")
    repository.git("config", "include.path", "pipe")
    monkeypatch.setattr(git, "_ANSWER_S", 0.3)
    with pytest.raises(git.GitError, match="waits for a file"):
        git.open_repository(repository.path)


def test_a_repository_that_may_not_be_read_is_not_called_none(tmp_path: Path) -> None:
    """It was "not in a git repository", with the hint to check the path."""
    (tmp_path / "app" / ".git").mkdir(parents=True)
    (tmp_path / "app" / "src").mkdir()
    with pytest.raises(UsageError, match=r"app/\.git\" is damaged, or you may not read it") as error:
        git.open_repository(tmp_path / "app" / "src")
    assert "permissions" in error.value.hint
