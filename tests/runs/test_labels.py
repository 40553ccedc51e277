"""Names, tags, notes and the archive: with concurrent changes, broken files and invalid values."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import patience
from seedbed.errors import SeedbedError, UsageError
from seedbed.locks import Lock
from seedbed.runs.labels import Labels, change_tags, read_labels, rename, set_archived, set_note
from seedbed.runs.status import status
from seedbed.runs.store import RunDir, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


def make(store: Store, name: str) -> RunDir:
    return store.create("train", name, "", {})


def test_a_run_without_labels_has_the_name_that_it_was_created_with(store: Store) -> None:
    run = make(store, "alpha")
    assert read_labels(run) == Labels("alpha", (), False)
    assert not run.labels.exists(), "reading the labels wrote a file"


def test_a_rename_shows_everywhere_and_keeps_the_id(store: Store) -> None:
    run = make(store, "alpha")
    rename(run, "Beta 2.0")
    assert run.name() == read_labels(run).name == status(run)["name"] == "Beta 2.0"
    assert store.find("beta 2.0").id == run.id
    assert run.id.endswith("-alpha")
    assert json.loads(run.labels.read_text()) == {
        "format": 1,
        "name": "Beta 2.0",
        "tags": [],
        "archived": False,
        "note": "",
    }


@pytest.mark.parametrize("name", ["a", "7", "A b_c.d-e", "x" * 64])
def test_valid_names_are_accepted(store: Store, name: str) -> None:
    run = make(store, "alpha")
    assert rename(run, name).name == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        " a",
        ".a",
        "-a",
        "_a",
        "a/b",
        "../a",
        "ä",
        "a\n",
        "x" * 65,
        "a\x1b[1m",
        "[/]",
        "故事",
        "a\u202eb",
        "a\x00",
        "latest",
        "Latest",
    ],
)
def test_invalid_names_are_refused(store: Store, name: str) -> None:
    run = make(store, "alpha")
    with pytest.raises(UsageError) as caught:
        rename(run, name)
    assert "--name" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert run.name() == "alpha"
    assert not run.labels.exists()


def test_the_name_or_id_of_another_run_is_refused_in_any_case(store: Store) -> None:
    first, second = make(store, "alpha"), make(store, "Beta")
    for taken in ("beta", "BETA", "Beta", second.id, second.id.upper()):
        with pytest.raises(UsageError) as caught:
            rename(first, taken)
        assert second.id in caught.value.message
        assert "Beta" in caught.value.message
    rename(second, "gamma")
    assert rename(first, "BETA").name == "BETA", "the former name of a run is free"
    set_archived(second, True)
    with pytest.raises(UsageError):
        rename(first, "Gamma")


def test_a_run_may_change_the_case_of_its_own_name(store: Store) -> None:
    run, _ = make(store, "alpha"), make(store, "beta")
    assert rename(run, "ALPHA").name == "ALPHA"
    assert rename(run, "ALPHA").name == "ALPHA"


def test_free_name_ignores_case(store: Store) -> None:
    make(store, "Alpha")
    assert store.free_name("alpha") == "alpha-2"


def test_tags_are_converted_to_lower_case_and_invalid_ones_are_refused(store: Store) -> None:
    run = make(store, "alpha")
    assert change_tags(run, ["Good", "v1.2", "good"]).tags == ("good", "v1.2")
    assert change_tags(run, ["b"], ["GOOD", "never-there"]).tags == ("b", "v1.2")
    assert status(run)["tags"] == ["b", "v1.2"]
    for bad in ("", "a b", "-a", "ä", "x" * 33, "a/b", "\x1b[31m", "a\n"):
        with pytest.raises(UsageError):
            change_tags(run, ["fine", bad])
    assert read_labels(run).tags == ("b", "v1.2"), "a part of a refused change was saved"


def test_a_run_has_at_most_sixteen_tags(store: Store) -> None:
    run = make(store, "alpha")
    change_tags(run, [f"t{n}" for n in range(16)])
    with pytest.raises(UsageError, match="17 tags"):
        change_tags(run, ["one-more"])
    assert len(change_tags(run, ["one-more"], ["t0"]).tags) == 16


def test_an_archived_run_is_not_the_latest_but_is_found_by_name(store: Store) -> None:
    older, newer = make(store, "older"), make(store, "newer")
    set_archived(newer, True)
    assert status(newer)["archived"] is True
    assert store.find(None).id == store.find("latest").id == older.id
    assert store.find("newer").id == newer.id
    set_archived(older, True)
    with pytest.raises(UsageError, match="archived"):
        store.find(None)
    set_archived(newer, False)
    assert store.find("latest").id == newer.id


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"name": 7, "tags": "a", "archived": "yes"}',
        '{"name": "", "tags": [1, null, "A B"]}',
        "\x00",
    ],
)
def test_broken_labels_read_as_defaults_and_can_be_changed(store: Store, text: str) -> None:
    run = make(store, "alpha")
    run.labels.write_text(text)
    assert read_labels(run) == Labels("alpha", (), False)
    assert status(run)["name"] == "alpha"
    assert change_tags(run, ["good"]) == Labels("alpha", ("good",), False) == read_labels(run)


def test_unknown_fields_are_kept_and_a_file_of_a_newer_format_is_not_changed(store: Store) -> None:
    run = make(store, "alpha")
    run.labels.write_text('{"format": 1, "name": "beta", "colour": "red"}')
    change_tags(run, ["good"])
    assert json.loads(run.labels.read_text())["colour"] == "red"
    run.labels.write_text('{"format": 2, "name": "beta"}')
    assert read_labels(run).name == "beta"
    with pytest.raises(SeedbedError, match="newer version"):
        set_archived(run, True)
    assert run.labels.read_text() == '{"format": 2, "name": "beta"}'


def test_a_run_outside_a_store_can_be_renamed(tmp_path: Path, store: Store) -> None:
    run = make(store, "alpha")
    elsewhere = RunDir(run.path.rename(tmp_path / "copied"))
    assert rename(elsewhere, "beta").name == "beta"
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "copied"}, "another file was left beside it"


CHANGE_TAGS = """
import sys
from pathlib import Path
from seedbed.runs.labels import change_tags
from seedbed.runs.store import RunDir
for n in range(8):
    change_tags(RunDir(Path(sys.argv[1])), [f"{sys.argv[2]}{n}"], ["start"])
"""


def test_concurrent_changes_by_two_processes_are_all_kept(store: Store) -> None:
    run = make(store, "alpha")
    change_tags(run, ["start"])
    processes = [subprocess.Popen([sys.executable, "-c", CHANGE_TAGS, str(run.path), letter]) for letter in "ab"]
    assert [process.wait(patience.HANG_S) for process in processes] == [0, 0]
    assert read_labels(run).tags == tuple(sorted(f"{letter}{n}" for letter in "ab" for n in range(8)))


def test_a_change_waits_for_the_lock_of_the_labels(store: Store) -> None:
    run = make(store, "alpha")
    with Lock(run.path / ".labels.lock"):
        waiting = threading.Thread(target=set_archived, args=(run, True))
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
        run.labels.write_text('{"format": 1, "name": "beta", "tags": ["good"], "archived": false}')
    waiting.join(patience.HANG_S)
    assert read_labels(run) == Labels("beta", ("good",), True)


def test_a_note_stays_when_other_labels_change_and_is_removed_by_an_empty_one(store: Store) -> None:
    run = make(store, "alpha")
    assert set_note(run, "  a larger batch\nto see  ").note == "a larger batch\nto see"
    change_tags(run, ["good"])
    rename(run, "beta")
    set_archived(run, True)
    assert read_labels(run) == Labels("beta", ("good",), True, "a larger batch\nto see")
    assert status(run)["note"] == "a larger batch\nto see"
    set_note(run, "")
    assert read_labels(run).note == ""
    assert status(run)["note"] is None


@pytest.mark.parametrize("note", ["x" * 2001, "caf\udce9"])
def test_an_invalid_note_is_refused(store: Store, note: str) -> None:
    run = make(store, "alpha")
    set_note(run, "before")
    with pytest.raises(UsageError, match="note"):
        set_note(run, note)
    assert read_labels(run).note == "before"


def test_a_note_that_is_not_text_is_ignored(store: Store) -> None:
    run = make(store, "alpha")
    run.labels.write_text(json.dumps({"name": "alpha", "note": ["x"]}))
    assert read_labels(run) == Labels("alpha")


def test_a_run_elsewhere_is_renamed_by_the_names_of_its_own_store(tmp_path: Path) -> None:
    here, there = Store(tmp_path / "here"), Store(tmp_path / "there")
    here.create("train", "two", "", {})
    one, _ = there.create("train", "one", "", {}), there.create("train", "TWO", "", {})
    with pytest.raises(UsageError, match="already called"):
        rename(one, "two", here)
    (tmp_path / "link").symlink_to(there.root)
    by_link = Store(tmp_path / "link")
    assert rename(one, "ONE", by_link).name == "ONE", "the run itself counted as another one"
