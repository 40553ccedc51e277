"""The functions that every front end calls: create, start, follow, request, queue and delete."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from patience import until
from seedbed import actions
from seedbed.actions import launching
from seedbed.config.frozen import load_frozen
from seedbed.config.resolving import resolve
from seedbed.config.roots import TRAIN
from seedbed.errors import SeedbedError, UsageError
from seedbed.events import Step
from seedbed.runs import control, requests, retention
from seedbed.runs.control import PAUSE, RESUME, SAVE, STOP, ResumeOptions, StartCondition
from seedbed.runs.kinds import KINDS
from seedbed.runs.lifecycle import RunBusyError
from seedbed.runs.process import git_commit
from seedbed.runs.queue import queue_items
from seedbed.runs.session import Session
from seedbed.runs.signals import SIGNALS
from seedbed.runs.status import current_status, status
from seedbed.runs.store import RunDir, Store

FAKE_JOB = Path(__file__).with_name("fake_job.py")


@pytest.fixture(autouse=True)
def _fake_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "JOBS", (sys.executable, str(FAKE_JOB)))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


@pytest.fixture
def run(store: Store) -> RunDir:
    return actions.new_run(store, KINDS["train"], resolve(TRAIN, sets=["train.steps=30"]), "alpha")


@pytest.mark.parametrize(
    ("preset", "source", "name"),
    [
        ("nano", "stories", "nano-stories"),
        ("tiny", "text:/home/me/My Novels", "tiny-my-novels"),
        ("tiny", "text:/home/me/corpus.txt", "tiny-corpus"),
        ("small", "hf:roneneldan/TinyStories:default@text", "small-default"),
        ("small", "hf:/home/me@corp/stories@body", "small-stories"),
        ("tiny", "text:/home/me@corp/novels", "tiny-novels"),
        ("base", "/data/prepared/", "base-prepared"),
        ("nano", "text:/" + "x" * 200, "nano-" + "x" * 43),
        ("nano", "text:/小说", "nano"),
    ],
)
def test_default_name_contains_preset_and_data(preset: str, source: str, name: str) -> None:
    assert actions.default_name(preset, source) == name


def test_store_folder_is_the_argument_the_environment_variable_or_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEEDBED_RUNS", raising=False)
    assert actions.store().root == Path("runs")
    monkeypatch.setenv("SEEDBED_RUNS", "/somewhere")
    assert actions.store().root == Path("/somewhere")
    assert actions.store("here").root == Path("here")


def test_a_new_run_records_its_config_command_and_versions(store: Store) -> None:
    wanted = resolve(TRAIN, sets=["train.steps=12", "optimizer.lr=2e-5"])
    run = actions.new_run(store, KINDS["train"], wanted, command=["seedbed", "train"])
    assert load_frozen(run.config, TRAIN) == wanted.config
    meta = run.meta()
    assert meta["preset"] == "nano"
    assert meta["command"] == ["seedbed", "train"]
    assert meta["versions"]["seedbed"]
    assert actions.new_run(store, KINDS["train"], wanted).name() == "nano-stories-2"


@pytest.mark.parametrize("name", ["", "a/b", "latest", "x" * 65])
def test_an_invalid_name_is_refused_and_writes_nothing(store: Store, name: str) -> None:
    with pytest.raises(UsageError):
        actions.new_run(store, KINDS["train"], resolve(TRAIN), name)
    assert not store.root.exists()


@pytest.mark.parametrize("content", [b"", b"caf\xe9 au lait", b"%PDF-1.7", b"too short", b"PK\x03\x04 \0"])
def test_unusable_text_is_refused_and_writes_nothing(store: Store, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(SeedbedError, match=r"a\.txt"):
        actions.new_run(store, KINDS["train"], resolve(TRAIN, sets=[f"data.source=text:{tmp_path}/a.txt"]))
    assert not store.root.exists()


@pytest.mark.parametrize("value", ["tokenizer.vocab_size=100", "tokenizer.path=/nowhere"])
def test_an_unusable_tokenizer_is_refused_and_writes_nothing(store: Store, value: str) -> None:
    with pytest.raises(UsageError, match="tokenizer"):
        actions.new_run(store, KINDS["train"], resolve(TRAIN, sets=[value]))
    assert not store.root.exists()


def test_a_store_path_that_is_not_utf_8_is_refused_and_writes_nothing(tmp_path: Path) -> None:
    store = Store(Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")))
    with pytest.raises(UsageError, match=r"caf\\xe9") as raised:
        actions.new_run(store, KINDS["train"], resolve(TRAIN))
    assert "--runs" in raised.value.hint
    assert not store.root.exists()


def test_a_run_folder_whose_name_is_not_utf_8_is_refused_with_that_reason(run: RunDir) -> None:
    moved = RunDir(run.path.rename(os.fsdecode(os.fsencode(run.path.parent) + b"/caf\xe9")))
    for call in (lambda: actions.start(moved), lambda: list(actions.ask_checkpoint("score", moved, None, {}))):
        with pytest.raises(UsageError, match=r"caf\\xe9.* is not UTF-8"):
            call()


def test_missing_text_is_refused_and_writes_nothing(store: Store) -> None:
    with pytest.raises(UsageError, match="/nowhere"):
        actions.new_run(store, KINDS["train"], resolve(TRAIN, sets=["data.source=text:/nowhere"]))
    assert not store.root.exists()


@pytest.mark.parametrize("value", ["model.context=1000000", "train.batch_size=1000000000", "model.hidden=10000000"])
def test_a_config_that_does_not_fit_in_memory_is_refused_and_writes_nothing(store: Store, value: str) -> None:
    with pytest.raises(UsageError, match="of memory, but this machine has") as caught:
        actions.new_run(store, KINDS["train"], resolve(TRAIN, sets=[value]))
    assert caught.value.hint
    assert not store.root.exists()
    assert [finding.code for finding in actions.examine(resolve(TRAIN, sets=[value]).config, store)].count(
        "memory"
    ) == 1


def test_git_commit_is_the_head_with_a_plus_for_uncommitted_changes(tmp_path: Path) -> None:
    assert git_commit(tmp_path) is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"], ["tag", "v1"]):
        subprocess.run([*git, *words], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert git_commit(tmp_path) == commit
    (tmp_path / "f").write_text("x")
    subprocess.run([*git, "add", "f"], check=True)
    assert git_commit(tmp_path) == commit + "+"


def test_follow_yields_every_event_of_its_launch_and_ends(run: RunDir) -> None:
    launch = actions.start(run)
    actions.wait_until_started(launch)
    records = [record for record in actions.follow(launch) if record is not None]
    assert [record.n for record in records] == list(range(len(records)))
    assert records[-1].kind == "run"
    again = actions.start(run, ResumeOptions(more_steps=5))
    steps = [record.raw["step"] for record in actions.follow(again) if record is not None and record.kind == "step"]
    assert steps == [31, 32, 33, 34, 35]


def test_a_job_that_cannot_start_is_reported_with_its_last_output(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "JOBS", (sys.executable, "-c", "raise SystemExit('no luck today')"))
    with pytest.raises(SeedbedError, match="no luck today") as caught:
        actions.wait_until_started(actions.start(run))
    assert "job.log" in caught.value.hint
    assert actions.has_checkpoint(run) is False


def test_a_run_with_an_open_session_is_busy(run: RunDir) -> None:
    actions.start(run).process.wait()
    with Session(run.path):
        with pytest.raises(RunBusyError):
            actions.resume(run, ResumeOptions(more_steps=1))
        with pytest.raises(RunBusyError):
            actions.wait_until_started(actions.start(run))
    assert status(run)["session"] == 2


def test_stopped_runs_are_resumable_but_running_or_untrained_failed_ones_are_not(store: Store, run: RunDir) -> None:
    assert not actions.is_resumable(run)
    with Session(run.path):
        assert actions.is_running(run)
        assert not actions.is_resumable(run)
    with Session(run.path) as session:
        session.finish("stopped")
    assert actions.is_resumable(run)
    assert not actions.is_extendable(run), "there is nothing to add steps to"
    with Session(run.path) as session:
        session.finish("failed", reason="no text")
    assert not actions.is_resumable(run), "it never trained"
    with pytest.raises(UsageError):
        store.find(None, fits=actions.is_resumable)


def test_stop_refuses_a_completed_run(run: RunDir) -> None:
    actions.start(run).process.wait()
    with pytest.raises(SeedbedError, match="completed"):
        actions.stop(run)


def answers(verb: str, request: dict[str, object]) -> Iterator[dict[str, object]]:
    with actions.child(verb, request) as child:
        yield from child


def test_a_crashed_child_raises_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_FAIL", "generate-crash")
    with pytest.raises(SeedbedError):
        list(answers("generate", {"num_samples": 1, "temperature": 1, "top_k": 0}))
    monkeypatch.setattr(launching, "JOBS", (sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"))
    with pytest.raises(SeedbedError, match="signal 9"):
        list(answers("generate", {}))
    monkeypatch.setattr(
        launching, "JOBS", (sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGBUS)")
    )
    with pytest.raises(SeedbedError, match="became shorter"):
        list(answers("generate", {}))


def test_a_child_process_ends_with_its_context_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_STEP_S", "30")
    with actions.child("generate", {"num_samples": 9, "temperature": 1, "top_k": 0}) as child:
        assert next(iter(child))["ready"]
        process = child._process
    assert process.returncode is not None


# Requests to a running run -------------------------------------------------------------------------------------------


def status_of(run: RunDir) -> str:
    return current_status(run).status


def events(run: RunDir, kind: str) -> list[dict[str, Any]]:
    return [event for event in map(json.loads, run.events.read_bytes().splitlines()) if event["kind"] == kind]


@pytest.fixture
def endless(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., RunDir]]:
    """Starts runs that train until they are stopped, and kills those that are left at the end."""
    launched: list[actions.Launch] = []

    def start_run(name: str, turn: StartCondition | None = None, fail: str = "", steps: int = 100_000) -> RunDir:
        monkeypatch.setenv("FAKE_FAIL", fail)
        monkeypatch.setenv("FAKE_STEP_S", "0.01")
        made = actions.new_run(store, KINDS["train"], resolve(TRAIN, sets=[f"train.steps={steps}"]), name)
        launched.append(actions.start(made, turn=turn))
        actions.wait_until_started(launched[-1])
        if turn is None:
            until(lambda: current_status(made).view.step > 2)
        return made

    yield start_run
    for launch in launched:
        if launch.process.poll() is None:
            launch.process.kill()
        launch.process.wait()


def test_a_paused_run_saves_takes_no_step_and_continues_from_the_same_step(endless: Callable[..., RunDir]) -> None:
    run = endless("alpha")
    assert actions.pause(run).wait(lambda now: now.status == "paused").status == "paused"
    paused = status(run)
    assert paused["checkpoint_step"] == paused["step"], "a step is not saved"
    assert (actions.is_paused(run), actions.is_live(run), actions.can_resume(run)) == (True, True, True)
    with pytest.raises(SeedbedError, match="already paused"):
        actions.pause(run)
    with pytest.raises(SeedbedError, match="saved a checkpoint when it paused"):
        actions.save_now(run)
    with pytest.raises(SeedbedError, match="only be resumed without options"):
        actions.resume(run, ResumeOptions(more_steps=5))
    time.sleep(0.2)
    assert status(run)["step"] == paused["step"]
    actions.unpause(run).wait(lambda now: now.view.step > paused["step"], within_s=20)
    assert status_of(run) == "running"
    with pytest.raises(SeedbedError, match=r"not paused \(running\)"):
        actions.unpause(run)
    actions.wait_until_ended(actions.stop(run))
    steps = [event["step"] for event in events(run, "step")]
    assert steps == list(range(1, len(steps) + 1)), "a step was repeated or skipped"
    assert status(run)["session"] == 1


def test_a_pause_request_can_be_cancelled_before_the_run_pauses(run: RunDir) -> None:
    with Session(run.path) as session:
        actions.pause(run)
        until(lambda: session.pause_requested)
        assert actions.is_paused(run)
        actions.unpause(run)
        until(lambda: not session.pause_requested)
        assert not actions.is_paused(run)


def test_a_paused_run_can_be_stopped(endless: Callable[..., RunDir]) -> None:
    run = endless("alpha")
    actions.pause(run).wait(lambda now: now.status == "paused")
    assert actions.wait_until_ended(actions.stop(run)).status == "stopped"
    with pytest.raises(SeedbedError, match=r"not running \(stopped\)"):
        actions.pause(run)


def test_save_now_saves_while_the_run_continues(
    endless: Callable[..., RunDir], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_SAVE_EVERY", "1000000")
    run = endless("alpha")
    before = actions.save_now(run).current.view.step
    until(lambda: any(event["step"] > before for event in events(run, "checkpoint")))
    assert status_of(run) == "running"
    actions.wait_until_ended(actions.stop(run))
    with pytest.raises(SeedbedError, match="stopped"):
        actions.save_now(run)


def test_a_run_paused_by_a_full_disk_refuses_unpause_and_pause(run: RunDir) -> None:
    with Session(run.path) as session:
        session.emit_status("paused", "The disk is full.", "Free some space.")
        with pytest.raises(SeedbedError, match="The disk is full") as caught:
            actions.unpause(run)
        assert caught.value.hint == "Free some space."
        with pytest.raises(SeedbedError, match="paused: The disk is full"):
            actions.pause(run)


def test_a_stopping_run_refuses_every_request_but_stop(run: RunDir) -> None:
    with Session(run.path):
        actions.stop(run)
        for send_request in (actions.pause, actions.save_now, actions.unpause):
            with pytest.raises(SeedbedError, match="is stopping"):
                send_request(run)
        actions.stop(run)


def test_every_request_has_the_signal_that_a_session_handles_for_it() -> None:
    assert {verb: SIGNALS[number] for verb, number in requests.SIGNAL_OF.items()} == {
        verb: verb for verb in (STOP, SAVE, PAUSE, RESUME)
    }
    assert signal.SIGKILL not in requests.SIGNAL_OF.values()


def test_a_job_whose_heartbeat_hangs_gets_requests_by_signal(
    endless: Callable[..., RunDir], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "PATIENCE_S", 0.3)
    run = endless("alpha", fail="deaf")
    begun = time.monotonic()
    assert actions.pause(run).wait(lambda now: now.status == "paused", within_s=20).status == "paused"
    assert time.monotonic() - begun > 0.3, "the signal was sent before the job had time to read the control file"
    step = status(run)["step"]
    actions.unpause(run).deliver()
    until(lambda: status(run)["step"] > step)
    saves = len(events(run, "checkpoint"))
    actions.save_now(run).deliver()
    until(lambda: len(events(run, "checkpoint")) > saves)
    assert actions.wait_until_ended(actions.stop(run)).status == "stopped"
    assert status(run)["checkpoint_step"] == status(run)["step"]


def test_a_job_that_reads_a_request_gets_no_signal(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "PATIENCE_S", 0.0)
    sent: list[object] = []
    monkeypatch.setattr(requests, "send_signal", lambda *what: sent.append(what))
    with Session(run.path, heartbeat_s=0.1) as session:
        request = actions.pause(run)
        until(request.is_read)
        request.deliver()
        until(lambda: session.pause_requested)
        assert not request.repeat()
    assert sent == []


def test_a_run_can_be_stopped_on_a_full_disk(endless: Callable[..., RunDir], monkeypatch: pytest.MonkeyPatch) -> None:
    run = endless("alpha")

    def full(*_: object) -> None:
        raise SeedbedError("No space left while writing control.json.")

    monkeypatch.setattr(control, "write_request", full)
    assert actions.wait_until_ended(actions.stop(run)).status == "stopped"
    monkeypatch.undo()
    with Session(run.path) as session:
        monkeypatch.setattr(control, "write_request", full)
        monkeypatch.setattr(requests, "send_signal", lambda *_: False)
        with pytest.raises(SeedbedError, match="No space left"):
            actions.stop(run)
        assert session.stop_requested is None


# The queue -----------------------------------------------------------------------------------------------------------


def test_queued_runs_start_in_the_order_of_the_queue(endless: Callable[..., RunDir], store: Store) -> None:
    first = endless("first")
    third = endless("third", StartCondition(after=store.root / "nothing"), steps=3)
    until(lambda: status_of(third) == "completed")
    second = endless("second", StartCondition(after=first.path), steps=3)
    last = endless("last", StartCondition(queue=True, after=second.path), steps=3)
    until(lambda: [place.waits_for for place in queue_items(store)] == [None, first.id, second.id])
    assert [place.run.name() for place in queue_items(store)] == ["first", "second", "last"]
    for send_request in (actions.pause, actions.save_now):
        with pytest.raises(SeedbedError, match="queued"):
            send_request(second)
    assert actions.wait_until_ended(actions.stop(last)).status == "stopped"
    assert status(last)["step"] == 0
    actions.wait_until_ended(actions.stop(first))
    until(lambda: status_of(second) == "completed")
    begun = next(event["t"] for event in events(second, "run") if event.get("steps"))
    assert begun >= events(first, "run")[-1]["t"]
    assert queue_items(store) == []


def test_a_run_that_would_wait_for_itself_is_refused(run: RunDir, store: Store) -> None:
    with pytest.raises(UsageError, match="cannot wait for itself"):
        actions.start(run, turn=StartCondition(after=run.path))
    other = actions.new_run(store, KINDS["train"], resolve(TRAIN), "other")
    third = actions.new_run(store, KINDS["train"], resolve(TRAIN), "third")
    with (
        Session(other.path, turn=StartCondition(after=run.path)),
        Session(third.path, turn=StartCondition(after=other.path)),
    ):
        with pytest.raises(UsageError, match=f'"{third.id}" is waiting for "{run.id}"'):
            actions.start(run, turn=StartCondition(after=third.path))
        assert not run.events.exists()
    with Session(other.path, turn=StartCondition(queue=True)):
        actions.start(
            run, turn=StartCondition(after=other.path)
        ).process.kill()  # the wait of an earlier session does not count


def test_a_queued_run_does_not_wait_again_for_a_run_that_is_resumed(
    endless: Callable[..., RunDir], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, device = endless("first"), endless("device")
    waiting = endless("waiting", StartCondition(queue=True, after=first.path), steps=3)
    until(lambda: first.id in (current_status(waiting).view.reason or ""))
    actions.wait_until_ended(actions.stop(first))
    until(lambda: device.id in (current_status(waiting).view.reason or ""))
    again = actions.resume(first, ResumeOptions(), StartCondition(queue=True))
    until(lambda: status_of(first) == "queued" and current_status(first).view.reason)
    actions.wait_until_ended(actions.stop(device))
    until(lambda: status_of(waiting) == "completed")
    actions.wait_until_ended(actions.stop(first))
    again.process.wait()


# Deleting ------------------------------------------------------------------------------------------------------------


def test_a_deleted_run_leaves_nothing(run: RunDir, store: Store) -> None:
    actions.start(run).process.wait()
    size = sum(path.stat().st_size for path in run.path.rglob("*") if path.is_file())
    assert actions.delete(run) == size
    assert {path.name for path in store.root.iterdir()} <= {".names.lock"}, "more than the store's lock is left"


def test_a_run_in_use_is_not_deleted(run: RunDir, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_ENDING_S", 0.1)

    def refused(word: str) -> None:
        with pytest.raises(SeedbedError, match=word) as caught:
            actions.delete(run)
        assert f"seedbed stop {run.id}" in caught.value.hint
        assert run.events.exists()

    with Session(run.path) as session:
        session.emit(Step(step=1, loss=2.0, lr=0.1, grad_norm=1.0, tokens=1, step_s=0.1))
        refused("running")
        session.emit_status("paused", "asked to pause")
        refused("paused")
    with Session(run.path, turn=StartCondition(queue=True)):
        refused("queued")
    with Session(run.path) as session:
        session.finish("completed")
        refused("just started to use")
    actions.delete(run)


def test_a_link_to_a_run_is_not_deleted(run: RunDir, store: Store, tmp_path: Path) -> None:
    place = Store(tmp_path / "other")
    place.root.mkdir()
    (place.root / run.id).symlink_to(run.path)
    with pytest.raises(SeedbedError, match="is a link"):
        actions.delete(place.all()[0])
    assert run.config.exists()


def test_delete_reports_files_that_cannot_be_removed(run: RunDir) -> None:
    if os.geteuid() == 0:
        pytest.skip("root removes everything")
    locked = run.path / "checkpoints" / "step-00000001"
    locked.mkdir(parents=True)
    (locked / "DONE").write_text("{}")
    with Session(run.path) as session:
        session.finish("completed")
    locked.chmod(0o500)
    with pytest.raises(SeedbedError, match="Some files of"):
        actions.delete(run)


def test_resume_of_a_stopping_run_says_how_to_wait_for_it(endless: Callable[..., RunDir]) -> None:
    run = endless("alpha")
    actions.pause(run).wait(lambda now: now.status == "paused")
    process = current_status(run).view.run["pid"]
    os.kill(process, signal.SIGSTOP)  # so that it cannot end before the check
    try:
        requests.stop(run)
        error = actions.busy_error(run)
    finally:
        os.kill(process, signal.SIGCONT)
    assert "is stopping" in error.message
    assert f"seedbed stop {run.id} --wait" in error.hint
