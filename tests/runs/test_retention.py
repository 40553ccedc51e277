"""What is deleted and what is kept: never a running run, the last intact checkpoint, or data that is in use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from seedbed.checkpoint.marker import OPTIMIZER, TRAINER, WEIGHTS, verify
from seedbed.checkpoint.reading import find
from seedbed.checkpoint.tensors import encoded
from seedbed.checkpoint.writing import Snapshot, json_content
from seedbed.checkpoint.writing import save as save_checkpoint
from seedbed.config.schema import DataConfig, TokenizerConfig
from seedbed.data.build import build_dataset
from seedbed.errors import SeedbedError
from seedbed.events import Checkpoint, Data, Run, Step
from seedbed.locks import Lock
from seedbed.runs import retention
from seedbed.runs.caches import DATASET, KERNELS, UNFINISHED, CacheEntry, cache_entries, dataset_of, remove
from seedbed.runs.control import STOP, write_request
from seedbed.runs.labels import set_archived
from seedbed.runs.retention import Policy, choose, delete, leftovers, plan_pruning, prune_checkpoints, usage
from seedbed.runs.session import Session
from seedbed.runs.store import RunDir, Store

DAY_S = 86400.0
Save = Callable[..., Path]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


@pytest.fixture(autouse=True)
def _own_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "kernels"))


def ended(store: Store, name: str, status: str = "completed", age_days: float = 0.0) -> RunDir:
    """A run that trained one step and ended `age_days` days ago."""
    run = store.create("train", name, "", {})
    with Session(run.path) as session:
        session.emit(Run(status="running", session=1, steps=10))
        session.emit(Step(step=1, loss=2.0, lr=0.1, grad_norm=1.0, tokens=10, step_s=0.1))
        if status != "lost":
            session.finish(status)
    if status == "lost":  # no process has this start time
        run.events.write_text(run.events.read_text().replace('"process_start":', '"process_start":7e9,"was":'))
        run.state.unlink()
    if age_days:
        lines = [json.loads(line) for line in run.events.read_bytes().splitlines()]
        aged = [json.dumps({**line, "t": line["t"] - age_days * DAY_S}, separators=(",", ":")) for line in lines]
        run.events.write_text("".join(line + "\n" for line in aged))
        run.state.unlink(missing_ok=True)
        meta = json.loads((run.path / "meta.json").read_text())
        meta["created"] -= age_days * DAY_S
        (run.path / "meta.json").write_text(json.dumps(meta))
    return run


@pytest.fixture
def save() -> Save:
    """Writes a checkpoint as a job does, and logs it."""

    def write(run: RunDir, step: int, *, best: bool = False, logged: bool = True) -> Path:
        tensors = {"w": torch.full((64,), float(step))}
        files = {WEIGHTS: encoded(tensors), OPTIMIZER: encoded({"w.m": tensors["w"]}), TRAINER: json_content({})}
        saved = save_checkpoint(run.checkpoints, Snapshot(step, {**files, "tokenizer.json": [b"{}"]}), best=best)
        if logged:
            with Session(run.path) as session:
                session.emit(Run(status="running", session=session.number, step=step, steps=10**9))
                session.emit(Checkpoint(step=step, path=str(saved.path), best=best))
                session.finish("stopped")
        return saved.path

    return write


def names(run: RunDir) -> list[str]:
    return sorted(path.name for path in run.checkpoints.iterdir())


def bytes_on_disk(path: Path) -> int:
    return sum(each.lstat().st_size for each in path.rglob("*") if each.is_symlink() or not each.is_dir())


# Sizes ---------------------------------------------------------------------------------------------------------------


def test_usage_adds_up_to_the_size_of_a_run_on_disk(store: Store, save: Save) -> None:
    run = ended(store, "alpha")
    save(run, 3)
    run.log.write_text("x" * 1000)
    (run.path / "elsewhere").symlink_to("/usr")
    used = usage(run)
    assert used.total_bytes == bytes_on_disk(run.path)
    assert used.checkpoints_bytes == bytes_on_disk(run.checkpoints)
    assert used.log_bytes >= 1000 + run.events.stat().st_size
    assert usage(RunDir(store.root / "gone")).total_bytes == 0


def test_leftovers_of_interrupted_creations_and_deletions_are_found(store: Store) -> None:
    ended(store, "alpha")
    gone = ".20260101-000000-000-a.b.x1.gone"
    for name in (gone, ".new-run.x2", ".git", ".x.gone"):
        (store.root / name).mkdir()
    (store.root / ".queue.lock").touch()
    assert [path.name for path in leftovers(store)] == [gone, ".new-run.x2"]
    assert leftovers(store, 60.0) == []
    os.utime(store.root / gone, (1, 1))
    assert [path.name for path in leftovers(store, 60.0)] == [gone]
    assert leftovers(Store(store.root / "nowhere")) == []


# Choosing runs -------------------------------------------------------------------------------------------------------


def chosen(store: Store, policy: Policy) -> list[str]:
    return [each.run.name() for each in choose(store, policy)]


def test_a_policy_chooses_runs_that_are_over_and_meet_all_conditions(store: Store) -> None:
    for number, status in enumerate(["completed", "failed", "stopped", "failed", "lost"]):
        ended(store, f"{status}-{number}", status, age_days=40 - 10 * number)
    set_archived(ended(store, "archived", "failed", age_days=90), True)
    broken = store.root / "20200101-000000-000-broken"
    broken.mkdir()
    (broken / "meta.json").write_text("{")
    with Session(store.create("train", "living", "", {}).path):
        assert chosen(store, Policy()) == ["lost-4", "failed-3", "stopped-2", "failed-1", "completed-0"]
        assert chosen(store, Policy(older_than_s=25 * DAY_S)) == ["failed-1", "completed-0"]
        assert chosen(store, Policy(keep=2)) == ["stopped-2", "failed-1", "completed-0"]
        assert chosen(store, Policy(statuses=frozenset({"failed"}))) == ["failed-3", "failed-1"]
        assert chosen(store, Policy(keep=1, statuses=frozenset({"failed"}))) == ["failed-1"]
        assert chosen(store, Policy(25 * DAY_S, 1, frozenset({"failed", "completed"}))) == ["failed-1", "completed-0"]
        assert chosen(store, Policy(archived=True)) == ["archived"]
        assert chosen(store, Policy(statuses=frozenset({"broken"}))) == [broken.name]
        assert chosen(store, Policy(statuses=frozenset({"running"}))) == []
        assert chosen(store, Policy(keep=99)) == []


def test_a_run_whose_process_is_about_to_exit_is_deleted(store: Store) -> None:
    """The process has logged that the run has stopped, or has been asked to stop, and holds the lock for a moment."""
    for name in ("logged", "asked"):
        run = store.create("train", name, "", {})
        with ExitStack() as ending, pytest.MonkeyPatch.context() as patch:
            session = ending.enter_context(Session(run.path))
            if name == "asked":
                write_request(run.control, STOP, session.number)
                ending.callback(session.finish, "stopped")
            else:
                session.finish("stopped")
            patch.setattr(retention, "time", SimpleNamespace(monotonic=lambda: 0.0, sleep=lambda _: ending.close()))
            delete(run)
        assert not run.path.exists()


def test_a_run_whose_lock_is_held_is_neither_chosen_nor_deleted(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_ENDING_S", 0.1)
    run = ended(store, "alpha", age_days=99)
    lock = Lock(run.lock)
    assert lock.acquire()
    assert chosen(store, Policy()) == []
    with pytest.raises(SeedbedError, match="just started to use"):
        delete(run)
    lock.release()
    assert chosen(store, Policy()) == ["alpha"]


def test_a_run_with_times_in_the_future_is_not_old(store: Store) -> None:
    ended(store, "alpha", age_days=-400)
    assert chosen(store, Policy(older_than_s=60.0)) == []


# Checkpoints ---------------------------------------------------------------------------------------------------------


def test_thinning_keeps_the_last_checkpoint_by_step_number_and_the_best(store: Store, save: Save) -> None:
    run = ended(store, "alpha")
    for step in (5, 99_999_998, 99_999_999, 100_000_000):
        save(run, step, best=step == 99_999_998)
    planned = plan_pruning(run)
    assert planned is not None
    assert [each.step for each in planned.kept] == [99_999_998, 100_000_000]
    assert [each.step for each in planned.deleted] == [5, 99_999_999]
    assert len(names(run)) == 4, "planning deleted something"
    expected_bytes = sum(bytes_on_disk(each.path) for each in planned.deleted)
    os.utime(run.path, (1, 1))  # the file system's clock may be too coarse to show a change so soon after another
    assert planned.freed_bytes == prune_checkpoints(planned) == expected_bytes
    assert names(run) == ["step-100000000", "step-99999998"]
    assert run.path.stat().st_mtime > 1, "a window would not notice the change"
    assert plan_pruning(run) is None
    for path in run.checkpoints.iterdir():
        verify(path)


def damage(path: Path) -> None:
    """Change one byte; every size stays the same."""
    weights = bytearray((path / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (path / "model.safetensors").write_bytes(weights)


def test_thinning_keeps_intact_checkpoints_instead_of_damaged_ones(store: Store, save: Save) -> None:
    run = ended(store, "alpha")
    for step in (1, 2, 3, 4):
        save(run, step, best=step in (1, 2))
    damage(run.checkpoints / "step-00000004")
    damage(run.checkpoints / "step-00000002")
    planned = plan_pruning(run)
    assert planned is not None
    assert [each.step for each in planned.kept] == [1, 3]
    prune_checkpoints(planned)
    assert names(run) == ["step-00000001", "step-00000003"]


def test_thinning_deletes_nothing_without_an_intact_checkpoint(store: Store, save: Save) -> None:
    run = ended(store, "alpha")
    for step in (1, 2, 3):
        damage(save(run, step))
    assert plan_pruning(run) is None
    assert plan_pruning(ended(store, "without")) is None
    one = ended(store, "one")
    save(one, 1)
    assert plan_pruning(one) is None


def test_thinning_deletes_nothing_beside_a_checkpoint_of_a_newer_version(store: Store, save: Save) -> None:
    run = ended(store, "alpha")
    for step in (1, 2, 3):
        save(run, step)
    marker = run.checkpoints / "step-00000001" / "DONE"
    marker.write_text(marker.read_text().replace('"format": 1', '"format": 2'))
    assert plan_pruning(run) is None


def test_thinning_keeps_the_checkpoint_for_resume_after_a_session_went_back(store: Store, save: Save) -> None:
    run = ended(store, "alpha")
    for step in (10, 20, 30, 40):
        save(run, step)
    with Session(run.path) as session:  # seedbed resume --from 20, stopped before it saved
        session.emit(Run(status="running", session=session.number, step=20, steps=50))
        session.finish("stopped")
    planned = plan_pruning(run)
    assert planned is not None
    assert [each.step for each in planned.kept] == [20]
    assert [each.step for each in planned.deleted] == [10, 30, 40]


def test_thinning_deletes_interrupted_writes_but_not_the_intact_replaced_checkpoint(store: Store, save: Save) -> None:
    run = ended(store, "alpha")
    aside = save(run, 7)
    aside.rename(run.checkpoints / ".step-00000007.replaced")
    (run.checkpoints / "step-00000007").mkdir()
    (run.checkpoints / ".step-00000009.abc").mkdir()
    (run.checkpoints / ".step-00000009.abc" / "model.safetensors").write_text("half")
    (run.checkpoints / "notes").mkdir()
    planned = plan_pruning(run)
    assert planned is not None
    prune_checkpoints(planned)
    assert names(run) == [".step-00000007.replaced", "notes"]
    assert [path.name for path in find(run.checkpoints).good] == [".step-00000007.replaced"]


def test_thinning_deletes_nothing_if_the_run_runs_or_has_changed_since(store: Store, save: Save) -> None:
    run = ended(store, "alpha")
    for step in (1, 2, 3):
        save(run, step)
    planned = plan_pruning(run)
    assert planned is not None
    with Session(run.path) as session:
        with pytest.raises(SeedbedError, match="running"):
            prune_checkpoints(planned)
        session.finish("stopped")
    (run.checkpoints / "step-00000003" / "DONE").unlink()
    with pytest.raises(SeedbedError, match="have changed"):
        prune_checkpoints(planned)
    assert len(names(run)) == 3


# Caches --------------------------------------------------------------------------------------------------------------


def dataset(folder: Path, word: str) -> tuple[object, str]:
    """A dataset prepared from a file, in use as long as this object exists, and its fingerprint."""
    text = folder / f"{word}.txt"
    text.write_text("\n\n".join(f"{word} {number}." for number in range(200)))
    made = build_dataset(
        DataConfig(source=f"text:{text}"),
        TokenizerConfig(kind="char"),
        cache=folder / "cache",
        emit=lambda _: None,
    )
    return made, made.fingerprint


def found(store: Store, kind: str = DATASET) -> list[CacheEntry]:
    return [entry for entry in cache_entries(store) if entry.kind == kind]


def trained_on(store: Store, fingerprint: str, name: str = "alpha") -> RunDir:
    run = store.create("train", name, "", {})
    with Session(run.path) as session:
        session.emit(Data(stage="dataset", done=1, fingerprint=fingerprint))
        session.emit(Step(step=1, loss=2.0, lr=0.1, grad_norm=1.0, tokens=10, step_s=0.1))
        session.finish("completed")
    return run


def test_data_cannot_be_removed_while_it_is_open(store: Store, tmp_path: Path) -> None:
    made, _ = dataset(tmp_path, "fox")
    (entry,) = found(store)
    assert entry.in_use
    assert not entry.is_removable(0.0)
    with pytest.raises(SeedbedError, match="is in use"):
        remove(entry)
    assert (entry.path / "manifest.json").exists()
    del made
    (entry,) = found(store)
    assert not entry.in_use
    assert entry.size_bytes == bytes_on_disk(entry.path)
    assert remove(entry) == entry.size_bytes
    assert found(store) == []
    dataset(tmp_path, "fox")
    assert len(found(store)) == 1, "it was not prepared again"


def test_data_is_removable_if_no_run_was_trained_on_it_or_if_it_was_unused_for_long(
    store: Store, tmp_path: Path
) -> None:
    fingerprint = dataset(tmp_path, "fox")[1]
    run = trained_on(store, fingerprint)
    assert dataset_of(run) == fingerprint
    (entry,) = found(store)
    assert entry.used_by == (run.id,)
    assert "fox" in entry.name
    assert not entry.is_removable(None)
    assert not entry.is_removable(DAY_S)
    old = time.time() - 2 * DAY_S
    os.utime(entry.path / "manifest.json", (old, old))
    assert found(store)[0].is_removable(DAY_S)
    dataset(tmp_path, "fox")
    assert not found(store)[0].is_removable(DAY_S), "opening it again did not count as use"
    delete(run)
    assert found(store)[0].is_removable(None)


def test_data_of_a_running_run_is_not_removable(store: Store, tmp_path: Path) -> None:
    fingerprint = dataset(tmp_path, "fox")[1]
    run = trained_on(store, fingerprint)
    with Session(run.path):
        assert not found(store)[0].is_removable(0.0)
    assert found(store)[0].is_removable(0.0)


def test_unfinished_data_is_removable_some_time_after_its_preparation_has_ended(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "datasets"
    partial = folder / ".0123abcd.partial"
    partial.mkdir(parents=True)
    (partial / "train-00000.ds").write_bytes(b"x" * 100)
    lock = Lock(folder / ".0123abcd.lock")
    assert lock.acquire()
    (entry,) = found(store, UNFINISHED)
    assert entry.in_use
    lock.release()
    (entry,) = found(store, UNFINISHED)
    assert not entry.is_removable(None), "another process may continue it soon"
    assert entry.is_removable(0.0)
    old = time.time() - DAY_S
    for path in (partial / "train-00000.ds", partial):
        os.utime(path, (old, old))
    (entry,) = found(store, UNFINISHED)
    assert entry.is_removable(None)
    assert remove(entry) == 100
    assert not list(folder.iterdir()), "something is left behind"


def test_unfinished_data_without_files_is_removable_at_once(store: Store, tmp_path: Path) -> None:
    (tmp_path / "cache" / "datasets" / ".0123abcd.partial").mkdir(parents=True)
    (entry,) = found(store, UNFINISHED)
    assert entry.is_removable(None)
    remove(entry)
    assert found(store, UNFINISHED) == []


def test_kernels_are_not_removable_while_a_run_runs_or_shortly_after_their_use(store: Store, tmp_path: Path) -> None:
    assert found(store, KERNELS) == []
    folder = tmp_path / "kernels"
    (folder / "ab").mkdir(parents=True)
    (folder / "ab" / "kernel.so").write_bytes(b"x" * 10)
    assert not found(store, KERNELS)[0].is_removable(None)
    old = time.time() - DAY_S
    for path in (folder / "ab" / "kernel.so", folder):
        os.utime(path, (old, old))
    (entry,) = found(store, KERNELS)
    assert entry.is_removable(None)
    with Session(store.create("train", "alpha", "", {}).path):
        assert not found(store, KERNELS)[0].is_removable(0.0)
    assert remove(entry) == 10
    assert not folder.exists()


def test_a_folder_of_kernels_that_is_a_link_or_of_another_user_is_ignored(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "precious"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("x")
    (tmp_path / "kernels").symlink_to(elsewhere)
    assert found(store, KERNELS) == []
    (tmp_path / "kernels").unlink()
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "file").write_text("x")
    monkeypatch.setattr(os, "getuid", lambda: 4242)
    assert found(store, KERNELS) == []


def test_jobs_keep_their_kernels_in_the_cache_folder(tmp_path: Path) -> None:
    code = (
        "from seedbed.config.directories import keep_compiled; keep_compiled()\n"
        "from torch._inductor.runtime.cache_dir_utils import cache_dir; print(cache_dir())"
    )
    environment = {name: value for name, value in os.environ.items() if name != "TORCHINDUCTOR_CACHE_DIR"}
    environment["SEEDBED_CACHE"] = str(tmp_path / "cache")
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(tmp_path / "cache" / "compiled")
