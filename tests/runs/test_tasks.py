"""Tasks: their directories beside their output, the links of a store, and their names."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from seedbed.errors import DiskFullError, SeedbedError, UsageError
from seedbed.events import Run, encode
from seedbed.runs.labels import rename
from seedbed.runs.retention import delete
from seedbed.runs.status import status
from seedbed.runs.store import TASKS, Store
from seedbed.runs.tasks import FOLDER, create_task, forget_task, output_of


def test_a_task_is_created_beside_its_output_and_found_through_the_store(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    task = create_task(store, "count", "words", "", tmp_path / "out" / "counted")
    assert task.path.parent == tmp_path / "out" / FOLDER
    assert output_of(task) == tmp_path / "out" / "counted"
    assert not (tmp_path / "out" / "counted").exists(), "the output was created before the job ran"
    for ref in (None, "words", task.id, task.id[:12], str(task.path)):
        assert store.find(ref).path == task.path, ref
    assert (store.tasks(), store.all()) == ([task], [])
    with pytest.raises(UsageError, match="no runs"):
        store.find("latest")


def test_free_name_skips_the_names_of_runs_and_of_tasks(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    store.create("train", "words", "", {})
    create_task(store, "count", store.free_name("words"), "", tmp_path / "out")
    assert [task.name() for task in store.tasks()] == ["words-2"]
    assert store.free_name("words") == "words-3"


def test_a_link_without_its_task_is_ignored_and_removed_with_the_next_task(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    gone = create_task(store, "count", "gone", "", tmp_path / "out")
    shutil.rmtree(gone.path)
    assert store.tasks() == []
    kept = create_task(store, "count", "kept", "", tmp_path / "out")
    assert [link.name for link in (store.root / TASKS).iterdir()] == [kept.id]
    forget_task(store, kept)
    assert store.tasks() == []
    assert kept.path.exists(), "the task itself was deleted"


def test_a_task_that_cannot_be_linked_leaves_no_files(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    store.root.mkdir()
    (store.root / TASKS).write_text("a file in its place")
    with pytest.raises(SeedbedError, match="tasks"):
        create_task(store, "count", "words", "", tmp_path / "out")
    assert list((tmp_path / FOLDER).iterdir()) == []


def test_a_task_for_which_there_is_no_space_names_the_folder_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(DiskFullError) as raised:
        create_task(Store(tmp_path / "runs"), "prepare", "one", "", tmp_path / "data" / "one")
    assert raised.value.message == f'Cannot write "{tmp_path / "data" / FOLDER}": the disk is full.'
    assert raised.value.hint == "Free some space on it. You can also give another output."


def test_a_task_cannot_be_renamed_to_the_name_of_a_run(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    run = store.create("train", "words", "", {})
    task = create_task(store, "count", "counting", "", tmp_path / "out")
    for each, name in ((task, "Words"), (run, "counting")):
        with pytest.raises(UsageError, match="already called"):
            rename(each, name, store)
    assert rename(task, "counted words", store).name == "counted words"


def test_the_folder_of_tasks_is_removed_with_its_last_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seedbed.runs.status._STARTING_S", 0.0)  # tasks that never started may be deleted
    store = Store(tmp_path / "runs")
    first, second = (create_task(store, "count", name, "", tmp_path / "out") for name in ("one", "two"))
    delete(first)
    assert second.path.exists()
    delete(second)
    assert not (tmp_path / FOLDER).exists()


def test_a_task_whose_process_is_gone_is_continued_not_started_again(tmp_path: Path) -> None:
    task = create_task(Store(tmp_path / "runs"), "merge", "merge-all", "", tmp_path / "data" / "all")
    task.events.write_bytes(
        encode(Run(status="running", session=1, pid=2**22 + 1), 0, 1.0)
    )  # no process has this number
    found = status(task)
    assert found["status"] == "lost"
    assert "continues it with what is not done yet" in found["hint"]


def test_latest_with_tasks_alone_names_the_newest_of_them(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    for name in ("one", "two"):
        newest = create_task(store, "count", name, "", tmp_path / "out")
    with pytest.raises(UsageError) as raised:
        store.find("latest")
    assert "only tasks" in raised.value.message
    assert newest.id in raised.value.hint
    assert store.find(None).id == newest.id
