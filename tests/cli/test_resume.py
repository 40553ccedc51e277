"""`seedbed resume`, and what `status`, `queue` and `runs` show of resumed and pausing runs, in this process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from seedbed.actions import launching
from seedbed.cli.main import main
from seedbed.events import Checkpoint, Run, Step
from seedbed.runs.control import PAUSE, ResumeOptions, StartCondition, write_request
from seedbed.runs.session import Session
from seedbed.runs.store import RunDir, Store


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("SEEDBED_RUNS", str(tmp_path / "runs"))
    return Store(tmp_path / "runs")


def train(store: Store, name: str, *saved: int, status: str = "completed") -> RunDir:
    """A run with a checkpoint at each of the `saved` steps, trained to the last of them."""
    run = store.create("train", name, 'preset = "nano"\n[train]\nsteps = 9\n', {"preset": "nano"})
    with Session(run.path) as session:
        session.emit(Run(status="running", session=1, step=0, steps=max(saved, default=9)))
        for step in range(1, max(saved, default=0) + 1):
            session.emit(Step(step=step, loss=2.0, lr=0.1, grad_norm=1.0, tokens=step, step_s=0.1))
        for step in saved:
            path = run.checkpoints / f"step-{step:08d}"
            path.mkdir(parents=True)
            (path / "DONE").write_text("{}")
            (path / "model.safetensors").write_text("")
            session.emit(Checkpoint(step=step, path=f"checkpoints/{path.name}"))
        session.finish(status)
    return run


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[RunDir, ResumeOptions]]:
    """The resumes that were requested; no job is started."""
    found: list[tuple[RunDir, ResumeOptions]] = []

    def start(run: RunDir, resume: ResumeOptions, turn: StartCondition | None = None) -> None:
        found.append((run, resume))
        raise KeyboardInterrupt

    monkeypatch.setattr(launching, "start", start)
    return found


@pytest.fixture
def running(store: Store) -> Iterator[Session]:
    """The session of a running run; a newer run was stopped before it began."""
    run = store.create("train", "at-work", 'preset = "nano"\n', {"preset": "nano", "device_asked": "cpu"})
    with Session(run.path) as session:
        train(store, "never-began", status="stopped")
        yield session


def test_resume_from_an_earlier_checkpoint_warns_before_it_starts(
    store: Store, started: list[tuple[RunDir, ResumeOptions]], capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(store, "alpha", 3, 5, 6)
    main(["resume", "alpha", "--from", "3", "--more-steps", "2"])
    assert [(each.id, asked.more_steps) for each, asked in started] == [(run.id, 2)]
    error = capsys.readouterr().err
    assert f"{run.id} goes back to step 3: steps 4 to 6 are superseded." in error
    assert "Their checkpoints (5, 6) are kept in a separate folder." in error


def test_resume_from_the_newest_checkpoint_gives_no_warning(
    store: Store, started: list[tuple[RunDir, ResumeOptions]], capsys: pytest.CaptureFixture[str]
) -> None:
    train(store, "alpha", 3, 6)
    main(["resume", "alpha", "--more-steps", "2"])
    assert len(started) == 1
    assert "goes back" not in capsys.readouterr().err


def test_resume_passes_its_options_to_the_job(store: Store, started: list[tuple[RunDir, ResumeOptions]]) -> None:
    train(store, "alpha", 6, status="stopped")
    main(["resume", "--early-stop", "0", "--data", "stories", "--data-path", "copy"])
    ((_, asked),) = started
    assert asked == ResumeOptions(early_stop=0, data="stories", data_path=str(Path("copy").absolute()))
    assert asked.arguments() == ["--early-stop", "0", "--data", "stories", "--data-path", asked.data_path]


def test_resume_makes_a_relative_data_path_absolute(
    store: Store, started: list[tuple[RunDir, ResumeOptions]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(store, "alpha", 6, status="stopped")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("some text " * 4000)
    monkeypatch.chdir(tmp_path)
    main(["resume", "--data", "text:texts"])
    ((_, asked),) = started
    assert asked.data == f"text:{tmp_path / 'texts'}"


def test_steps_cannot_be_added_to_a_run_that_never_saved(
    store: Store, started: list[tuple[RunDir, ResumeOptions]], capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(store, "alpha", status="stopped")
    assert main(["resume", "alpha", "--more-steps", "5"]) == 2
    assert "has not saved a checkpoint to which steps could be added" in capsys.readouterr().err
    assert started == []
    assert run.events.read_bytes().count(b'"stopped"') == 1


def test_status_without_a_name_shows_the_running_run(running: Session, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "at-work"


def test_resume_without_a_name_chooses_the_pausing_run(running: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    write_request(running.run.control, PAUSE, 1)
    chosen: list[str] = []
    monkeypatch.setattr("seedbed.cli.resume.unpause", lambda found, **_: chosen.append(found.name()) or 0)
    assert main(["resume"]) == 0
    assert chosen == ["at-work"]


def test_queue_and_runs_both_show_a_run_as_pausing(running: Session, capsys: pytest.CaptureFixture[str]) -> None:
    running.emit(Run(status="running", session=1, step=0, steps=9, device="cpu"))
    write_request(running.run.control, PAUSE, 1)
    main(["queue"])
    queue = capsys.readouterr().out
    main(["runs"])
    assert "pausing" in queue
    assert "pausing" in capsys.readouterr().out
    assert "running" not in queue
    main(["queue", "--json"])
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["status"], found["asked"]) == ("running", "pause")


def test_status_shows_the_checkpoints_that_a_resume_set_aside(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    run = train(store, "alpha", 3, 5, 6)
    folder = run.checkpoints / "left-at-00000003-by-session-2"
    with Session(run.path) as session:
        session.emit(Run(status="running", session=2, step=3, steps=9, left=folder.name))
        folder.mkdir()
        for name in ("step-00000005", "step-00000006"):
            (run.checkpoints / name).rename(folder / name)
        session.finish("stopped")
    main(["status", "alpha"])
    assert "step 5, 6  in checkpoints/left-at-00000003-by-session-2" in capsys.readouterr().out
    main(["status", "alpha", "--json"])
    assert json.loads(capsys.readouterr().out)["checkpoint_step"] == 3
