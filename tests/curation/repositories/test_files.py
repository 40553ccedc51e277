"""The files of repositories and folders: which are listed, and what can go wrong when they are read."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from seedbed.curation.drops import Drops
from seedbed.curation.repositories import files
from seedbed.curation.repositories.files import Reader, UnreadableError, fingerprint, open_tree, sources
from seedbed.curation.repositories.filters import Limits
from seedbed.errors import UsageError

CODE = "def add(a, b):\n    return a + b\n"


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=T", "-c", "user.email=t@example.com", "-c", "protocol.file.allow=always"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def repository(folder: Path, contents: dict[str, str | bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "-q", "-b", "main")
    write(folder, contents)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def write(folder: Path, contents: dict[str, str | bytes]) -> None:
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def read(path: Path, **options: object) -> tuple[dict[str, str], Counter[str]]:
    """The texts of the source files by path, and the counts of what was left out by reason."""
    drops = Drops()
    tree, entries = open_tree(path, **options)  # type: ignore[arg-type]
    found = {source.path: source.text for source in sources(tree, entries, Limits(), drops)}
    return found, Counter({reason: count for (_, reason), count in drops.counts.items()})


def test_ignored_built_and_vendored_files_are_left_out(tmp_path: Path) -> None:
    """Without this, 24 of 36 rows of a small web project came from node_modules, lock files and minified files."""
    app = repository(
        tmp_path / "app",
        {
            ".gitignore": "node_modules/\nbuild/\n.env\n",
            "src/app.js": "export const answer = () => 42\n" * 3,
            "node_modules/left/index.js": "module.exports = 1\n",
            "build/app.js": "var a = 1\n",
            ".env": "SECRET=hunter2\n",
            "package-lock.json": "{}",
            "vendor/lib.py": CODE,
            "dist/app.js": "var a = 1\n",
            "static/app.min.js": "var a=1\n",
            "api/user_pb2.py": CODE,
        },
    )
    found, reasons = read(app)
    assert list(found) == ["src/app.js"]
    assert reasons == {
        "no known programming language": 1,  # .gitignore
        "lock file": 1,
        "vendored or built folder": 2,
        "minified file": 1,
        "generated file": 1,
    }


def test_paths_are_those_in_the_repository_never_absolute(tmp_path: Path) -> None:
    app = repository(tmp_path / "app", {"a.py": CODE, "lib/b.py": CODE})
    assert list(read(app)[0]) == ["a.py", "lib/b.py"]
    assert list(read(app / "lib")[0]) == ["lib/b.py"]
    plain = tmp_path / "plain"
    write(plain, {"c.py": CODE})
    assert list(read(plain)[0]) == ["c.py"]
    tree, _ = open_tree(app / "lib")
    assert tree.name == "app"


def test_what_gitattributes_say_of_generated_and_vendored_files_counts(tmp_path: Path) -> None:
    app = repository(
        tmp_path / "app",
        {
            ".gitattributes": "client/** linguist-generated\n"
            "vendor/own/** -linguist-vendored\n*.pb.go linguist-generated=false\n",
            "a.py": CODE,
            "client/b.py": CODE,
            "vendor/own/c.py": CODE,
            "vendor/d.py": CODE,
            "e.pb.go": "package e\n",
        },
    )
    found, reasons = read(app)
    assert list(found) == ["a.py", "e.pb.go", "vendor/own/c.py"]
    assert reasons["generated file"] == 1
    assert reasons["vendored or built folder"] == 1


def test_files_above_a_part_of_a_repository_say_what_is_generated_and_which_licence_it_has(tmp_path: Path) -> None:
    contents: dict[str, str | bytes] = {
        ".gitattributes": "lib/b.py linguist-generated\n",
        "LICENSE": "SPDX-License-Identifier: MIT\n",
        "other.py": CODE,
        "lib/a.py": CODE,
        "lib/b.py": CODE,
    }
    app = repository(tmp_path / "app", contents)
    found, reasons = read(app / "lib")
    assert list(found) == ["lib/a.py"]
    assert reasons == {"generated file": 1}
    tree, entries = open_tree(app / "lib")
    assert [each.path for each in tree.licence_files] == ["LICENSE"]
    before = fingerprint(tree, entries)
    write(app, {".gitattributes": "lib/b.py linguist-vendored\n"})
    assert fingerprint(*open_tree(app / "lib")) != before


def test_untracked_files_are_read_only_on_demand(tmp_path: Path) -> None:
    app = repository(tmp_path / "app", {".gitignore": "secret.py\n", "a.py": CODE})
    write(app, {"new.py": CODE, "secret.py": CODE})
    assert list(read(app)[0]) == ["a.py"]
    assert list(read(app, untracked=True)[0]) == ["a.py", "new.py"]


def test_a_folder_without_a_repository_obeys_its_ignore_rules(tmp_path: Path) -> None:
    write(
        tmp_path / "plain",
        {
            ".gitignore": "*.tmp.py\n/private/\n!keep.tmp.py\n",
            "a.py": CODE,
            "b.tmp.py": CODE,
            "keep.tmp.py": CODE,
            "private/c.py": CODE,
            "build/d.py": CODE,
            "sub/.gitignore": "e.py\n",
            "sub/e.py": CODE,
            "sub/f.py": CODE,
        },
    )
    found, reasons = read(tmp_path / "plain")
    assert list(found) == ["a.py", "keep.tmp.py", "sub/f.py"]
    assert reasons["vendored or built folder"] == 1


def test_a_repository_within_a_folder_is_named_and_not_read(tmp_path: Path) -> None:
    repository(tmp_path / "src" / "app", {"a.py": CODE})
    write(tmp_path / "src", {"b.py": CODE})
    found, reasons = read(tmp_path / "src")
    assert list(found) == ["b.py"]
    assert reasons == {"another repository in the folder": 1}


def test_a_bare_clone_and_a_shallow_clone_have_the_same_files(tmp_path: Path) -> None:
    app = repository(tmp_path / "app", {"a.py": CODE, "b.py": CODE + "# ä\r\n"})
    git(tmp_path, "clone", "-q", "--bare", app.as_uri(), "bare.git")
    git(tmp_path, "clone", "-q", "--depth", "1", app.as_uri(), "shallow")
    expected = read(app)[0]
    assert read(tmp_path / "bare.git")[0] == expected
    assert read(tmp_path / "shallow")[0] == expected


def test_the_files_of_an_older_commit_can_be_read(tmp_path: Path) -> None:
    app = repository(tmp_path / "app", {"a.py": CODE})
    first = git(app, "rev-parse", "HEAD")
    write(app, {"a.py": CODE * 2, "b.py": CODE})
    git(app, "add", "-A")
    git(app, "commit", "-q", "-m", "second")
    assert read(app, commit=first)[0] == {"a.py": CODE}
    with pytest.raises(UsageError, match="no commit"):
        open_tree(app, commit="nowhere")


def test_an_empty_repository_has_no_files(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    git(tmp_path / "empty", "init", "-q")
    git(tmp_path, "init", "-q", "--bare", "bare.git")
    assert read(tmp_path / "empty") == ({}, Counter())
    assert read(tmp_path / "bare.git") == ({}, Counter())


def test_links_and_submodules_are_counted_and_never_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    write(outside, {"secret.py": CODE})
    inner = repository(tmp_path / "inner", {"x.py": CODE})
    app = tmp_path / "app"
    app.mkdir()
    git(app, "init", "-q", "-b", "main")
    write(app, {"a.py": CODE, "sub/b.py": CODE})
    (app / "link.py").symlink_to(outside / "secret.py")
    (app / "loop").symlink_to(app)
    git(app, "submodule", "--quiet", "add", str(inner), "module")
    git(app, "add", "-A")
    git(app, "commit", "-q", "-m", "first")
    (app / "sub" / "b.py").unlink()
    (app / "sub").rmdir()
    (app / "sub").symlink_to(outside)  # the folder of a tracked file becomes a link
    write(outside, {"b.py": "secret = 1\n"})
    found, reasons = read(app)
    assert list(found) == ["a.py"]
    assert reasons == {
        "symbolic link": 2,
        "submodule": 1,
        "behind a symbolic link": 1,
        "no known programming language": 1,  # .gitmodules
    }


def test_a_loop_of_links_in_a_plain_folder_ends(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    write(plain, {"a.py": CODE})
    (plain / "again").symlink_to(plain)
    (plain / "other.py").symlink_to(plain / "a.py")
    found, reasons = read(plain)
    assert list(found) == ["a.py"]
    assert reasons == {"symbolic link": 2}


def test_content_that_is_no_text_is_counted_by_reason(tmp_path: Path) -> None:
    app = repository(
        tmp_path / "app",
        {
            "zero.py": b"a = 1\0\n",
            "latin.py": "# café\n".encode("latin-1"),
            "empty.py": " \n",
            "big.py": "a = 1\n" * 200_000,
            "pointer.py": "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
            "tool": "#!/usr/bin/env python3\nprint('hello')\n",
            "picture.png": b"\x89PNG\r\n\x1a\n",
            "data.csv": "a,b\n1,2\n",
        },
    )
    found, reasons = read(app)
    assert list(found) == ["tool"]
    assert reasons == {
        "binary file": 1,
        "not UTF-8": 1,
        "empty file": 1,
        "larger than 1,000,000 bytes": 1,
        "Git LFS pointer": 1,
        "no known programming language": 1,
        "data file": 1,
    }


def test_files_that_are_gone_unreadable_or_no_files_do_not_end_the_rest(tmp_path: Path) -> None:
    app = repository(tmp_path / "app", {f"{name}.py": CODE for name in "abcd"})
    (app / "a.py").unlink()
    (app / "b.py").unlink()
    os.mkfifo(app / "b.py")  # reading it would block for ever
    (app / "c.py").unlink()
    (app / "c.py").mkdir()
    found, reasons = read(app)
    assert list(found) == ["d.py"]
    assert reasons == {"not in the working tree": 1, "no regular file": 2}


def test_an_unreadable_object_is_counted_and_the_rest_is_read(tmp_path: Path) -> None:
    app = repository(tmp_path / "app", {"a.py": CODE, "b.py": CODE * 2, "c.py": CODE * 3})
    git(tmp_path, "clone", "-q", "--bare", app.as_uri(), "bare.git")
    digest = git(app, "rev-parse", "HEAD:b.py")
    bare = tmp_path / "bare.git"
    for pack in list((bare / "objects" / "pack").glob("pack-*.pack")):
        moved = pack.rename(tmp_path / pack.name)
        with moved.open("rb") as handle:
            subprocess.run(["git", "unpack-objects", "-q"], cwd=bare, stdin=handle, check=True)
        pack.with_suffix(".idx").unlink()
    lost = bare / "objects" / digest[:2] / digest[2:]
    lost.chmod(0o644)
    lost.write_bytes(b"broken")
    found, reasons = read(bare)
    assert list(found) == ["a.py", "c.py"]
    assert reasons == {"unreadable object of git": 1}


def test_a_file_that_changes_while_it_is_read_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = repository(tmp_path / "app", {"a.py": CODE})
    tree, entries = open_tree(app)
    attempts = []

    def changing(fd: int) -> os.stat_result:
        if len(attempts) % 2:
            (app / "a.py").write_text(CODE + "#" * len(attempts))
        attempts.append(fd)
        return os.stat(fd)

    monkeypatch.setattr(files.os, "fstat", changing)
    with Reader(tree) as reader, pytest.raises(UnreadableError, match="changed while it was read"):
        reader.read(entries[0], 1000)
    assert len(attempts) == 4  # twice, with a look before and after


def test_names_that_are_not_utf_8_can_be_read(tmp_path: Path) -> None:
    app = tmp_path / "app"
    app.mkdir()
    name = os.fsdecode(b"caf\xe9.py")
    (app / name).write_text(CODE)
    git(app, "init", "-q")
    git(app, "add", "-A")
    tree, entries = open_tree(app)
    assert [source.path for source in sources(tree, entries, Limits(), Drops())] == [name]
    assert files.where_of(tree, name) == "app/caf\\xe9.py"


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(CODE)
    with pytest.raises(UsageError, match="is no folder"):
        open_tree(tmp_path / "a.py")
    with pytest.raises(UsageError, match="is not there"):
        open_tree(tmp_path / "nowhere")
    (tmp_path / "plain").mkdir()
    with pytest.raises(UsageError, match="in no repository"):
        open_tree(tmp_path / "plain", commit="HEAD")


def test_the_fingerprint_changes_with_a_file(tmp_path: Path) -> None:
    app = repository(tmp_path / "app", {"a.py": CODE, "b.py": CODE})
    before = fingerprint(*open_tree(app))
    assert fingerprint(*open_tree(app)) == before
    write(app, {"a.py": CODE + "\n"})
    assert fingerprint(*open_tree(app)) != before
    tree, entries = open_tree(app, commit="HEAD")
    assert fingerprint(tree, entries) == fingerprint(*open_tree(app, commit="HEAD"))


def test_programs_that_a_repository_names_are_not_run(tmp_path: Path) -> None:
    app = repository(tmp_path / "app", {".gitattributes": "*.py filter=evil diff=evil\n", "a.py": CODE})
    marker = tmp_path / "ran"
    for key in ("filter.evil.smudge", "filter.evil.clean", "core.fsmonitor", "core.hooksPath", "diff.evil.textconv"):
        git(app, "config", key, f"touch {marker}")
    write(app, {"a.py": CODE * 2})
    assert read(app)[0] == {"a.py": CODE * 2}
    assert read(app, untracked=True)[0] == {"a.py": CODE * 2}
    assert read(app, commit="HEAD")[0] == {"a.py": CODE}
    assert not marker.exists()
