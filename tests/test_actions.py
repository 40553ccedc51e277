"""The verbs below every front end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from seedbed import actions
from seedbed.config.load import load_frozen, resolve
from seedbed.errors import SeedbedError, UsageError
from seedbed.runs.control import Resume
from seedbed.runs.session import RunBusyError, Session
from seedbed.runs.status import status
from seedbed.runs.store import RunDir, Store

FAKE_JOB = Path(__file__).with_name("fake_job.py")


@pytest.fixture(autouse=True)
def _jobs_that_train_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "JOBS", (sys.executable, str(FAKE_JOB)))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


@pytest.fixture
def run(store: Store) -> RunDir:
    return actions.new_run(store, resolve(sets=["train.steps=30"]), "alpha")


@pytest.mark.parametrize(
    ("preset", "source", "name"),
    [
        ("nano", "stories", "nano-stories"),
        ("tiny", "text:/home/me/My Novels", "tiny-my-novels"),
        ("tiny", "text:/home/me/corpus.txt", "tiny-corpus"),
        ("small", "hf:roneneldan/TinyStories:default@text", "small-default"),
        ("base", "/data/prepared/", "base-prepared"),
        ("nano", "text:/" + "x" * 200, "nano-" + "x" * 43),
        ("nano", "text:/小说", "nano"),
    ],
)
def test_default_names_tell_preset_and_data(preset: str, source: str, name: str) -> None:
    assert actions.default_name(preset, source) == name


def test_where_runs_live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEEDBED_RUNS", raising=False)
    assert actions.store().root == Path("runs")
    monkeypatch.setenv("SEEDBED_RUNS", "/somewhere")
    assert actions.store().root == Path("/somewhere")
    assert actions.store("here").root == Path("here")


def test_a_new_run_holds_all_that_is_needed_to_do_it_again(store: Store) -> None:
    wanted = resolve(sets=["train.steps=12", "optimizer.lr=2e-5"])
    run = actions.new_run(store, wanted, command=["seedbed", "train"])
    assert load_frozen(run.config) == wanted.config
    meta = run.meta()
    assert meta["preset"] == "nano"
    assert meta["command"] == ["seedbed", "train"]
    assert meta["versions"]["seedbed"]
    assert actions.new_run(store, wanted).name() == "nano-stories-2"


@pytest.mark.parametrize("name", ["", "a/b", "latest", "x" * 65])
def test_a_bad_name_writes_nothing(store: Store, name: str) -> None:
    with pytest.raises(UsageError):
        actions.new_run(store, resolve(), name)
    assert not store.root.exists()


def test_missing_text_writes_nothing(store: Store) -> None:
    with pytest.raises(UsageError, match="/nowhere"):
        actions.new_run(store, resolve(sets=["data.source=text:/nowhere"]))
    assert not store.root.exists()


def test_the_commit_of_a_checkout(tmp_path: Path) -> None:
    assert actions.git_commit(tmp_path) is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"], ["tag", "v1"]):
        subprocess.run([*git, *words], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert actions.git_commit(tmp_path) == commit
    (tmp_path / "f").write_text("x")
    subprocess.run([*git, "add", "f"], check=True)
    assert actions.git_commit(tmp_path) == commit + "+"


def test_follow_tells_everything_of_this_launch_and_ends(run: RunDir) -> None:
    launch = actions.start(run)
    actions.wait_until_begun(launch)
    told = [record for record in actions.follow(launch) if record is not None]
    assert [record.n for record in told] == list(range(len(told)))
    assert told[-1].kind == "run"
    again = actions.start(run, Resume(more_steps=5))
    steps = [record.raw["step"] for record in actions.follow(again) if record is not None and record.kind == "step"]
    assert steps == [31, 32, 33, 34, 35]


def test_a_job_that_cannot_start_is_told_with_its_last_words(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "JOBS", (sys.executable, "-c", "raise SystemExit('no luck today')"))
    with pytest.raises(SeedbedError, match="no luck today") as caught:
        actions.wait_until_begun(actions.start(run))
    assert "job.log" in caught.value.hint
    assert actions.has_checkpoint(run) is False


def test_a_run_that_somebody_has_is_busy(run: RunDir) -> None:
    actions.start(run).process.wait()
    with Session(run.path):
        with pytest.raises(RunBusyError):
            actions.resume(run, Resume(more_steps=1))
        with pytest.raises(RunBusyError):
            actions.wait_until_begun(actions.start(run))
    assert status(run)["session"] == 2


def test_what_can_be_resumed(store: Store, run: RunDir) -> None:
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


def test_stopping_what_does_not_run(run: RunDir) -> None:
    actions.start(run).process.wait()
    with pytest.raises(SeedbedError, match="completed"):
        actions.stop(run)


def answers(verb: str, request: dict[str, object]) -> Iterator[dict[str, object]]:
    with actions.child(verb, request) as child:
        yield from child


def test_a_child_that_breaks_is_told_with_its_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_FAIL", "generate-crash")
    with pytest.raises(SeedbedError):
        list(answers("generate", {"num_samples": 1, "temperature": 1, "top_k": 0}))
    monkeypatch.setattr(actions, "JOBS", (sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"))
    with pytest.raises(SeedbedError, match="signal 9"):
        list(answers("generate", {}))


def test_a_child_ends_with_its_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_STEP_S", "30")
    with actions.child("generate", {"num_samples": 9, "temperature": 1, "top_k": 0}) as child:
        assert next(iter(child))["ready"]
        process = child._process
    assert process.returncode is not None
