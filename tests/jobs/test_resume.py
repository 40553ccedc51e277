"""Training jobs in this process that are stopped, killed, taken back to an earlier step, and resumed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from seedbed import actions
from seedbed.actions import launching
from seedbed.checkpoint.marker import verify
from seedbed.config.frozen import dump, load_frozen
from seedbed.config.resolving import resolve
from seedbed.config.roots import TRAIN
from seedbed.errors import SeedbedError, UsageError
from seedbed.events import Event, Step
from seedbed.jobs.__main__ import run_job
from seedbed.runs.caches import dataset_of
from seedbed.runs.control import ResumeOptions, StartCondition
from seedbed.runs.curves.series import Series
from seedbed.runs.lookup import find_checkpoint
from seedbed.runs.metrics import metrics
from seedbed.runs.retention import plan_pruning, prune_checkpoints
from seedbed.runs.session import Session
from seedbed.runs.status import status
from seedbed.runs.store import RunDir, Store
from tiny import MODEL_AND_DATA

TINY = (
    *MODEL_AND_DATA,
    "train.batch_size=2",
    "train.threads=1",
    "train.steps=6",
    "train.eval_every=2",
    "train.checkpoint_every=2",
    "train.keep_last=3",
    "train.compile=off",
    "train.precision=fp32",
    "train.sample_tokens=2",
    "optimizer.lr=0.002",
)


class KilledError(BaseException):
    """Simulates a killed process, which logs nothing more."""


class Bench:
    """A store whose jobs run in this process and can be stopped or killed after a step."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = Store(folder / "runs")
        self.at: dict[int, Callable[[Session], None]] = {}
        emit = Session.emit

        def watched(session: Session, event: Event, t: float | None = None) -> None:
            emit(session, event, t)
            if isinstance(event, Step) and event.step in self.at:
                self.at.pop(event.step)(session)

        monkeypatch.setattr(Session, "emit", watched)

    def new(self, *sets: str) -> RunDir:
        resolved = resolve(TRAIN, preset="nano", sets=(*TINY, *sets))
        return self.store.create("train", "tiny", dump(resolved.config, resolved.origins), {})

    def train(self, run: RunDir, resume: ResumeOptions | None = None, *, expect: int = 0) -> dict[str, Any]:
        code = run_job(run.path, resume or ResumeOptions(), StartCondition())
        assert code == expect, status(run)["reason"]
        return status(run)

    def stop_after(self, step: int) -> None:
        def stop(session: Session) -> None:
            session.stop_requested = "asked to stop"

        self.at[step] = stop

    def kill_after(self, step: int) -> None:
        def kill(session: Session) -> None:
            raise KilledError

        self.at[step] = kill

    def killed(self, run: RunDir, step: int, resume: ResumeOptions | None = None) -> None:
        self.kill_after(step)
        with pytest.raises(KilledError):
            run_job(run.path, resume or ResumeOptions(), StartCondition())


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def bench(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setenv("SEEDBED_CACHE", str(cache))
    threads = torch.get_num_threads()
    yield Bench(tmp_path, monkeypatch)
    torch.set_num_threads(threads)


def events(run: RunDir, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in run.events.read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def begun_at(run: RunDir) -> list[int]:
    """The steps at which sessions began."""
    return [event["step"] for event in events(run, "run") if event.get("steps")]


def trained(run: RunDir) -> list[tuple[int, float, float]]:
    """(step, loss, learning rate) of the steps in force."""
    return [(each.step, each.loss or 0.0, each.lr or 0.0) for each in metrics(run)]


def weights(path: Path) -> bytes:
    return (path / "model.safetensors").read_bytes()


def in_folder(run: RunDir) -> list[str]:
    return sorted(path.relative_to(run.checkpoints).as_posix() for path in run.checkpoints.rglob("step-*"))


# Going back ----------------------------------------------------------------------------------------------------------


def test_steps_made_void_by_going_back_stay_void_after_a_kill(bench: Bench) -> None:
    run = bench.new()
    bench.train(run)
    bench.killed(run, 3, ResumeOptions(from_checkpoint="2"))
    assert status(run)["checkpoint_step"] == 2
    assert find_checkpoint(run, "latest") == run.checkpoints / "step-00000002"
    bench.train(run)
    assert begun_at(run) == [0, 2, 2], "the job resumed from a void step"
    assert [step for step, _, _ in trained(run)] == [1, 2, 3, 4, 5, 6]


def test_a_void_checkpoint_that_was_not_moved_is_not_used(bench: Bench) -> None:
    run = bench.new()
    bench.train(run)
    bench.killed(run, 3, ResumeOptions(from_checkpoint="2"))
    left = run.checkpoints / "left-at-00000002-by-session-2"
    for path in left.iterdir():  # as if the job had died between the log event and the move
        path.rename(run.checkpoints / path.name)
    left.rmdir()
    assert status(run)["checkpoint_step"] == 2
    bench.train(run)
    assert begun_at(run) == [0, 2, 2]
    assert "left-at-00000002-by-session-3/step-00000006" in in_folder(run)


def test_going_back_keeps_the_best_and_the_last_checkpoint_and_reports_it(bench: Bench) -> None:
    run = bench.new()
    before = bench.train(run)
    assert before["best_step"] == 6
    kept = weights(run.checkpoints / "step-00000006")
    after = bench.train(run, ResumeOptions(more_steps=1, from_checkpoint="2"))
    assert in_folder(run) == [
        "left-at-00000002-by-session-2/step-00000004",
        "left-at-00000002-by-session-2/step-00000006",
        "step-00000002",
        "step-00000003",
    ]
    best = run.checkpoints / "left-at-00000002-by-session-2" / "step-00000006"
    assert weights(best) == kept
    verify(best)
    assert find_checkpoint(run, "best") == best
    assert find_checkpoint(run, "6") == best
    assert find_checkpoint(run, "latest").name == "step-00000003"
    assert (after["best_step"], after["best_val_loss"]) == (6, before["best_val_loss"])
    assert after["best_checkpoint"] == str(best)
    assert after["checkpoint_step"] == 3
    assert [event["best"] for event in events(run, "eval")][-1] is False, "a worse loss was called the best"
    message = next(event for event in events(run, "message") if event["code"] == "left-behind")
    assert message["text"] == "The run resumes from step 2: steps 3 to 6 are superseded."
    assert "step 4, 6" in message["why"]
    assert "checkpoints/left-at-00000002-by-session-2" in message["why"]


def test_going_back_twice_and_pruning_keep_the_best_checkpoint(bench: Bench) -> None:
    run = bench.new()
    bench.train(run)
    bench.train(run, ResumeOptions(more_steps=1, from_checkpoint="2"))
    bench.train(run, ResumeOptions(more_steps=2, from_checkpoint="2"))
    best = run.checkpoints / "left-at-00000002-by-session-2" / "step-00000006"
    assert "left-at-00000002-by-session-3/step-00000003" in in_folder(run)
    planned = plan_pruning(run)
    assert planned is not None
    prune_checkpoints(planned)
    assert in_folder(run) == ["left-at-00000002-by-session-2/step-00000006", "step-00000004"]
    assert not (run.checkpoints / "left-at-00000002-by-session-3").exists()
    assert find_checkpoint(run, "best") == best
    verify(best)


def test_a_run_can_resume_from_a_checkpoint_that_was_left_behind(bench: Bench) -> None:
    run = bench.new()
    bench.train(run)
    bench.train(run, ResumeOptions(more_steps=1, from_checkpoint="2"))
    left = find_checkpoint(run, "6")
    bench.train(run, ResumeOptions(more_steps=2, from_checkpoint=str(left)))
    found = status(run)
    assert (found["step"], found["checkpoint_step"]) == (8, 8)
    assert "left-at-00000002-by-session-3/step-00000003" in in_folder(run)
    assert [step for step, _, _ in trained(run)] == [1, 2, 7, 8], "steps of another branch were counted"
    assert [event["step"] for event in events(run, "checkpoint")][-2:] == [6, 8], (
        "the checkpoint was not saved again at once"
    )


def test_a_better_loss_after_going_back_becomes_the_best(bench: Bench) -> None:
    run = bench.new()
    bench.train(run)
    found = bench.train(run, ResumeOptions(more_steps=12, from_checkpoint="2"))
    assert found["best_step"] > 6
    assert find_checkpoint(run, "best").parent == run.checkpoints


def test_resume_uses_a_finished_checkpoint_that_is_missing_from_the_log(bench: Bench) -> None:
    run = bench.new()
    bench.train(run)
    lines = run.events.read_bytes().splitlines(keepends=True)
    last = max(number for number, line in enumerate(lines) if b'"kind":"checkpoint"' in line)
    cut = next(number for number, line in enumerate(lines) if b'"step":3,' in line and b'"kind":"step"' in line)
    assert last > cut
    run.events.write_bytes(b"".join(lines[:cut]))  # as after a power cut: the last events are lost
    run.state.unlink()
    bench.train(run)
    assert begun_at(run) == [0, 6]


def test_a_damaged_newest_checkpoint_is_set_aside_and_never_deleted(bench: Bench) -> None:
    run = bench.new()
    bench.train(run)
    with (run.checkpoints / "step-00000006" / "optimizer.safetensors").open("r+b") as file:
        file.write(b"\0\0")
    bench.train(run, ResumeOptions(more_steps=2))
    assert begun_at(run) == [0, 4]
    assert "damaged-found-by-session-2/step-00000006" in in_folder(run)
    assert find_checkpoint(run, "best").parent == run.checkpoints, "a damaged checkpoint was called the best"
    assert [step for step, _, _ in trained(run)] == list(range(1, 9))


# Stopping ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def uninterrupted(bench: Bench) -> RunDir:
    """A run without an interruption."""
    run = bench.new("train.eval_tokens=64")
    bench.train(run)
    return run


@pytest.mark.parametrize("step", [1, 3, 4, 6])
def test_a_stop_at_any_step_loses_no_validation_and_no_sample(bench: Bench, uninterrupted: RunDir, step: int) -> None:
    run = bench.new("train.eval_tokens=64", "train.sample_every=4")
    bench.stop_after(step)
    found = bench.train(run)
    assert (found["status"], found["step"], found["checkpoint_step"]) == ("stopped", step, step)
    found = bench.train(run)
    assert (found["status"], found["step"]) == ("completed", 6)
    assert trained(run) == trained(uninterrupted)
    figures = [(each["step"], each["loss"], each["full"], each["best"]) for each in events(run, "eval")]
    assert figures == [
        (each["step"], each["loss"], each["full"], each["best"]) for each in events(uninterrupted, "eval")
    ]
    assert [each["step"] for each in events(run, "sample")] == [4, 6]
    last = run.checkpoints / "step-00000006"
    assert weights(last) == weights(uninterrupted.checkpoints / "step-00000006")
    assert find_checkpoint(run, "best") == last
    assert json.loads((last / "DONE").read_text())["best"] is True
    assert begun_at(run) == [0, step]


def test_resume_finishes_a_run_that_died_after_its_last_checkpoint(bench: Bench) -> None:
    run = bench.new()
    bench.train(run)
    lines = run.events.read_bytes().splitlines(keepends=True)
    run.events.write_bytes(b"".join(lines[:-1]))  # without its last event
    run.state.unlink()
    assert status(run)["status"] != "completed"
    assert bench.train(run)["status"] == "completed"
    assert [each["step"] for each in events(run, "eval")] == [2, 4, 6]
    assert [each["step"] for each in events(run, "sample")] == [6]


def test_a_run_stopped_at_its_last_step_can_be_trained_further(bench: Bench) -> None:
    run = bench.new("train.eval_every=0")
    bench.stop_after(6)
    bench.train(run)
    found = bench.train(run, ResumeOptions(more_steps=2))
    assert (found["status"], found["step"]) == ("completed", 8)
    assert [each["step"] for each in events(run, "eval")] == [8], "a step that is no longer the last one was validated"


# Early stopping ------------------------------------------------------------------------------------------------------

RISING = ("optimizer.name=adamw", "optimizer.lr=0.5", "train.steps=40", "train.early_stop=2", "train.eval_tokens=64")


@pytest.fixture
def stopped_early(bench: Bench) -> RunDir:
    run = bench.new(*RISING)
    found = bench.train(run)
    assert found["status"] == "completed"
    assert found["step"] < 40, "the learning rate should have made the loss rise"
    return run


def test_more_steps_after_early_stopping_start_with_full_patience(bench: Bench, stopped_early: RunDir) -> None:
    at = status(stopped_early)["step"]
    bench.train(stopped_early, ResumeOptions(more_steps=20))
    evals = [each["step"] for each in events(stopped_early, "eval") if each["step"] > at]
    assert len(evals) >= 3, "it stopped at the first validation: patience did not start anew"


def test_patience_starts_anew_even_if_the_resume_that_added_steps_was_killed(
    bench: Bench, stopped_early: RunDir
) -> None:
    at = status(stopped_early)["step"]
    bench.killed(stopped_early, at + 1, ResumeOptions(more_steps=20))
    bench.train(stopped_early)
    assert len([each["step"] for each in events(stopped_early, "eval") if each["step"] > at]) >= 3


def test_a_plain_resume_after_early_stopping_is_refused_with_the_ways_to_continue(stopped_early: RunDir) -> None:
    at = status(stopped_early)["step"]
    with pytest.raises(UsageError) as refused:
        actions.resume(stopped_early, ResumeOptions())
    assert f"ended at step {at} of 40. Stopped early: " in refused.value.message
    assert "2 validations without a better loss" in refused.value.message
    found = status(stopped_early)
    assert found["reason"].startswith("Stopped early: 2 validations")
    assert "--early-stop 0` continues to step 40" in found["hint"]
    assert f"seedbed resume {stopped_early.id} --early-stop 0" in refused.value.hint
    assert "--more-steps N" in refused.value.hint
    assert status(stopped_early)["status"] == "completed", "the refusal changed the run"
    (message,) = [each for each in events(stopped_early, "message") if each["code"] == "early-stop"]
    assert "train.early_stop" not in message["hint"], "it names a key of the frozen config"
    assert f"seedbed resume {stopped_early.id} --more-steps N" in message["hint"]


def test_early_stopping_can_be_switched_off_and_stays_off(bench: Bench, stopped_early: RunDir) -> None:
    at = status(stopped_early)["step"]
    bench.killed(stopped_early, at + 3, ResumeOptions(early_stop=0))
    found = bench.train(stopped_early)
    assert (found["status"], found["step"]) == ("completed", 40)
    assert [each.get("early_stop") for each in events(stopped_early, "run") if each.get("steps")] == [2, 0, 0]
    assert load_frozen(stopped_early.config, TRAIN).train.early_stop == 2


# Data that has moved -------------------------------------------------------------------------------------------------

WORDS = ("the", "old", "house", "stood", "near", "a", "quiet", "river", "and", "waited")


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    folder = tmp_path / "texts"
    folder.mkdir()
    for number in range(30):
        words = [WORDS[(number * 7 + place * place) % len(WORDS)] for place in range(200)]
        (folder / f"{number:02d}.txt").write_text(f"{number} {' '.join(words)}.\n")
    return folder


@pytest.fixture
def half_way(bench: Bench, texts: Path) -> RunDir:
    run = bench.new(f"data.source=text:{texts}")
    bench.stop_after(3)
    bench.train(run)
    return run


def test_a_run_resumes_with_cached_data_after_its_source_has_moved(bench: Bench, half_way: RunDir, texts: Path) -> None:
    texts.rename(texts.with_name("elsewhere"))
    found = bench.train(half_way)
    assert (found["status"], found["step"]) == ("completed", 6)
    (message,) = [each for each in events(half_way, "message") if each["code"] == "data-from-cache"]
    assert str(texts) in message["text"]
    assert "datasets" in message["why"]
    assert "--data SOURCE" in message["hint"]


def test_a_run_resumes_with_cached_data_after_its_source_has_changed(
    bench: Bench, half_way: RunDir, texts: Path
) -> None:
    before = {each["fingerprint"] for each in events(half_way, "data") if "fingerprint" in each}
    (texts / "extra.txt").write_text("another text " * 200)
    found = bench.train(half_way)
    assert (found["status"], found["step"]) == ("completed", 6)
    (message,) = [each for each in events(half_way, "message") if each["code"] == "data-from-cache"]
    assert "has changed" in message["text"]
    assert {each["fingerprint"] for each in events(half_way, "data") if "fingerprint" in each} == before
    assert not [each for each in events(half_way, "data") if each["stage"] == "tokenize"][1:], "it prepared other data"


def test_a_resume_may_name_a_new_data_source_and_later_ones_keep_it(
    bench: Bench, half_way: RunDir, texts: Path, cache: Path
) -> None:
    shutil.rmtree(cache / "datasets")
    moved = texts.rename(texts.with_name("elsewhere"))
    with pytest.raises(AssertionError, match="There is no file or folder"):
        bench.train(half_way)
    refused = status(half_way)
    assert refused["status"] == "stopped"
    assert f"seedbed resume {half_way.id} --data SOURCE" in refused["hint"]
    bench.stop_after(4)
    assert bench.train(half_way, ResumeOptions(data=f"text:{moved}"))["status"] == "stopped"
    assert bench.train(half_way)["status"] == "completed"
    sources = [each.get("data") for each in events(half_way, "run") if each.get("steps")]
    assert sources == [None, f"text:{moved}", f"text:{moved}"]


@pytest.fixture
def other(texts: Path, tmp_path: Path) -> Path:
    """A folder of other text in files of the same names."""
    other = tmp_path / "other"
    other.mkdir()
    for path in texts.iterdir():
        (other / path.name).write_text(path.read_text().replace("house", "horse"))
    return other


def test_another_text_is_refused_as_the_new_data_source(bench: Bench, half_way: RunDir, other: Path) -> None:
    found = bench.train(half_way, ResumeOptions(data=f"text:{other}"), expect=1)
    assert "changed" in found["reason"] or "not the text" in found["reason"]
    assert bench.train(half_way)["status"] == "completed", "the refused source was kept"
    with pytest.raises(UsageError, match="There is no file or folder"):
        actions.resume(half_way, ResumeOptions(data="text:/nowhere/at/all"))


@pytest.mark.parametrize("has_cache", [True, False])
def test_a_finished_run_stays_finished_when_its_job_refuses_other_text(
    bench: Bench, half_way: RunDir, other: Path, cache: Path, has_cache: bool
) -> None:
    before = bench.train(half_way)
    if not has_cache:
        shutil.rmtree(cache / "datasets")
    found = bench.train(half_way, ResumeOptions(data=f"text:{other}", more_steps=2), expect=1)
    assert (found["status"], found["step"], found["steps"]) == ("completed", 6, 6)
    assert found["reason"].startswith("The run was not resumed: ")
    assert found["checkpoint"] == before["checkpoint"]
    with pytest.raises(UsageError, match="is completed"):
        actions.resume(half_way, ResumeOptions())
    assert bench.train(half_way, ResumeOptions(more_steps=2))["step"] == 8
    assert status(half_way)["reason"] is None


def test_a_finished_run_stays_finished_when_its_resume_is_stopped_before_a_step(
    bench: Bench, half_way: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.train(half_way)
    emit = Session.emit

    def stopped_at_once(session: Session, event: Event, t: float | None = None) -> None:
        session.stop_requested = "asked to stop"
        emit(session, event, t)

    with monkeypatch.context() as patch:
        patch.setattr(Session, "emit", stopped_at_once)
        found = bench.train(half_way, ResumeOptions(more_steps=2))
    assert (found["status"], found["step"]) == ("completed", 6)
    assert "stopped before it trained a step" in found["reason"]


def test_other_text_is_refused_before_the_job_starts_if_a_quick_check_finds_it(
    bench: Bench,
    half_way: RunDir,
    texts: Path,
    other: Path,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench.train(bench.new(f"data.source=text:{other}"))
    started: list[ResumeOptions] = []
    monkeypatch.setattr(launching, "start", lambda run, resume, turn: started.append(resume))
    log = half_way.events.read_bytes()
    with pytest.raises(SeedbedError, match="is not the data that this run was trained on") as refused:
        actions.resume(half_way, ResumeOptions(data=f"text:{other}", more_steps=2))
    assert str(other) in refused.value.message
    assert "--like" in refused.value.hint
    fingerprint = dataset_of(half_way)
    prepared = {
        json.loads((each / "manifest.json").read_text())["fingerprint"]: each for each in cache.glob("datasets/*")
    }
    assert len(prepared) > 1, "no other prepared data to name"
    with pytest.raises(SeedbedError, match="is not the data"):
        actions.resume(
            half_way, ResumeOptions(data=str(next(path for key, path in prepared.items() if key != fingerprint)))
        )
    assert started == []
    assert half_way.events.read_bytes() == log
    actions.resume(half_way, ResumeOptions(data=f"text:{shutil.copytree(texts, tmp_path / 'moved')}"))
    actions.resume(half_way, ResumeOptions(data=str(prepared[str(fingerprint)])))
    shutil.rmtree(cache / "datasets")
    actions.resume(half_way, ResumeOptions(data=f"text:{other}"))
    assert len(started) == 3, "a source that only the job can check was refused"


# Refused before anything starts --------------------------------------------------------------------------------------


def test_more_steps_without_a_checkpoint_are_refused_and_the_run_is_unchanged(bench: Bench) -> None:
    run = bench.new()
    with Session(run.path) as session:
        session.finish("stopped")
    with pytest.raises(UsageError, match="has not saved a checkpoint to which steps could be added") as refused:
        actions.resume(run, ResumeOptions(more_steps=5))
    assert f"seedbed resume {run.id}" in refused.value.hint
    with pytest.raises(UsageError, match="no checkpoint"):
        actions.resume(run, ResumeOptions(from_checkpoint="20"))
    assert status(run)["status"] == "stopped"


def test_a_resume_that_would_train_nothing_is_refused_and_the_run_is_unchanged(bench: Bench) -> None:
    run = bench.new()
    bench.train(run)
    for resume in (
        ResumeOptions(),
        ResumeOptions(from_checkpoint="6"),
        ResumeOptions(from_checkpoint="best"),
        ResumeOptions(early_stop=0),
    ):
        with pytest.raises(UsageError, match=r"(has trained all of its|after the last planned step)") as refused:
            actions.resume(run, resume)
        assert "--more-steps" in refused.value.hint
    with pytest.raises(UsageError, match="--early-stop -1"):
        actions.resume(run, ResumeOptions(more_steps=1, early_stop=-1))
    assert status(run)["status"] == "completed"
    with pytest.raises(SeedbedError, match="no checkpoint"):
        actions.resume(run, ResumeOptions(from_checkpoint="5"))


# Comparable losses ---------------------------------------------------------------------------------------------------


def test_curves_and_tables_show_only_validations_over_the_same_tokens(bench: Bench, uninterrupted: RunDir) -> None:
    evals = events(uninterrupted, "eval")
    parts = [(each["step"], each["loss"]) for each in evals if not each["full"]]
    (final,) = [each for each in evals if each["full"]]
    assert [step for step, _ in parts] == [2, 4, 6]
    assert final["step"] == 6
    assert final["loss"] != parts[-1][1]
    assert [(mark.step, mark.loss) for mark in Series.load(uninterrupted).validations] == parts
    assert [(each.step, each.val_loss) for each in metrics(uninterrupted) if each.val_loss is not None] == parts
    found = status(uninterrupted)
    assert found["val_loss"] == parts[-1][1]
    assert found["final_val_loss"] == final["loss"]
    assert found["best_val_loss"] == min(loss for _, loss in parts)
