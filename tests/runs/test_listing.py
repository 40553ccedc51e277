"""The cached statuses of runs that have ended: equal to computed ones, and never out of date."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from seedbed.events import Checkpoint, Eval, Run, Step
from seedbed.runs import labels, listing
from seedbed.runs import status as status_module
from seedbed.runs.session import Session
from seedbed.runs.status import status
from seedbed.runs.store import RunDir, Store


def make(store: Store, number: int, end: str | None = "completed") -> RunDir:
    """A run of ten steps with a checkpoint, which ended an hour ago."""
    run = store.create("train", f"run-{number}", 'preset = "nano"\n', {"preset": "nano"})
    with Session(run.path) as session:
        session.emit(Run(status="running", session=1, steps=10, tokens_per_step=8, device="cpu"))
        for step in range(1, 11):
            session.emit(Step(step=step, loss=5 / step, lr=0.1, grad_norm=1.0, tokens=8 * step, step_s=0.5))
        session.emit(Eval(step=10, loss=0.6, perplexity=1.8, tokens=9, best=True))
        folder = run.checkpoints / "step-00000010"
        folder.mkdir(parents=True)
        (folder / "DONE").write_text("{}")
        session.emit(Checkpoint(step=10, path="checkpoints/step-00000010", best=True))
        if end is not None:
            session.finish(end)
    age(run)
    return run


def age(run: RunDir) -> None:
    """Set the times of all files of the run to an hour ago."""
    then = time.time() - 3600
    for path in [*run.path.rglob("*"), run.path]:
        os.utime(path, (then, then))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "runs")
    for number, end in enumerate(["completed", "failed", "stopped"] * 4):
        make(store, number, end)
    return store


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the runs whose status was computed."""
    names: list[str] = []

    def compute(run: RunDir) -> dict[str, Any]:
        names.append(run.name())
        return status(run)

    monkeypatch.setattr(status_module, "status", compute)
    return names


def test_cached_statuses_equal_computed_ones(store: Store, computed: list[str]) -> None:
    runs = store.all()
    first = listing.statuses(store, runs)
    assert len(computed) == 12
    assert listing.statuses(store, runs) == first == [status(run) for run in runs]
    assert len(computed) == 12
    assert all(each["checkpoint"] for each in first)


def fail_again(run: RunDir) -> None:
    """A session that fails before its first step."""
    with Session(run.path) as session:
        session.finish("failed")


@pytest.mark.parametrize(
    "change",
    [
        lambda run: labels.rename(run, "another"),
        lambda run: labels.change_tags(run, ["best"]),
        lambda run: labels.set_note(run, "a note"),
        lambda run: labels.set_archived(run, True),
        lambda run: shutil.rmtree(run.checkpoints / "step-00000010"),
        lambda run: (run.checkpoints / "step-00000010" / "DONE").unlink(),
        lambda run: run.events.open("a").write('{"v":1,"n":99,"t":1.0,"kind":"step","step":11}\n'),
        lambda run: (run.path / "meta.json").unlink(),
        fail_again,
    ],
    ids=[
        "renamed",
        "tagged",
        "noted",
        "archived",
        "checkpoint deleted",
        "marker deleted",
        "step logged",
        "meta.json deleted",
        "resumed",
    ],
)
def test_the_status_of_a_changed_run_is_computed_again(store: Store, computed: list[str], change: Any) -> None:
    runs = store.all()
    listing.statuses(store, runs)
    computed.clear()
    change(runs[3])
    assert listing.statuses(store, runs) == [status(run) for run in runs]
    assert len(computed) == 1


def test_runs_that_have_not_ended_or_just_ended_are_not_cached(
    store: Store, computed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "_SETTLED_S", 600.0)  # a machine may stall for a moment after `utime`
    listing.statuses(store, store.all())
    make(store, 90, None)
    young = make(store, 91)
    os.utime(young.events)
    computed.clear()
    for _ in range(2):
        listing.statuses(store, store.all())
    assert computed == ["run-90", "run-91"] * 2


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 1}', '{"format": 1, "by": [], "runs": 3}'])
def test_a_broken_cache_file_is_written_again(store: Store, content: str) -> None:
    runs = store.all()
    wanted = listing.statuses(store, runs)
    (store.root / listing.FILE).write_text(content)
    assert listing.statuses(store, runs) == wanted
    assert set(json.loads((store.root / listing.FILE).read_text())["runs"]) == {run.id for run in runs}


def test_the_statuses_of_a_moved_store_are_computed_again(store: Store, tmp_path: Path) -> None:
    listing.statuses(store, store.all())
    moved = Store(store.root.rename(tmp_path / "elsewhere"))
    found = listing.statuses(moved, moved.all())
    assert [each["path"] for each in found] == [str(run.path) for run in moved.all()]
    assert found == [status(run) for run in moved.all()]


def test_cached_statuses_are_read_without_opening_a_file_of_a_run(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing.statuses(store, store.all())
    opened: list[str] = []
    real = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: (opened.append(path.name), real(path))[1])
    listing.statuses(store, store.all())
    assert opened == [listing.FILE]
