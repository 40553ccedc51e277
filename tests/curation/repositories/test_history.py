"""The history of a repository: exact texts before and after, past what git cannot read, in bounded memory."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from git_repositories import GitRepository
from seedbed.curation.repositories import git, history
from seedbed.curation.repositories.history import (
    Commit,
    HistoryOptions,
    TooLarge,
    Unreadable,
    list_commits,
    read_commits,
    read_patches,
)
from seedbed.curation.repositories.patches import Patch, apply_hunks
from seedbed.errors import UsageError


def patches_of(repository: GitRepository, **sizes: int) -> dict[str, list[Patch]]:
    """The patches of each commit that can be read, by its hash."""
    found = git.open_repository(repository.path)
    hashes = list_commits(found, HistoryOptions())[0]
    return dict(each for each in read_patches(found, hashes, **sizes) if isinstance(each, tuple))


def test_texts_before_and_after_are_exact(tmp_path: Path) -> None:
    repository = GitRepository(tmp_path / "r")
    texts = [
        "one\ntwo\nthree\n",
        "one\r\ntwo\r\n\ufeffthree",
        "",
        "\n",
        "\n\n- a\n+ b\n\\ c\n@@ -1 +1 @@\ndiff --git a/f b/f\n",
        "diff --git a/f b/f\n\x0c\u2028x\r\ry",
        "x",
        "x\n",
        "no newline",
    ]
    for number, text in enumerate(texts):
        repository.commit(f"Write text number {number}", {"f": text})
    found = [patches[0] for patches in patches_of(repository).values()]
    assert [patch.after for patch in found] == texts
    assert [patch.before for patch in found] == [None, *texts[:-1]]
    for patch in found:
        lines = (patch.before or "").split("\n") if patch.before is not None else [""]
        for hunk in reversed(patch.hunks):
            assert tuple(lines[hunk.start : hunk.start + len(hunk.removed)]) == hunk.removed
            lines[hunk.start : hunk.start + len(hunk.removed)] = hunk.added
        if patch.before is not None:
            assert "\n".join(lines) == patch.after


LINES = st.lists(st.sampled_from(["", "a", "b", "-", "+", " ", "\\ x", "@@", "diff --git", "é\r"]), max_size=12)


@given(old=LINES, new=LINES, old_ends=st.booleans(), new_ends=st.booleans())
@settings(max_examples=100, deadline=None)
def test_a_diff_without_context_gives_the_text_after(
    old: list[str], new: list[str], old_ends: bool, new_ends: bool
) -> None:
    before, after = ("".join(f"{line}\n" for line in lines) for lines in (old, new))
    before = before if old_ends else before.removesuffix("\n")
    after = after if new_ends else after.removesuffix("\n")
    hunks, made = apply_hunks(before, _as_git(before, after))
    assert made == after
    lines = before.split("\n")
    for hunk in reversed(hunks):
        assert tuple(lines[hunk.start : hunk.start + len(hunk.removed)]) == hunk.removed
        lines[hunk.start : hunk.start + len(hunk.removed)] = hunk.added
    assert "\n".join(lines) == after


def _as_git(before: str, after: str) -> list[bytes]:
    """Hunks as git writes them with -U0: lines with their newlines compared, and a note where the last has none."""
    old, new = _kept(before), _kept(after)
    made = []
    for tag, i, j, k, m in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag != "equal":
            lines = ["-" + line for line in old[i:j]] + ["+" + line for line in new[k:m]]
            ended = "".join(
                line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
            )
            heading = f"-{i + 1 if j > i else i},{j - i} +{k + 1 if m > k else k},{m - k} @@ some function\n"
            made.append((heading + ended.removesuffix("\n")).encode())
    return made


def _kept(text: str) -> list[str]:
    parts = text.split("\n")
    return [f"{part}\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def test_kinds_of_changes(tmp_path: Path) -> None:
    repository = GitRepository(tmp_path / "r")
    body = "".join(f"line {number}\n" for number in range(40))
    repository.commit("Add", {"old.py": body, "gone.py": "gone\n", "mode.sh": "#!/bin/sh\n", "same.py": body + "y\n"})
    repository.git("mv", "old.py", "new.py")
    repository.git("mv", "same.py", "moved.py")
    (repository.path / "mode.sh").chmod(0o755)
    (repository.path / "link").symlink_to("new.py")
    files: dict[str, str | bytes | None] = {
        "new.py": body.replace("line 3\n", "line three\n"),
        "gone.py": None,
        "image.png": b"\x89PNG\0\0",
        "latin.py": b"# caf\xe9\n",
        'odd "name"\t\n': "x\n",
        "large.txt": "x\n" * 5000,
    }
    repository.commit("Change", files)
    found = {patch.change.path: patch for patch in list(patches_of(repository, most_bytes_of_file=9000).values())[1]}
    facts = {path: (patch.change.status, patch.problem) for path, patch in found.items()}
    assert facts == {
        "new.py": ("R", None),
        "moved.py": ("R", None),
        "gone.py": ("D", None),
        "mode.sh": ("M", None),
        "link": ("A", "link or submodule"),
        "image.png": ("A", "binary or large file"),
        "latin.py": ("A", "not UTF-8"),
        'odd "name"\t\n': ("A", None),
        "large.txt": ("A", "binary or large file"),
    }
    assert found["new.py"].change.old_path == "old.py"
    assert [hunk.added for hunk in found["new.py"].hunks] == [("line three",)]
    assert (found["gone.py"].before, found["gone.py"].after) == ("gone\n", None)
    assert not found["moved.py"].hunks


def test_one_unreadable_blob_does_not_end_the_rest(tmp_path: Path) -> None:
    """The reproduced defect: `fatal: unable to read` ended a run after 318 of the commits."""
    repository = GitRepository(tmp_path / "r")
    hashes = [repository.commit(f"Write text number {number}", {"f": f"{number}\n", "g": "x"}) for number in range(8)]
    repository.remove_object(repository.git("rev-parse", f"{hashes[3]}:f"))
    found = git.open_repository(repository.path)
    listed, bad = list_commits(found, HistoryOptions())
    assert (listed, bad) == (hashes, 0)
    read = list(read_patches(found, listed))
    assert [each.hash if isinstance(each, Unreadable) else each[0] for each in read] == hashes
    assert [number for number, each in enumerate(read) if isinstance(each, Unreadable)] == [3, 4]


def test_missing_trees_and_commits_are_counted_and_the_rest_is_read(tmp_path: Path) -> None:
    repository = GitRepository(tmp_path / "r")
    hashes = [repository.commit(f"Write text number {number}", {"f": f"{number}\n"}) for number in range(6)]
    repository.git("branch", "other", hashes[1])
    repository.remove_object(repository.git("rev-parse", f"{hashes[4]}^{{tree}}"))
    repository.remove_object(hashes[2])
    found = git.open_repository(repository.path)
    listed, bad = list_commits(found, HistoryOptions())
    assert (listed, bad) == (hashes[3:], 1)
    everything, bad = list_commits(found, HistoryOptions(all_branches=True))
    assert (everything, bad) == (hashes[:2] + hashes[3:], 1)
    kinds = {each.hash: type(each) for each in read_commits(found, everything)}
    assert [digest for digest, kind in kinds.items() if kind is Unreadable] == [hashes[3], hashes[4], hashes[5]]
    # A damaged commit in the middle of a list that was made before the damage.
    kinds = {each.hash: type(each) for each in read_commits(found, hashes[:3])}
    assert list(kinds.values()) == [Commit, Commit, Unreadable]


def test_a_huge_commit_is_passed_over_in_bounded_memory(tmp_path: Path) -> None:
    import tracemalloc

    repository = GitRepository(tmp_path / "r")
    repository.commit("Add one small file", {"small": "x\n"})
    repository.commit("Add much", {f"f{number}": f"{number}\n" + "some text\n" * 60_000 for number in range(40)})
    repository.commit("Change the small file", {"small": "y\n"})
    found = git.open_repository(repository.path)
    hashes = list_commits(found, HistoryOptions())[0]
    tracemalloc.start()
    read = list(read_patches(found, hashes, most_bytes=1_000_000))  # of 24 MB
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [type(each) for each in read] == [tuple, TooLarge, tuple]
    assert peak < 6_000_000
    names = list(read_commits(found, hashes, most_bytes=1000))
    assert [type(each) for each in names] == [Commit, TooLarge, Commit]


def test_the_first_commit_of_a_shallow_clone_is_known(tmp_path: Path) -> None:
    repository = GitRepository(tmp_path / "r")
    hashes = [repository.commit(f"Write text number {number}", {"f": f"{number}\n"}) for number in range(5)]
    repository.git("clone", "-q", "--depth", "2", f"file://{repository.path}", str(tmp_path / "shallow"))
    found = git.open_repository(tmp_path / "shallow")
    assert git.is_shallow(found)
    assert list_commits(found, HistoryOptions()) == (hashes[3:], 0)
    assert git.shallow_commits(found) == {hashes[3]}


def test_selections_of_commits(tmp_path: Path) -> None:
    repository = GitRepository(tmp_path / "r")
    first = repository.commit("Add f", {"f": "1\n"})
    repository.git("checkout", "-q", "-b", "other")
    repository.minutes = 300
    second = repository.commit("Add g", {"g": "1\n"})
    repository.git("checkout", "-q", "main")
    repository.minutes = 600
    third = repository.commit("Add h", {"h": "1\n"})
    found = git.open_repository(repository.path)

    def listed(**options: object) -> list[str]:
        return list_commits(found, HistoryOptions(**options))[0]  # type: ignore[arg-type]

    assert listed() == [first, third]
    assert listed(branch="other") == [first, second]
    assert listed(all_branches=True) == [first, second, third]
    assert listed(max_commits=1) == [third]
    assert listed(since="2026-01-02 06:00") == [third]
    assert listed(since="9 years", all_branches=True) == [first, second, third]
    with pytest.raises(UsageError, match="no branch"):
        listed(branch="--all")
    with pytest.raises(UsageError, match="not a date"):
        listed(since="yesterday's noon --all")
    assert listed(since="2026-01-02") == [first, third], "from the first second of the day, whatever time it is now"
    assert list_commits(git.open_repository(GitRepository(tmp_path / "e").path), HistoryOptions()) == ([], 0)


def test_a_path_cannot_pretend_to_begin_a_commit(tmp_path: Path) -> None:
    repository = GitRepository(tmp_path / "r")
    first = repository.commit("Add f", {"f": "1\n"})
    second = repository.commit("Add odd\n\n\x01" + first, {f"\x01{first}": "x\n", f"a\n\x01{'0' * 32}{first}": "x\n"})
    found = git.open_repository(repository.path)
    assert [each.hash for each in read_commits(found, [first, second])] == [first, second]
    assert [each[0] for each in read_patches(found, [first, second]) if isinstance(each, tuple)] == [first, second]


def test_more_commits_than_one_process_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "_BATCH", 3)
    repository = GitRepository(tmp_path / "r")
    hashes = [repository.commit(f"Write text number {number}", {"f": f"{number}\n"}) for number in range(10)]
    repository.remove_object(repository.git("rev-parse", f"{hashes[7]}:f"))
    found = git.open_repository(repository.path)
    read = list(read_patches(found, hashes))
    assert [isinstance(each, Unreadable) for each in read] == [number in (7, 8) for number in range(10)]
    assert [each.hash for each in read_commits(found, hashes)] == hashes


def test_the_index_of_today_does_not_change_what_commits_say(tmp_path: Path) -> None:
    repository = GitRepository(tmp_path / "r")
    repository.commit("Write one", {"f": "one\n"})
    repository.commit("Write two", {"f": "two\n"})
    before = patches_of(repository)
    repository.write({".gitattributes": "f binary\n"})
    repository.git("add", ".gitattributes")
    assert patches_of(repository) == before
    (repository.path / ".git" / "index").write_bytes(b"DIRC damaged")
    assert patches_of(repository) == before
    assert [each.after for patches in before.values() for each in patches] == ["one\n", "two\n"]


def test_grafts_and_replaced_commits_change_no_history(tmp_path: Path) -> None:
    repository = GitRepository(tmp_path / "r")
    hashes = [repository.commit(f"Write text {number}", {"f": f"{number}\n"}) for number in range(4)]
    before = patches_of(repository)
    repository.git("replace", hashes[2], hashes[0])
    (repository.path / ".git" / "info").mkdir(exist_ok=True)
    (repository.path / ".git" / "info" / "grafts").write_text(f"{hashes[3]} {hashes[0]}\n")
    assert list(before) == hashes
    assert patches_of(repository) == before


def test_a_repository_whose_newest_commit_is_missing_is_not_one_without_commits(tmp_path: Path) -> None:
    repository = GitRepository(tmp_path / "r")
    assert list_commits(git.open_repository(repository.path), HistoryOptions()) == ([], 0)
    repository.commit("Write one", {"f": "one\n"})
    repository.remove_object(repository.commit("Write two", {"f": "two\n"}))
    with pytest.raises(git.GitError, match=r"newest commit of .* cannot be read"):
        list_commits(git.open_repository(repository.path), HistoryOptions())
