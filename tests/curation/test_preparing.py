"""What the parts of a preparation have: no name of an author, no secret of the command, and nothing that is out of date."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from git_repositories import GitRepository
from prepared import new_task, preparation, prepared, rows, run_task, source, write_messages
from seedbed.config.preparing import Preparation, PrepareConfig
from seedbed.curation import folder as layout
from seedbed.curation.drops import Drops
from seedbed.curation.folder import RECORDS, describe
from seedbed.curation.parts import parts_in_use
from seedbed.curation.preparing import Preparer
from seedbed.curation.published import without_secrets
from seedbed.curation.record import Record
from seedbed.curation.repositories import harvest
from seedbed.curation.repositories.git import authors
from seedbed.errors import SeedbedError

TOKEN = "gh" + "p_" + "Zx81Qm04Lk77Vb25Ty39Wc60Nd92Rf13Ha58"
"""In the form of a token of GitHub; no one's."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_names_of_authors_are_replaced_in_every_repository_and_in_samples_of_what_is_left_out(
    tmp_path: Path, cache: Path
) -> None:
    """Repositories of one name, each with an author of its own: the names of the second were kept before."""
    for place, name in (("one", "Marta Vogelsang"), ("two", "Otto Kleinschmidt")):
        made = GitRepository(tmp_path / place / "app")
        content: dict[str, str | bytes | None] = {
            f"{place}.py": f"# Ask {name} about this.\n" + source(len(name)),
            "made.py": f"# Generated for {name}. DO NOT EDIT.\n" + source(len(name) + 1),
        }
        made.commit("Begin with all", content, f"--author={name} <a@b.org>")
    made_of = preparation("fim", tmp_path / "one" / "app", tmp_path / "two" / "app")
    out = prepared(tmp_path / "runs", made_of, tmp_path / "data" / "all")
    written = [path for place in (out, cache) for path in place.rglob("*") if path.is_file()]
    assert any(b"Generated for <NAME_1>" in path.read_bytes() for path in written)
    for name in ("Vogelsang", "Kleinschmidt"):
        assert not [path for path in written if name.encode() in path.read_bytes()]


def test_a_new_author_is_replaced_in_files_that_did_not_change(tmp_path: Path) -> None:
    made = GitRepository(tmp_path / "app")
    made.commit("Begin", {"one.py": "# Ask Marta Vogelsang about this.\n" + source(1)})
    config = preparation("fim", tmp_path / "app")
    prepared(tmp_path / "runs", config, tmp_path / "data" / "one")
    made.commit("Say more", {"notes.txt": "more\n"}, "--author=Marta Vogelsang <m@v.org>")
    authors.cache_clear()  # each preparation is a process of its own
    out = prepared(tmp_path / "runs", config, tmp_path / "data" / "two")
    assert "Vogelsang" not in (out / RECORDS).read_text()


def test_what_a_killed_preparation_left_half_written_is_removed_unless_it_may_be_at_work(cache: Path) -> None:
    with parts_in_use():
        old, new = (cache / "records" / f".{name}.jsonl.x.tmp" for name in ("old", "new"))
        for path in (old, new):
            path.touch()
        finished = cache / "records" / "old.jsonl"
        finished.touch()
        for path in (old, finished):
            os.utime(path, (1, 1))
        with parts_in_use():  # another preparation, while the first is at work
            assert old.exists()
    with parts_in_use():
        assert not old.exists()
        assert new.exists()
        assert finished.exists()


def test_a_unit_that_could_not_be_read_is_read_again(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_messages(tmp_path / "chats.jsonl", 5)
    preparer = Preparer(preparation("logs", tmp_path / "chats.jsonl"), cache)
    unit = preparer.units[0]

    def fails(self: object, drops: Drops) -> list[Record]:
        raise SeedbedError("The folder is not mounted.")

    with monkeypatch.context() as patch:
        patch.setattr(type(unit), "read", fails)
        assert preparer.make(unit, lambda: None).rows == 0
    assert preparer.find(unit) is None
    found = preparer.made(unit)
    assert found is not None
    assert found.rows == 0
    assert preparer.make(unit, lambda: None).rows == 5
    assert preparer.find(unit) is not None


def test_only_the_first_process_gets_what_is_new_of_a_clone(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers that fetched as well could read another history than was listed, and git refuses two at a time."""
    made = GitRepository(tmp_path / "app")
    made.commit("Begin with one", {"one.py": source(1)})
    config = Preparation(prepare=PrepareConfig(what="harvest", inputs=(f"file://{made.path}",)))
    first = [unit.fingerprint() for unit in Preparer(config, cache).units]
    made.commit("Go on with two", {"two.py": source(2)})
    assert [unit.fingerprint() for unit in Preparer(config, cache, update=False).units] == first
    monkeypatch.setattr(harvest, "_update", lambda *_: pytest.fail("a second process fetched"))
    assert Preparer(config, cache, update=False).units


def test_credentials_and_the_home_folder_are_not_in_the_description(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home" / "janedoe"
    home.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    write_messages(home / "chats.jsonl", 5)
    task = new_task(tmp_path / "runs", "prepare", preparation("logs", home / "chats.jsonl"), tmp_path / "data" / "all")
    meta = task.meta() | {"command": ["x", "prepare", "logs", str(home / "chats.jsonl"), f"https://me:{TOKEN}@h.org/r"]}
    monkeypatch.setattr(type(task), "meta", lambda self: meta)
    run_task(task)
    made = describe(tmp_path / "data" / "all")
    assert made.command == "seedbed prepare logs ~/chats.jsonl https://h.org/r"
    assert made.settings["prepare"]["inputs"] == ["~/chats.jsonl"]
    for path in (tmp_path / "data" / "all").rglob("*"):
        if path.is_file():
            assert b"janedoe" not in path.read_bytes()
            assert TOKEN.encode() not in path.read_bytes()


def test_what_is_no_secret_stays_in_the_description() -> None:
    settings = {"fim": {"family": "qwen2.5-coder", "rate": 0.5}, "inputs": ("ssh://git@github.com/o/r.git", "data/one")}
    assert without_secrets(settings) == settings | {"inputs": list(settings["inputs"])}


def test_what_was_made_meanwhile_in_the_place_of_the_output_is_not_replaced(tmp_path: Path) -> None:
    write_messages(tmp_path / "chats.jsonl", 5)
    config = preparation("logs", tmp_path / "chats.jsonl")
    output = tmp_path / "data" / "all"
    first, second = (new_task(tmp_path / "runs", "prepare", config, output) for _ in range(2))
    output.mkdir()
    (output / "thesis.txt").write_text("all I have")
    with pytest.raises(SeedbedError, match="was made by something else"):
        run_task(first)
    assert (output / "thesis.txt").read_text() == "all I have"
    (output / "thesis.txt").unlink()
    run_task(first)
    run_task(second)  # the same rows again, as after a kill
    write_messages(tmp_path / "chats.jsonl", 6)
    third = new_task(tmp_path / "runs", "prepare", config, output)  # as with --force
    run_task(third)
    assert len(rows(output / RECORDS)) == 6
    write_messages(tmp_path / "chats.jsonl", 7)
    with pytest.raises(SeedbedError, match="was made by something else"):
        run_task(second)
    assert [path.name for path in output.parent.iterdir() if path.name != ".seedbed"] == ["all"]
    assert layout.describe(output).files[RECORDS].rows == 6
