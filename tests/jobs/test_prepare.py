"""The job that prepares a dataset: equal bytes however it is shared, only what changed is repeated, nothing half written."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from git_repositories import GitRepository
from prepared import KEY, new_task, preparation, prepared, repository, rows, run_task, write_messages
from seedbed.config.preparing import Preparation, QualityConfig
from seedbed.curation import preparing
from seedbed.curation.drops import Drops
from seedbed.curation.folder import RECORDS, describe, verify
from seedbed.curation.preparing import Preparer
from seedbed.errors import SeedbedError
from seedbed.jobs import prepare
from seedbed.runs.lifecycle import Lifecycle, StopRequested


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with three repositories."""
    for number in range(3):
        repository(tmp_path / "src" / f"app{number}", 100 * number)
    return tmp_path / "src"


def test_a_harvest_has_gaps_and_commits_with_where_they_are_from(tmp_path: Path, folder: Path) -> None:
    made = prepared(tmp_path / "runs", preparation("harvest", folder), tmp_path / "data" / "all")
    found = rows(made / RECORDS)
    verify(made, describe(made))
    assert {row["kind"] for row in found} == {"fim", "text", "chat"}
    assert {row["provenance"]["repository"] for row in found} == {"app0", "app1", "app2"}
    assert all(row["provenance"]["commit"] for row in found if row["kind"] == "chat")
    assert sum(row["kind"] == "chat" for row in found) == 18  # six commits in each repository
    assert all(row["lineage"][0] == "redact@7" and row["links"] and row["id"] for row in found)


@pytest.mark.parametrize("what", ["fim", "harvest"])
def test_that_no_commit_is_recent_enough_is_said(tmp_path: Path, folder: Path, what: str) -> None:
    path = folder / "app0" if what == "fim" else folder
    config = preparation(what, path)
    config = replace(config, fim=replace(config.fim, edits=2), commits=replace(config.commits, since="2030-01-01"))
    task = new_task(tmp_path / "runs", "prepare", config, tmp_path / "data" / "all")
    run_task(task)
    (said,) = [each for each in map(json.loads, task.events.read_bytes().splitlines()) if each.get("code") == "commits"]
    which = "The repository has" if what == "fim" else "3 of 3 repositories have"
    assert said["text"] == f"{which} no commit since 2030-01-01: only source files are read there."
    assert "--since" in said["hint"]
    assert {row["span"] for row in rows(tmp_path / "data" / "all" / RECORDS)} & {"edit"} == set()


def test_no_file_of_a_dataset_or_of_the_cache_has_a_secret(tmp_path: Path, folder: Path, cache: Path) -> None:
    made = prepared(tmp_path / "runs", preparation("harvest", folder), tmp_path / "data" / "all")
    written = [path for place in (made, cache) for path in place.rglob("*") if path.is_file()]
    assert len(written) > 10
    assert all(path.stat().st_mode & 0o077 == 0 for path in (made, made / "rejects", cache / "records"))
    rows_and_more = [*made.rglob("*.*"), *(cache / "records").glob("*.json*")]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in rows_and_more), "only the owner can read them"
    assert not [path for path in written if KEY.encode() in path.read_bytes()]
    assert any("<AWS_KEY" in json.dumps(row) or row["redactions"] for row in rows(made / RECORDS))


def test_equal_bytes_for_any_number_of_ranks_and_for_worker_processes(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = preparation("harvest", folder)
    one = prepared(tmp_path / "runs", config, tmp_path / "data" / "one")
    expected = (one / RECORDS).read_bytes()
    for world in (2, 8):
        monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path / f"cache-{world}"))
        for rank in reversed(range(world)):
            list(Preparer(config, tmp_path / f"cache-{world}").make_rank(rank, world, lambda: None))
        made = prepared(tmp_path / "runs", config, tmp_path / "data" / f"ranks-{world}")
        assert (made / RECORDS).read_bytes() == expected
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path / "cache-processes"))
    monkeypatch.setattr("seedbed.jobs.prepare._SMALL_BYTES", 0)
    made = prepared(tmp_path / "runs", preparation("harvest", folder, workers=2), tmp_path / "data" / "processes")
    assert (made / RECORDS).read_bytes() == expected


def test_equal_bytes_under_the_local_executor_of_datatrove(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("datatrove")
    one = prepared(tmp_path / "runs", preparation("harvest", folder), tmp_path / "data" / "one")
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path / "cache-2"))
    executor = tmp_path / "executor.toml"
    executor.write_text('kind = "local"\ntasks = 2\n[options]\nworkers = 1\n')
    config = preparation("harvest", folder, executor=str(executor))
    made = prepared(tmp_path / "runs", config, tmp_path / "data" / "two")
    assert (made / RECORDS).read_bytes() == (one / RECORDS).read_bytes()


def test_the_inputs_are_not_looked_at_again_while_an_executor_works(
    tmp_path: Path, folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "executor.toml").write_text('kind = "local"\ntasks = 2\n')
    config = preparation("harvest", folder, executor=str(tmp_path / "executor.toml"))
    rank = Preparer(config, cache)
    made, key = rank.make_rank(0, 1, lambda: None), Preparer.key
    looked: list[int] = []

    class Executor:
        """Stands for the process of the executor: makes a part between two looks, and then ends."""

        def __init__(self, *_: object) -> None:
            self.looks: list[int] = []

        def poll(self) -> int | None:
            self.looks.append(len(looked))
            return 0 if next(made, None) is None else None

        def terminate(self) -> None:
            assert len(self.looks) == 6
            assert set(self.looks) == {12}, "once to find what is missing, once before the executor works"

        def wait(self, timeout: float | None = None) -> int:
            return 0

    monkeypatch.setattr(prepare, "_EXECUTOR_POLL_S", 0)
    ended = subprocess.TimeoutExpired
    monkeypatch.setattr(prepare, "subprocess", SimpleNamespace(Popen=Executor, TimeoutExpired=ended))
    monkeypatch.setattr(Preparer, "key", lambda self, unit: (self is rank or looked.append(1), key(self, unit))[1])
    prepared(tmp_path / "runs", config, tmp_path / "data" / "all")


def test_only_what_has_changed_is_read_again(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    make = preparing.make_part

    def counted(cache, key, unit, *others):  # type: ignore[no-untyped-def]
        made.append(unit.name)
        return make(cache, key, unit, *others)

    monkeypatch.setattr(preparing, "make_part", counted)
    config = preparation("harvest", folder)
    prepared(tmp_path / "runs", config, tmp_path / "data" / "one")
    assert len(made) == 6
    made.clear()
    again = prepared(tmp_path / "runs", config, tmp_path / "data" / "two")
    assert made == []
    assert describe(again).fingerprint == describe(tmp_path / "data" / "one").fingerprint
    (folder / "app1" / "src" / "part_0.py").write_text("def new(value):\n    return value + 1\n" * 20)
    prepared(tmp_path / "runs", config, tmp_path / "data" / "three")
    assert made == ["app1"]


def test_the_remaining_time_counts_only_what_this_session_does(tmp_path: Path, folder: Path) -> None:
    config = preparation("harvest", folder)
    prepared(tmp_path / "runs", config, tmp_path / "data" / "one")
    (folder / "app1" / "src" / "part_0.py").write_text("def new(value):\n    return value + 1\n" * 20)
    task = new_task(tmp_path / "runs", "prepare", config, tmp_path / "data" / "two")
    run_task(task)
    logged = [json.loads(line) for line in task.events.read_bytes().splitlines()]
    before, after = [each for each in logged if each["kind"] == "data" and each.get("whole")]
    assert 0 < before["done"] < before["total"] == after["done"], "what the cache had is one event, before the work"


def test_a_stopped_preparation_leaves_nothing_half_written_and_goes_on(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "data" / "all"
    task = new_task(tmp_path / "runs", "prepare", preparation("harvest", folder), output)
    find, looked = Preparer.find, []

    def stop_at_the_third(self: Preparer, unit: object) -> object:
        looked.append(unit)
        if len(looked) == 3:
            raise StopRequested("asked")
        return find(self, unit)  # type: ignore[arg-type]

    monkeypatch.setattr(Preparer, "find", stop_at_the_third)
    with pytest.raises(StopRequested):
        run_task(task)
    assert not output.exists()
    assert [path.name for path in output.parent.iterdir()] == [".seedbed"]
    monkeypatch.setattr(Preparer, "find", find)
    run_task(task)
    assert len(rows(output / RECORDS)) == describe(output).files[RECORDS].rows > 20


def test_a_shallow_clone_is_told_with_the_command_that_gets_the_rest(tmp_path: Path) -> None:
    source = repository(tmp_path / "app", 0)
    source.git("clone", "-q", "--depth", "3", f"file://{source.path}", str(tmp_path / "shallow"))
    task = new_task(
        tmp_path / "runs", "prepare", preparation("commits", tmp_path / "shallow"), tmp_path / "data" / "all"
    )
    run_task(task)
    logged = [json.loads(line) for line in task.events.read_bytes().splitlines()]
    [warning] = [each for each in logged if each.get("level") == "warning"]
    assert "history is cut" in warning["text"]
    assert f"git -C {tmp_path / 'shallow'} fetch --unshallow" in warning["hint"]
    source.git("clone", "-q", "--depth", "1", f"file://{source.path}", str(tmp_path / "one"))
    with pytest.raises(SeedbedError, match=r"history is cut.*--unshallow"):
        prepared(tmp_path / "runs", preparation("commits", tmp_path / "one"), tmp_path / "data" / "one")


def test_a_partial_clone_is_told_once_files_are_missing(tmp_path: Path) -> None:
    source = repository(tmp_path / "app", 0)
    source.git("config", "uploadpack.allowFilter", "true")
    source.git("clone", "-q", "--filter=blob:none", f"file://{source.path}", str(tmp_path / "partial"))
    config = preparation("harvest", tmp_path / "partial")
    told = []
    for name in ("before", "after"):
        task = new_task(tmp_path / "runs", "prepare", config, tmp_path / "data" / name)
        run_task(task)
        told.append("--refetch --no-filter" in task.events.read_text())
        source.git("-C", str(tmp_path / "partial"), "fetch", "-q", "--refetch", "--no-filter")
    assert told == [True, False]


def test_a_branch_that_only_one_repository_has_leaves_out_the_others(tmp_path: Path, folder: Path) -> None:
    app = GitRepository(folder / "app1")
    app.git("branch", "wanted")
    config = preparation("harvest", folder)
    config = replace(config, commits=replace(config.commits, branch="wanted"))
    made = prepared(tmp_path / "runs", config, tmp_path / "data" / "all")
    assert {row["provenance"]["repository"] for row in rows(made / RECORDS)} == {"app1"}
    counts = Drops.from_json(describe(made).drops).counts
    assert counts["harvest", "repository without a branch of this name"] == 2


def test_the_limits_of_the_filters_of_quality_can_be_set(tmp_path: Path, folder: Path, cache: Path) -> None:
    def config(**limits: Any) -> Preparation:
        return replace(preparation("fim", folder / "app1"), quality=QualityConfig(**limits))

    def key(**limits: Any) -> str:
        preparer = Preparer(config(**limits), cache)
        return preparer.key(preparer.units[0])

    (folder / "app1" / "src" / "part_0.py").write_text(f"name = '{'long ' * 30}'\n" + "one = two\n" * 20)
    made = prepared(tmp_path / "runs", config(filters=True, max_line=100), tmp_path / "data" / "one")
    assert Drops.from_json(describe(made).drops).counts["quality", "line longer than 100 characters"] == 1
    again = prepared(tmp_path / "runs", config(filters=True), tmp_path / "data" / "two")
    assert not [step for step, _ in Drops.from_json(describe(again).drops).counts if step == "quality"]
    assert len({key(filters=True), key(filters=True, max_line=2000), key()}) == 3
    assert key(max_line=2000) == key(), "a limit of filters that are off changes nothing"


def test_a_part_that_cannot_be_read_is_counted_and_the_rest_is_kept(tmp_path: Path, folder: Path) -> None:
    for path in (folder / "app1" / ".git" / "objects").rglob("*"):
        if path.is_file():
            path.unlink()
    made = prepared(tmp_path / "runs", preparation("harvest", folder), tmp_path / "data" / "all")
    drops = Drops.from_json(describe(made).drops)
    assert {row["provenance"]["repository"] for row in rows(made / RECORDS)} >= {"app0", "app2"}
    assert drops.total > 0


def test_input_without_content_is_an_error_that_says_why(tmp_path: Path) -> None:
    (tmp_path / "chats.jsonl").write_text('{"messages": [{"role": "user", "content": "only a question"}]}\n' * 3)
    with pytest.raises(SeedbedError, match="Nothing of the input can be used"):
        prepared(tmp_path / "runs", preparation("logs", tmp_path / "chats.jsonl"), tmp_path / "data" / "none")
    assert not (tmp_path / "data" / "none").exists()


def test_rows_with_the_same_content_are_kept_once(tmp_path: Path) -> None:
    write_messages(tmp_path / "chats.jsonl", 5)
    text = (tmp_path / "chats.jsonl").read_text()
    (tmp_path / "chats.jsonl").write_text(text + text)
    made = prepared(tmp_path / "runs", preparation("logs", tmp_path / "chats.jsonl"), tmp_path / "data" / "chats")
    assert describe(made).files[RECORDS].rows == 5


def test_a_full_disk_in_a_worker_pauses_the_task_and_what_is_finished_is_kept(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker's answer said only that there was an error, so that the task failed."""
    monkeypatch.setattr("seedbed.jobs.prepare._SMALL_BYTES", 0)
    answered = prepare._part_of
    full = json.dumps({"error": "No space.", "hint": "", "reason": "full", "passing": True, "kind": "DiskFullError"})
    lines = [full, full]
    waited: list[str] = []

    def part_of(line: str, *others: object) -> object:
        return answered(lines.pop() if lines else line, *others)  # type: ignore[arg-type]

    def wait_paused(self: Lifecycle, reason: str, hint: str, until: object) -> bool:
        waited.append(reason)
        return True

    monkeypatch.setattr(prepare, "_part_of", part_of)
    monkeypatch.setattr(Lifecycle, "wait_paused", wait_paused)
    made = prepared(tmp_path / "runs", preparation("harvest", folder, workers=2), tmp_path / "data" / "all")
    assert waited == ["No space.", "No space."]
    assert len(rows(made / RECORDS)) > 20
