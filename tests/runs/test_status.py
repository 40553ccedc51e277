"""The status of a run, in any state of its files and its process."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

import patience
from seedbed import events
from seedbed.events import Event, encode
from seedbed.locks import Lock
from seedbed.runs.process import own_identity
from seedbed.runs.status import (
    STALE_S,
    Heartbeat,
    State,
    best_checkpoint,
    current_status,
    latest_checkpoint,
    read_state,
    read_view,
    state_json,
    status,
)
from seedbed.runs.store import RunDir, Store
from seedbed.runs.view import View


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return Store(tmp_path).create("train", "alpha", "", {"preset": "nano", "data": "stories"})


def write(run: RunDir, *logged: Event) -> None:
    with run.events.open("ab") as log:
        for event in logged:
            log.write(encode(event, run.events.stat().st_size, time.time()))


def started(session: int = 1, **changes: Any) -> events.Run:
    me = own_identity()
    fields = {"pid": me.pid, "process_start": me.start, "boot_id": me.boot_id, "host": os.uname().nodename}
    return events.Run(status="running", session=session, **{**fields, **changes})


def steps(first: int, last: int) -> list[Event]:
    return [
        events.Step(step=n, loss=9 / n, lr=0.1, grad_norm=1.0, tokens=100 * n, step_s=0.5)
        for n in range(first, last + 1)
    ]


def begun(step: int = 0, session: int = 1) -> events.Run:
    return events.Run(status="running", session=session, step=step, steps=100)


def beat(run: RunDir, *, age_s: float = 0.0, wall_age_s: float | None = None) -> None:
    """Write the state file as the job would have written it `age_s` ago."""
    view = read_view(run)
    state = msgspec.json.decode(state_json(view, view.session), type=State)
    wall = age_s if wall_age_s is None else wall_age_s
    old = Heartbeat(
        t=time.time() - wall,
        monotonic=time.monotonic() - age_s,
        boot_id=state.heartbeat.boot_id,
        session=state.heartbeat.session,
    )
    run.state.write_bytes(msgspec.json.encode(msgspec.structs.replace(state, heartbeat=old)))


def test_the_status_of_a_running_run(run: RunDir) -> None:
    write(run, started(), begun(), *steps(1, 50))
    beat(run)
    before = time.time()
    found = status(run)
    assert (found["status"], found["step"], found["steps"], found["pid"]) == ("running", 50, 100, os.getpid())
    assert found["remaining_s"] == pytest.approx(25)
    assert before + 24.9 <= found["eta"] <= time.time() + 25.1
    assert found["name"] == "alpha"
    json.dumps(found, allow_nan=False)


def test_a_run_is_lost_if_another_process_has_its_pid(run: RunDir) -> None:
    write(run, started(process_start=own_identity().start - 100), begun(), *steps(1, 5))
    beat(run)
    found = status(run)
    assert found["status"] == "lost"
    assert found["remaining_s"] is found["eta"] is None
    assert found["step"] == 5
    assert "seedbed resume" in found["hint"]


def test_a_run_is_lost_after_a_reboot(run: RunDir) -> None:
    write(run, started(boot_id="another-boot"), begun())
    assert current_status(run).status == "lost"


def test_a_job_in_another_container_is_recognized_by_its_lock(run: RunDir) -> None:
    write(run, started(pid=999_999_999), begun())
    assert current_status(run).status == "lost"
    lock = Lock(run.lock)
    assert lock.acquire()
    assert current_status(run).status == "running"
    lock.release()


def test_a_run_with_an_old_heartbeat_is_stalled(run: RunDir) -> None:
    write(run, started(), begun(), *steps(1, 5))
    beat(run, age_s=STALE_S + 5)
    assert status(run)["status"] == "stalled"
    assert status(run)["heartbeat_age_s"] == pytest.approx(STALE_S + 5, abs=2)


def test_a_run_is_not_stalled_by_a_clock_change(run: RunDir) -> None:
    write(run, started(), begun(), *steps(1, 5))
    beat(run, age_s=1, wall_age_s=7200)
    assert status(run)["status"] == "running"
    beat(run, age_s=1, wall_age_s=-7200)
    assert status(run)["heartbeat_age_s"] == pytest.approx(1, abs=1)


@pytest.mark.parametrize("end", ["completed", "stopped", "failed"])
def test_an_ended_run_stays_ended_while_its_process_is_alive(run: RunDir, end: str) -> None:
    write(run, started(), begun(), *steps(1, 5), events.Run(status=end, session=1, reason="because"))
    found = status(run)
    assert found["status"] == end
    assert found["reason"] == "because"
    assert found["remaining_s"] is None


def test_a_run_that_never_started_is_queued_at_first_and_lost_later(run: RunDir) -> None:
    assert status(run)["status"] == "queued"
    meta = json.loads((run.path / "meta.json").read_text())
    (run.path / "meta.json").write_text(json.dumps({**meta, "created": time.time() - 3600}))
    found = status(run)
    assert found["status"] == "lost"
    assert "never started" in found["reason"]


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff", b"[]", b'{"format": 99}', b"null"])
def test_the_status_is_the_same_with_a_missing_or_broken_state_file(run: RunDir, content: bytes | None) -> None:
    write(run, started(), begun(), *steps(1, 20))
    beat(run)
    expected = status(run)
    if content is None:
        run.state.unlink()
    else:
        run.state.write_bytes(content)
    found = status(run)
    volatile = ("eta", "heartbeat_age_s")
    assert {k: v for k, v in found.items() if k not in volatile} == {
        k: v for k, v in expected.items() if k not in volatile
    }


def test_events_after_the_state_file_count(run: RunDir) -> None:
    write(run, started(), begun(), *steps(1, 20))
    beat(run)
    write(run, *steps(21, 30))
    with run.events.open("ab") as log:
        log.write(b'{"v":1,"n":9,"t":1,"kind":"step","st')
    assert status(run)["step"] == 30


def test_the_state_file_is_read_instead_of_the_log(run: RunDir) -> None:
    write(run, started(), begun(), *steps(1, 20))
    beat(run)
    size = run.events.stat().st_size
    run.events.write_bytes(b" " * (size - 1) + b"\n")
    assert status(run)["step"] == 20


def test_a_truncated_log_is_folded_from_its_start(run: RunDir) -> None:
    write(run, started(), begun(), *steps(1, 5))
    short = run.events.read_bytes()
    write(run, *steps(6, 20))
    beat(run)
    run.events.write_bytes(short)
    assert status(run)["step"] == 5


@pytest.mark.parametrize("meta", [b"", b"{", b"[]", b'{"kind": 3}'])
def test_a_run_with_a_broken_meta_json_is_broken(run: RunDir, meta: bytes) -> None:
    (run.path / "meta.json").write_bytes(meta)
    found = status(run)
    assert found["status"] == "broken"
    assert "meta.json" in found["reason"]


def checkpoint(run: RunDir, step: int, *, done: bool = True) -> str:
    folder = run.checkpoints / f"step-{step:08d}"
    folder.mkdir(parents=True)
    if done:
        (folder / "DONE").write_text("{}")
    return str(folder)


def test_the_latest_and_the_best_finished_checkpoint_are_found(run: RunDir) -> None:
    paths = {step: checkpoint(run, step, done=step != 30) for step in (10, 20, 30)}
    (run.checkpoints / ".step-00000040.tmp").mkdir()
    (run.checkpoints / "step-x").mkdir()
    view = View(step=35)
    latest = latest_checkpoint(run, view)
    assert latest is not None
    assert latest.step == 20, "a checkpoint without its marker was used"
    write(run, started(), begun(), *steps(1, 10), events.Checkpoint(step=10, path=paths[10], best=True))
    write(run, *steps(11, 20), events.Checkpoint(step=20, path=paths[20]))
    best = best_checkpoint(run, read_view(run))
    assert best is not None
    assert best.step == 10
    assert status(run)["checkpoint_step"] == 20


def test_a_void_checkpoint_is_not_the_latest(run: RunDir) -> None:
    paths = {step: checkpoint(run, step) for step in (10, 20)}
    write(run, started(), begun(), *steps(1, 20))
    write(run, *(events.Checkpoint(step=step, path=paths[step]) for step in (10, 20)))
    write(run, started(session=2), begun(step=10, session=2), *steps(11, 13))
    latest = latest_checkpoint(run, read_view(run))
    assert latest is not None
    assert latest.step == 10


def test_a_run_that_was_moved_still_finds_its_checkpoints(run: RunDir, tmp_path: Path) -> None:
    write(run, started(), begun(), *steps(1, 10), events.Checkpoint(step=10, path=checkpoint(run, 10), best=True))
    moved = RunDir(run.path.rename(tmp_path / "elsewhere"))
    found = status(moved)
    assert found["checkpoint"] == found["best_checkpoint"] == str(moved.checkpoints / "step-00000010")


def test_the_statuses_of_200_runs_are_read_quickly(tmp_path: Path, run: RunDir) -> None:
    write(run, started(), begun(), *steps(1, 5000), events.Run(status="completed", session=1))
    beat(run)
    files = {name: (run.path / name).read_bytes() for name in ("meta.json", "events.jsonl", "state.json")}
    store = Store(tmp_path / "many")
    for number in range(200):
        folder = store.root / f"20261121-000000-{number:03d}-x"
        folder.mkdir(parents=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)
    begin = time.process_time()
    assert all(status(each)["step"] == 5000 for each in store.all())
    assert time.process_time() - begin < patience.limit(0.5), "200 runs take more than 10 ms each"


def test_reading_the_status_changes_no_file(run: RunDir) -> None:
    write(run, started(process_start=1.0), begun(), *steps(1, 5))
    before = {path.name: path.stat().st_mtime_ns for path in run.path.iterdir()}
    status(run)
    assert {path.name: path.stat().st_mtime_ns for path in run.path.iterdir()} == before


def test_a_missing_state_file_reads_as_none(run: RunDir) -> None:
    assert read_state(run) is None


def test_a_state_file_of_format_2_is_converted(run: RunDir) -> None:
    """Otherwise the status of a long run of an earlier version would need its whole log."""
    old = {
        "offset": 0,
        "n": 7,
        "status": "paused",
        "reason": "asked to pause",
        "session": 1,
        "run": {"steps": 50, "tokens_per_step": 10},
        "step": 40,
        "recent": [[380, 0.5], [390, 0.5], [400, 0.5]],
        "session_steps": 3,
        "costs": {"saves": 1, "write_s": 2.0},
        "scores": [{"step": 20, "loss": 3.0, "full": False}, {"step": 40, "loss": 2.5, "full": False}],
        "best_scores": [{"step": 40, "loss": 2.5, "full": False}],
        "final_score": {"step": 40, "loss": 2.6},
        "updated": 1000.0,
    }
    beat = {"t": 1.0, "monotonic": 1.0, "boot_id": "", "session": 1}
    run.state.write_bytes(msgspec.json.encode({"format": 2, "heartbeat": beat, "view": old, "status": {}}))
    state = read_state(run)
    assert state is not None
    view = state.view
    assert (view.step, view.session_steps, view.code) == (40, 3, "asked")
    assert view.seconds_per_step() == 0.5
    assert view.speed.costs.write_s == 2.0
    assert [each.loss for each in view.validations.compared] == [3.0, 2.5]
    assert view.best() is not None
    assert view.validations.final is not None
    assert view.validations.final.loss == 2.6


@pytest.mark.parametrize("view", [{"scores": 3}, {"recent": "x"}, {"costs": []}])
def test_a_damaged_state_file_of_format_2_is_ignored(run: RunDir, view: dict[str, object]) -> None:
    beat = {"t": 1.0, "monotonic": 1.0, "boot_id": "", "session": 1}
    run.state.write_bytes(msgspec.json.encode({"format": 2, "heartbeat": beat, "view": view, "status": {}}))
    assert read_state(run) is None
