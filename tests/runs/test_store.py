"""Runs are found by id, prefix, name and path; other files in the folder are ignored."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from seedbed.errors import SeedbedError, UsageError
from seedbed.runs.control import StartCondition
from seedbed.runs.session import Session
from seedbed.runs.status import current_status
from seedbed.runs.store import RunDir, Store, checked_name, run_id
from seedbed.runs.watch import Watch


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


def make(store: Store, name: str) -> RunDir:
    return store.create("train", name, 'preset = "nano"\n', {"preset": "nano"})


def test_a_run_is_created_with_all_its_files(store: Store) -> None:
    run = make(store, "My story 2")
    assert run.id.endswith("-my-story-2")
    assert run.config.read_text() == 'preset = "nano"\n'
    assert run.meta()["name"] == run.name() == "My story 2"
    assert [path.name for path in store.root.iterdir()] == [run.id], "another file was left in the store"


def test_ids_sort_by_time_and_contain_it_in_utc() -> None:
    assert run_id(1795248903.123, "Nano stories") == "20261121-081503-123-nano-stories"
    assert run_id(1795248903.1239, "x") < run_id(1795248903.1241, "a")
    assert run_id(0, "...") == "19700101-000000-000-run"


def test_runs_created_at_the_same_time_get_different_ids(store: Store) -> None:
    made = {make(store, "same").id for _ in range(30)}
    assert len(made) == 30
    assert {run.id for run in store.all()} == made


def test_runs_are_found_by_id_prefix_name_and_path(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = make(store, "alpha"), make(store, "Beta run")
    for ref in (first.id, first.id[:-2], "alpha", "ALPHA", str(first.path), f"{first.path}/"):
        assert store.find(ref).id == first.id, ref
    assert store.find("latest").id == store.find(None).id == second.id
    assert store.find("Beta run").id == second.id
    assert store.find(None, fits=lambda run: run.name() == "alpha").id == first.id
    monkeypatch.chdir(first.path.parent.parent)
    assert store.find(f"runs/{first.id}").id == first.id
    monkeypatch.chdir(first.path)
    assert store.find(".").id == first.id


def test_a_run_is_found_by_a_name_given_later(store: Store) -> None:
    run = make(store, "alpha")
    (run.path / "labels.json").write_text(json.dumps({"name": "gamma"}))
    assert store.find("gamma").id == run.id
    with pytest.raises(UsageError):
        store.find("alphx")
    assert run.id.endswith("-alpha"), "ids never change"


def test_an_ambiguous_reference_lists_the_candidates(store: Store) -> None:
    runs = [make(store, "same") for _ in range(3)]
    for ref in ("same", runs[0].id[:4]):
        with pytest.raises(UsageError) as caught:
            store.find(ref)
        for run in runs:
            assert run.id in caught.value.message
        assert caught.value.exit_code == 2


def test_an_exact_name_is_preferred_to_longer_ones(store: Store) -> None:
    short = make(store, "story")
    make(store, "story-2")
    assert store.find("story").id == short.id


def test_an_unknown_name_suggests_the_most_similar_one(store: Store) -> None:
    make(store, "shakespeare")
    with pytest.raises(UsageError) as caught:
        store.find("shakespaere")
    assert "shakespeare" in caught.value.hint


@pytest.mark.parametrize("ref", ["", " ", "nothing", "../x", "/nowhere/x", "a\x00b", "x" * 5000, "\x1b[31m", "[/]"])
def test_an_invalid_reference_is_a_usage_error(store: Store, ref: str) -> None:
    make(store, "alpha")
    with pytest.raises(UsageError) as caught:
        store.find(ref)
    assert "\x1b" not in str(caught.value)


def test_the_error_for_an_empty_store_says_how_to_start_a_run(store: Store) -> None:
    for ref in (None, "latest", "x"):
        with pytest.raises(UsageError, match="seedbed train"):
            store.find(ref)


def test_files_and_folders_that_are_not_runs_are_ignored(store: Store) -> None:
    run = make(store, "alpha")
    (store.root / "zz-notes.txt").write_text("hello")
    (store.root / "zz-empty").mkdir()
    (store.root / ".zz-half").mkdir()
    (store.root / ".zz-half" / "meta.json").write_text("{}")
    (store.root / "zz-link").symlink_to(store.root / "gone")
    broken = store.root / "zz-broken"
    broken.mkdir()
    (broken / "meta.json").write_text('{"kind": "tr')
    assert [found.id for found in store.all()] == [run.id, "zz-broken"]
    assert store.find("latest").id == run.id
    assert store.find(None).id == run.id
    assert broken.name == store.find("zz-broken").name()


def test_a_refresh_does_not_change_the_runs_that_a_reader_iterates_over(store: Store) -> None:
    runs = [make(store, f"run-{number}") for number in range(6)]
    watch = Watch(store)
    pieces = watch.refreshing(at_once=2)
    next(pieces)
    reading = iter(watch.runs.items())
    next(reading)
    for _ in pieces:
        pass
    assert len(list(reading)) == 1
    held = iter(watch.runs.values())
    next(held)
    shutil.rmtree(runs[0].path)
    watch.forget(runs[1].id)
    assert watch.refresh() >= {runs[0].id, runs[1].id}
    assert len(list(held)) == 5
    assert len(watch.runs) == 5


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_run_without_read_permission_is_listed_as_broken() -> None:
    """A run of another user, or one that was restored with wrong permissions, stays in the list."""
    with tempfile.TemporaryDirectory() as folder:  # other users cannot open the folders of pytest
        Path(folder).chmod(0o755)
        _list_as_another_user(Store(Path(folder) / "runs"))


def _list_as_another_user(store: Store) -> None:
    run = make(store, "alpha")
    foreign = store.root / "lost+found"
    foreign.mkdir()
    for folder in (run.path, foreign):
        folder.chmod(0o700)
    store.root.chmod(0o755)
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgid(65534)
            os.setuid(65534)
            watch = Watch(store)
            watch.refresh()
            seen = list(watch.runs.values())
            assert [each.run.id for each in seen] == [each.id for each in store.all()]
            listed = [(each.run.id, each.status["status"], each.status["reason"]) for each in seen]
            os.write(write_end, json.dumps(listed).encode())
        finally:
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        output = pipe.read()
    os.waitpid(child, 0)
    [(found, listed_status, reason)] = json.loads(output)
    assert (found, listed_status) == (run.id, "broken")
    assert "Permission denied" in reason


def test_default_names_do_not_repeat(store: Store) -> None:
    assert store.free_name("nano-stories") == "nano-stories"
    make(store, "nano-stories")
    assert store.free_name("nano-stories") == "nano-stories-2"
    make(store, "nano-stories-2")
    assert store.free_name("nano-stories") == "nano-stories-3"


@pytest.mark.parametrize("name", ["a", "A b_c.d-e", "7", "x" * 64])
def test_valid_names_are_accepted(name: str) -> None:
    assert checked_name(name) == name


@pytest.mark.parametrize("name", ["", " a", ".a", "-a", "a/b", "ä", "a\n", "x" * 65, "a\x1b[1m", "latest", "[/]"])
def test_invalid_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        checked_name(name)
    assert caught.value.exit_code == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_creating_a_run_in_an_unwritable_store_is_an_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(SeedbedError, match="Cannot write"):
        make(Store(tmp_path / "runs"), "alpha")


def test_a_store_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(SeedbedError):
        make(Store(tmp_path / "runs"), "alpha")
    with pytest.raises(SeedbedError):
        Store(tmp_path / "runs").all()


def test_the_default_run_is_a_running_one_else_a_queued_one_else_the_newest(store: Store) -> None:
    working, waiting, newest = make(store, "working"), make(store, "waiting"), make(store, "newest")
    assert store.find(None).id == newest.id
    with Session(waiting.path, turn=StartCondition(queue=True)):
        assert store.find(None).id == waiting.id
        with Session(working.path) as session:
            assert store.find(None).id == working.id
            session.emit_status("pausing")
            assert store.find(None).id == working.id
            session.emit_status("paused")
            assert store.find(None).id == working.id
            assert store.find("latest").id == newest.id
            assert store.find(None, fits=lambda run: run.name() != "working").id == waiting.id
    assert store.find(None).id == newest.id


def test_the_reason_for_a_run_of_a_newer_version_names_the_version(store: Store) -> None:
    run = make(store, "later")
    meta = run.path / "meta.json"
    meta.write_text(json.dumps({**json.loads(meta.read_text()), "format": 2}))
    with pytest.raises(SeedbedError, match=r"newer version of Seedbed .*format 2; this version reads up to 1"):
        run.meta()
    current = current_status(run)
    assert current.status == "broken"
    assert "newer version" in (current.view.reason or "")
