"""Which checkpoints are in force, which were set aside, and which is the best: according to the log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seedbed.errors import UsageError
from seedbed.events import Checkpoint, Eval, Event, Run, Step, encode
from seedbed.runs.checkpoints import (
    best_checkpoint,
    checkpoints,
    common_step,
    is_at_end,
    latest_checkpoint,
    move_superseded,
    superseded_checkpoints,
    superseded_paths,
)
from seedbed.runs.control import ResumeOptions
from seedbed.runs.lookup import find_checkpoint
from seedbed.runs.resuming import Superseded, superseded_by
from seedbed.runs.status import read_view
from seedbed.runs.store import RunDir, Store
from seedbed.runs.summary import summary
from seedbed.runs.view import View


class RunWriter:
    """Writes the log and the checkpoint folders of a run."""

    def __init__(self, run: RunDir) -> None:
        self.run = run
        self._n = 0

    def log(self, *events: Event) -> None:
        with self.run.events.open("ab") as file:
            for event in events:
                file.write(encode(event, self._n, 1000.0 + self._n))
                self._n += 1

    def begin(self, session: int, step: int, left: str | None = None) -> None:
        self.log(Run(status="running", session=session, step=step, steps=100, left=left))

    def save(self, step: int, loss: float | None = None, *, full: bool = True, best: bool = False) -> Path:
        path = self.run.checkpoints / f"step-{step:08d}"
        path.mkdir(parents=True)
        (path / "DONE").write_text("{}")
        (path / "model.safetensors").write_text("")
        self.log(Step(step=step, loss=1.0, lr=0.1, grad_norm=1.0, tokens=step, step_s=0.1))
        if loss is not None:
            self.log(Eval(step=step, loss=loss, perplexity=1.0, tokens=10, full=full))
        self.log(Checkpoint(step=step, path=f"checkpoints/{path.name}", best=best))
        return path

    def go_back(self, session: int, step: int) -> None:
        """Begin a session at an earlier step and set later checkpoints aside, as a job does."""
        name = f"left-at-{step:08d}-by-session-{session}"
        self.begin(session, step, name)
        move_superseded(self.run, superseded_paths(self.run, self.view), name)

    @property
    def view(self) -> View:
        return read_view(self.run)


@pytest.fixture
def writer(tmp_path: Path) -> RunWriter:
    return RunWriter(Store(tmp_path).create("train", "alpha", "", {}))


def steps(found: object) -> list[int]:
    return [each.step for each in found]  # type: ignore[attr-defined]


def test_going_back_sets_later_checkpoints_aside_and_deletes_none(writer: RunWriter) -> None:
    writer.begin(1, 0)
    for step, loss in ((20, 5.0), (40, 2.0), (60, 3.0)):
        writer.save(step, loss)
    writer.go_back(2, 20)
    assert steps(checkpoints(writer.run, writer.view)) == [20]
    assert steps(superseded_checkpoints(writer.run)) == [40, 60]
    best = best_checkpoint(writer.run, writer.view)
    assert best is not None
    assert best.path == writer.run.checkpoints / "left-at-00000020-by-session-2" / "step-00000040"
    assert find_checkpoint(writer.run, "best") == best.path
    assert find_checkpoint(writer.run, "60").parent == best.path.parent
    assert find_checkpoint(writer.run, f"{best.path.parent.name}/step-00000060").name == "step-00000060"
    with pytest.raises(UsageError) as refused:
        find_checkpoint(writer.run, "50")
    assert "at steps: 20 (superseded: 40, 60). You can also use `latest` or `best`." in refused.value.hint


def test_a_checkpoint_that_a_run_does_not_have_is_refused_with_those_that_it_has(writer: RunWriter) -> None:
    writer.begin(1, 0)
    for name in ("7", "best"):
        with pytest.raises(UsageError, match=r"no (best )?checkpoint") as refused:
            find_checkpoint(writer.run, name)
        assert "`latest`" not in refused.value.hint
    writer.save(20)
    with pytest.raises(UsageError) as refused:
        find_checkpoint(writer.run, "77")
    assert refused.value.hint.endswith("at steps: 20. You can also use `latest`.")
    with pytest.raises(UsageError, match="has no best checkpoint") as refused:
        find_checkpoint(writer.run, "best")
    assert refused.value.hint == "Use `latest` or a step. For new runs, set train.keep_best = true."


def test_find_checkpoint_prefers_the_current_one_then_the_last_superseded_one(writer: RunWriter) -> None:
    writer.begin(1, 0)
    for step in (20, 40):
        writer.save(step)
    writer.go_back(2, 20)
    writer.save(40)
    assert find_checkpoint(writer.run, "40") == writer.run.checkpoints / "step-00000040"
    writer.go_back(3, 20)
    assert find_checkpoint(writer.run, "40").parent.name == "left-at-00000020-by-session-3"


def test_void_checkpoints_that_were_not_set_aside_are_not_listed_and_not_the_latest(writer: RunWriter) -> None:
    writer.begin(1, 0)
    for step, loss in ((20, 5.0), (40, 2.0)):
        writer.save(step, loss)
    writer.begin(2, 20)
    assert steps(checkpoints(writer.run, writer.view)) == [20]
    assert latest_checkpoint(writer.run, writer.view) == (20, writer.run.checkpoints / "step-00000020")
    assert [path.name for path in superseded_paths(writer.run, writer.view)] == ["step-00000040"]
    assert find_checkpoint(writer.run, "best").name == "step-00000040", "the best one may be void"


def test_the_best_is_chosen_among_validations_over_the_same_number_of_tokens(writer: RunWriter) -> None:
    writer.begin(1, 0)
    writer.save(20, 5.0, full=False)
    writer.save(40, 4.0, full=False, best=True)
    writer.save(60, 3.0, full=True, best=True)  # earlier versions compared it with the others
    best = best_checkpoint(writer.run, writer.view)
    assert best is not None
    assert best.step == 40
    found = summary(writer.view)
    assert (found["best_val_loss"], found["best_step"]) == (4.0, 40)
    assert (found["val_loss"], found["final_val_loss"], found["final_val_step"]) == (4.0, 3.0, 60)


def test_full_validations_are_all_compared(writer: RunWriter) -> None:
    writer.begin(1, 0)
    for step, loss in ((20, 5.0), (40, 4.0), (60, 3.0)):
        writer.save(step, loss)
    found = summary(writer.view)
    assert (found["val_loss"], found["best_val_loss"], found["best_step"]) == (3.0, 3.0, 60)
    assert found["final_val_loss"] is None


def test_a_log_of_an_earlier_version_that_deleted_void_checkpoints_can_be_read(writer: RunWriter) -> None:
    writer.begin(1, 0)
    writer.save(20, 5.0)
    (gone := writer.save(40, 2.0)).rename(writer.run.path / "elsewhere")
    writer.begin(2, 20)
    writer.log(Checkpoint(step=30, path="checkpoints/step-00000030", deleted=(f"checkpoints/{gone.name}",)))
    assert writer.view.left == []
    found = summary(writer.view)
    assert (found["best_val_loss"], found["best_step"]) == (5.0, 20)


@pytest.mark.parametrize(
    ("begins", "session", "step", "reaches"),
    [
        ([(1, 0)], 1, 60, True),
        ([(1, 0), (2, 60)], 1, 60, True),
        ([(1, 0), (2, 20)], 1, 60, False),
        ([(1, 0), (2, 20)], 2, 60, True),
        ([(1, 0), (2, 60), (3, 20), (4, 30)], 1, 25, False),
        ([(1, 0), (2, 60), (3, 20), (4, 30)], 3, 30, True),
        ([(1, 0), (2, 60), (3, 20), (4, 30)], 3, 31, False),
    ],
)
def test_a_step_is_current_unless_a_later_session_began_before_it(
    writer: RunWriter, begins: list[tuple[int, int]], session: int, step: int, reaches: bool
) -> None:
    for number, at in begins:
        writer.begin(number, at)
    assert writer.view.reaches(session, step) is reaches


def test_common_step_is_the_last_current_step_that_a_superseded_checkpoint_shares(writer: RunWriter) -> None:
    writer.begin(1, 0)
    for step in (20, 40, 60):
        writer.save(step)
    writer.go_back(2, 40)
    left = writer.run.checkpoints / "left-at-00000040-by-session-2" / "step-00000060"
    assert common_step(writer.view, left) == 40
    writer.go_back(3, 20)
    assert common_step(writer.view, left) == 20
    assert common_step(writer.view, writer.run.checkpoints / "step-00000020") is None


def test_superseded_by_gives_the_steps_and_checkpoints_that_a_resume_would_supersede(writer: RunWriter) -> None:
    writer.begin(1, 0)
    paths = [writer.save(step) for step in (20, 40, 60)]

    def left(path: Path | None) -> Superseded | None:
        return superseded_by(writer.run, ResumeOptions(from_checkpoint=str(path) if path else None), writer.view)

    assert left(paths[0]) == Superseded(20, 60, [40, 60])
    assert left(paths[2]) is None
    assert left(None) is None


@pytest.mark.parametrize(
    ("step", "validated", "at_end"), [(60, 60, True), (60, 40, False), (40, 40, False), (None, None, False)]
)
def test_a_checkpoint_is_at_the_end_once_its_last_validation_is_done(
    tmp_path: Path, step: int | None, validated: int | None, at_end: bool
) -> None:
    if step is not None:
        trainer = {"segments": [[0, 60]], "progress": {"step": step, "last_eval_step": validated}}
        (tmp_path / "trainer.json").write_text(json.dumps(trainer))
    assert is_at_end(tmp_path) is at_end
