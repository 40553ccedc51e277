"""Runs are found by whatever a person calls them, and nothing else in the folder gets in the way."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from seedbed.errors import SeedbedError, UsageError
from seedbed.runs.control import Turn
from seedbed.runs.session import Session
from seedbed.runs.status import standing
from seedbed.runs.store import RunDir, Store, checked_name, run_id
from seedbed.runs.watch import Watch


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


def make(store: Store, name: str) -> RunDir:
    return store.create("train", name, 'preset = "nano"\n', {"preset": "nano"})


def test_a_run_is_published_whole(store: Store) -> None:
    run = make(store, "My story 2")
    assert run.id.endswith("-my-story-2")
    assert run.config.read_text() == 'preset = "nano"\n'
    assert run.meta()["name"] == run.name() == "My story 2"
    assert [path.name for path in store.root.iterdir()] == [run.id], "something else was left in the store"


def test_ids_sort_by_time_and_tell_it_in_utc() -> None:
    assert run_id(1795248903.123, "Nano stories") == "20261121-081503-123-nano-stories"
    assert run_id(1795248903.1239, "x") < run_id(1795248903.1241, "a")
    assert run_id(0, "...") == "19700101-000000-000-run"


def test_runs_made_at_once_are_all_there(store: Store) -> None:
    made = {make(store, "same").id for _ in range(30)}
    assert len(made) == 30
    assert {run.id for run in store.all()} == made


def test_found_by_id_prefix_name_and_path(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_name_given_later_counts(store: Store) -> None:
    run = make(store, "alpha")
    (run.path / "labels.json").write_text(json.dumps({"name": "gamma"}))
    assert store.find("gamma").id == run.id
    with pytest.raises(UsageError):
        store.find("alphx")
    assert run.id.endswith("-alpha"), "ids never change"


def test_an_ambiguous_word_names_the_candidates(store: Store) -> None:
    runs = [make(store, "same") for _ in range(3)]
    for ref in ("same", runs[0].id[:4]):
        with pytest.raises(UsageError) as caught:
            store.find(ref)
        for run in runs:
            assert run.id in caught.value.message
        assert caught.value.exit_code == 2


def test_an_exact_name_wins_over_longer_ones(store: Store) -> None:
    short = make(store, "story")
    make(store, "story-2")
    assert store.find("story").id == short.id


def test_an_unknown_run_names_the_nearest(store: Store) -> None:
    make(store, "shakespeare")
    with pytest.raises(UsageError) as caught:
        store.find("shakespaere")
    assert "shakespeare" in caught.value.hint


@pytest.mark.parametrize("ref", ["", " ", "nothing", "../x", "/nowhere/x", "a\x00b", "x" * 5000, "\x1b[31m", "[/]"])
def test_nonsense_is_a_usage_error(store: Store, ref: str) -> None:
    make(store, "alpha")
    with pytest.raises(UsageError) as caught:
        store.find(ref)
    assert "\x1b" not in str(caught.value)


def test_no_runs_says_how_to_start_one(store: Store) -> None:
    for ref in (None, "latest", "x"):
        with pytest.raises(UsageError, match="seedbed train"):
            store.find(ref)


def test_what_is_no_run_trips_nobody(store: Store) -> None:
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


def test_runs_that_one_thread_reads_are_not_changed_by_one_that_looks(store: Store) -> None:
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
def test_a_run_that_may_not_be_looked_into_is_listed_as_broken() -> None:
    """Another user's run, or one restored with wrong permissions, does not just vanish from the list."""
    with tempfile.TemporaryDirectory() as place:  # pytest's own folders are closed to other users
        Path(place).chmod(0o755)
        _look_as_somebody_else(Store(Path(place) / "runs"))


def _look_as_somebody_else(store: Store) -> None:
    run = make(store, "alpha")
    foreign = store.root / "lost+found"
    foreign.mkdir()
    for folder in (run.path, foreign):
        folder.chmod(0o700)
    store.root.chmod(0o755)
    told, tell = os.pipe()
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
            os.write(tell, json.dumps(listed).encode())
        finally:
            os._exit(0)
    os.close(tell)
    with os.fdopen(told) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    [(found, word, reason)] = json.loads(said)
    assert (found, word) == (run.id, "broken")
    assert "Permission denied" in reason


def test_default_names_do_not_repeat(store: Store) -> None:
    assert store.free_name("nano-stories") == "nano-stories"
    make(store, "nano-stories")
    assert store.free_name("nano-stories") == "nano-stories-2"
    make(store, "nano-stories-2")
    assert store.free_name("nano-stories") == "nano-stories-3"


@pytest.mark.parametrize("name", ["a", "A b_c.d-e", "7", "x" * 64])
def test_names_that_runs_may_bear(name: str) -> None:
    assert checked_name(name) == name


@pytest.mark.parametrize("name", ["", " a", ".a", "-a", "a/b", "ä", "a\n", "x" * 65, "a\x1b[1m", "latest", "[/]"])
def test_names_that_runs_may_not_bear(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        checked_name(name)
    assert caught.value.exit_code == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_store_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(SeedbedError, match="Cannot write"):
        make(Store(tmp_path / "runs"), "alpha")


def test_a_store_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(SeedbedError):
        make(Store(tmp_path / "runs"), "alpha")
    with pytest.raises(SeedbedError):
        Store(tmp_path / "runs").all()


def test_without_a_name_a_run_at_work_comes_before_one_that_waits_and_that_before_newer_ones(store: Store) -> None:
    working, waiting, newest = make(store, "working"), make(store, "waiting"), make(store, "newest")
    assert store.find(None).id == newest.id
    with Session(waiting.path, turn=Turn(queue=True)):
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


def test_a_run_of_a_newer_version_is_told_from_a_broken_one(store: Store) -> None:
    run = make(store, "later")
    meta = run.path / "meta.json"
    meta.write_text(json.dumps({**json.loads(meta.read_text()), "format": 2}))
    with pytest.raises(SeedbedError, match=r"newer version of Seedbed .*format 2; this one reads 1"):
        run.meta()
    stands = standing(run)
    assert stands.status == "broken"
    assert "newer version" in (stands.view.reason or "")
