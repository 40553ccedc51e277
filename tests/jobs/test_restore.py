"""Where a job starts, what the history of its run says, and what is restored from a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from seedbed.checkpoint.marker import DONE, OPTIMIZER, TRAINER, WEIGHTS
from seedbed.checkpoint.tensors import encoded
from seedbed.checkpoint.writing import Snapshot, json_content, save
from seedbed.config.resolving import resolve
from seedbed.config.roots import TRAIN
from seedbed.config.schema import Config
from seedbed.data.build import build_dataset
from seedbed.data.shards import Dataset
from seedbed.errors import SeedbedError, UsageError
from seedbed.events import Checkpoint, Data, Eval, Event, Message, Run, Step, encode
from seedbed.jobs.assembling import assemble
from seedbed.jobs.restore import Branch, History, Start, choose_start, restore, trainer_state
from seedbed.runs.control import ResumeOptions
from seedbed.runs.store import RunDir, Store
from seedbed.train.device import Device
from seedbed.train.hooks import LossMonitorHook
from seedbed.train.horizon import Segment
from seedbed.train.loop import Progress
from tiny import MODEL_AND_DATA

CONFIG = resolve(TRAIN, preset="nano").config


def snapshot(step: int, tensors: dict[str, torch.Tensor], trainer: dict[str, Any]) -> Snapshot:
    files = {WEIGHTS: encoded(tensors), OPTIMIZER: encoded({"w.m": tensors["w"]}), TRAINER: json_content(trainer)}
    return Snapshot(step, files)


class EarlierSessions:
    """The earlier sessions of a run; a test writes their log and checkpoints."""

    def __init__(self, run: RunDir) -> None:
        self.run = run
        self.messages: list[Message] = []
        self._n = 0

    def log(self, *events: Event) -> EarlierSessions:
        with self.run.events.open("ab") as file:
            for event in events:
                file.write(encode(event, self._n, 1000.0 + self._n))
                self._n += 1
        return self

    def begin(self, session: int, step: int, steps: int = 60, **more: Any) -> EarlierSessions:
        return self.log(Run(status="running", session=session, step=step, steps=steps, segment_start=0, **more))

    def train(self, first: int, last: int) -> EarlierSessions:
        steps = [
            Step(step=step, loss=1.0, lr=0.1, grad_norm=1.0, tokens=step, step_s=0.1) for step in range(first, last + 1)
        ]
        return self.log(*steps)

    def save(
        self,
        step: int,
        *,
        loss: float | None = None,
        logged: bool = True,
        session: int | None = 1,
        segment: tuple[int | None, ...] = (0, 60),
    ) -> Path:
        tensors = {"w": torch.full((8,), float(step))}
        trainer = {"session": session, "segments": [segment], "progress": {"step": step, "best_loss": loss}}
        path = save(self.run.checkpoints, snapshot(step, tensors, trainer)).path
        if logged:
            if loss is not None:
                self.log(Eval(step=step, loss=loss, perplexity=1.0, tokens=10))
            self.log(Checkpoint(step=step, path=f"checkpoints/{path.name}"))
        return path

    def history(self) -> History:
        return History.read(self.run.path)

    def start(self, resume: ResumeOptions | None = None) -> Start:
        def emit(event: Event) -> None:
            assert isinstance(event, Message)
            self.messages.append(event)

        return choose_start(self.run.path, resume or ResumeOptions(), self.history(), emit)


@pytest.fixture
def sessions(tmp_path: Path) -> EarlierSessions:
    return EarlierSessions(Store(tmp_path).create("train", "alpha", "", {}))


# Where to start ------------------------------------------------------------------------------------------------------


def test_a_run_without_earlier_sessions_starts_at_step_0(sessions: EarlierSessions) -> None:
    start = sessions.start()
    assert (start.loaded, start.step, start.trainer, start.fingerprint) == (None, 0, {}, None)
    assert sessions.messages == []


def test_the_newest_checkpoint_is_chosen_by_number(sessions: EarlierSessions) -> None:
    sessions.begin(1, 0, steps=200_000_000).train(1, 3)
    for step in (20, 99_999_999, 100_000_000):
        sessions.save(step)
    assert sessions.start().step == 100_000_000


def test_a_damaged_checkpoint_is_skipped_with_a_warning_and_the_reached_step_is_kept(sessions: EarlierSessions) -> None:
    sessions.begin(1, 0).train(1, 40)
    sessions.save(20)
    newest = sessions.save(40)
    (newest / "model.safetensors").write_bytes(b"")
    start = sessions.start()
    assert (start.step, start.reached_step) == (20, 40)
    (message,) = sessions.messages
    assert (message.level, message.code) == ("warning", "checkpoint-skipped")
    assert "step-00000040" in message.text
    assert "model.safetensors" in message.text
    assert message.why == "The run resumes from step-00000020."


def test_a_resume_without_a_loadable_checkpoint_fails_instead_of_starting_over(sessions: EarlierSessions) -> None:
    sessions.begin(1, 0).train(1, 20)
    (sessions.save(20) / "model.safetensors").write_bytes(b"")
    with pytest.raises(SeedbedError, match=r"No checkpoint of this run can be loaded .*step-00000020"):
        sessions.start()


def test_a_resume_without_its_checkpoints_folder_fails_instead_of_starting_over(sessions: EarlierSessions) -> None:
    sessions.begin(1, 0).train(1, 20).log(Checkpoint(step=20, path="checkpoints/step-00000020"))
    with pytest.raises(SeedbedError, match="No checkpoint of this run can be loaded"):
        sessions.start()


def test_an_unfinished_first_checkpoint_is_ignored_and_more_steps_are_refused(sessions: EarlierSessions) -> None:
    sessions.begin(1, 0).train(1, 3)
    (sessions.run.checkpoints / "step-00000003").mkdir(parents=True)
    assert sessions.start().loaded is None
    with pytest.raises(UsageError, match="has not saved a checkpoint"):
        sessions.start(ResumeOptions(more_steps=5))


@pytest.mark.parametrize("named", ["20", "step-00000020", "PATH"])
def test_the_named_checkpoint_is_chosen(sessions: EarlierSessions, named: str) -> None:
    sessions.begin(1, 0).train(1, 40)
    path = sessions.save(20)
    sessions.save(40)
    assert sessions.start(ResumeOptions(from_checkpoint=str(path) if named == "PATH" else named)).step == 20
    with pytest.raises(UsageError, match="30") as refused:
        sessions.start(ResumeOptions(from_checkpoint="30"))
    assert "step-00000020, step-00000040" in refused.value.hint


def test_a_void_checkpoint_that_was_not_moved_is_not_chosen(sessions: EarlierSessions) -> None:
    sessions.begin(1, 0).train(1, 60)
    sessions.save(20)
    sessions.save(60)
    sessions.begin(2, 20).train(21, 30)
    assert sessions.start().step == 20
    sessions.save(30, session=2)
    assert sessions.start().step == 30


@pytest.mark.parametrize(("session", "chosen"), [(1, 20), (2, 60), (None, 20)])
def test_an_unlogged_checkpoint_is_chosen_only_if_the_last_session_wrote_it(
    sessions: EarlierSessions, session: int | None, chosen: int
) -> None:
    sessions.begin(1, 0).train(1, 20)
    sessions.save(20)
    sessions.begin(2, 20)
    sessions.save(60, logged=False, session=session)
    assert sessions.start().step == chosen


def test_a_start_from_a_left_behind_checkpoint_is_chosen_again_by_the_next_resume(sessions: EarlierSessions) -> None:
    sessions.begin(1, 0).train(1, 60)
    sessions.save(20)
    left = sessions.save(60)
    folder = sessions.run.checkpoints / "left-at-00000020-by-session-2"
    folder.mkdir()
    sessions.begin(2, 20, left=folder.name)
    left.rename(folder / left.name)
    sessions.begin(3, 20).begin(3, 60, resumed_from=f"{folder.name}/{left.name}")
    start = sessions.start()
    assert start.loaded is not None
    assert (start.loaded.path, start.common_step) == (folder / left.name, 20)


# The history of the run ----------------------------------------------------------------------------------------------


def test_the_history_has_the_last_segment_and_the_data_fingerprint(sessions: EarlierSessions) -> None:
    sessions.log(Data(stage="dataset", done=1, total=1, fingerprint="abc")).begin(1, 0, 50).train(1, 50)
    sessions.log(Run(status="running", session=2, step=50, steps=80, segment_start=50))
    history = sessions.history()
    assert (history.last_segment, history.fingerprint, history.has_saved) == (Segment(50, 80), "abc", False)


def segments(start: Start) -> list[Segment]:
    return start.segments(
        CONFIG, windows_per_epoch=CONFIG.train.batch_size * 10, tokens_per_window=CONFIG.model.context
    )


def test_segments_come_from_the_log_where_it_is_newer_than_the_checkpoint(sessions: EarlierSessions) -> None:
    sessions.begin(1, 0).train(1, 60)
    sessions.save(60)
    sessions.log(Run(status="running", session=2, step=60, steps=70, segment_start=60)).train(61, 65)
    assert segments(sessions.start()) == [Segment(0, 60), Segment(60, 70)]
    assert segments(sessions.start(ResumeOptions(more_steps=5))) == [Segment(0, 60), Segment(60, 65)]
    assert segments(sessions.start(ResumeOptions(more_epochs=0.5))) == [Segment(0, 60), Segment(60, 65)]
    assert segments(sessions.start(ResumeOptions(from_checkpoint="60"))) == [Segment(0, 60)]


def test_more_steps_count_from_the_last_step_even_if_its_checkpoint_is_damaged(sessions: EarlierSessions) -> None:
    sessions.begin(1, 0).train(1, 60)
    sessions.save(40)
    (sessions.save(60) / "model.safetensors").write_bytes(b"")
    assert segments(sessions.start(ResumeOptions(more_steps=5))) == [Segment(0, 60), Segment(60, 65)]


def test_patience_starts_anew_only_after_more_steps_or_a_changed_early_stop(sessions: EarlierSessions) -> None:
    sessions.begin(1, 0).train(1, 60)
    sessions.save(60, loss=2.0)

    def patience(resume: ResumeOptions) -> float | None:
        start = sessions.start(resume)
        return start.progress(segments(start)).patience_loss

    assert patience(ResumeOptions()) == 2.0
    assert patience(ResumeOptions(more_steps=5)) is None
    assert patience(ResumeOptions(early_stop=3)) is None
    sessions.log(Run(status="running", session=2, step=60, steps=70, segment_start=60))
    assert patience(ResumeOptions()) is None, "more steps were added by a session that was killed before it saved"


def test_patience_goes_on_when_only_the_end_of_a_timed_run_has_moved(sessions: EarlierSessions) -> None:
    timed = {"time_s": 600.0, "warmup_steps": 20, "decay_from": -1}
    sessions.begin(1, 0, steps=90, **timed).train(1, 60)
    sessions.save(60, loss=2.0, segment=(0, 90, 20, None))

    def patience(resume: ResumeOptions) -> float | None:
        start = sessions.start(resume)
        return start.progress(segments(start)).patience_loss

    moved = Run(status="running", session=1, step=70, settled_steps=120, **{**timed, "decay_from": 70})
    assert patience(ResumeOptions()) == 2.0
    sessions.log(moved)
    assert segments(sessions.start()) == [Segment(0, 120, 20, 70)]
    assert patience(ResumeOptions()) == 2.0
    assert patience(ResumeOptions(more_steps=5)) is None


def test_later_resumes_keep_the_config_changes_of_an_earlier_resume(sessions: EarlierSessions) -> None:
    assert sessions.start().current_config(CONFIG) == CONFIG
    changed = sessions.start(ResumeOptions(early_stop=0, data="text:new", data_path="copy")).current_config(CONFIG)
    assert (changed.train.early_stop, changed.data.source, changed.data.path) == (0, "text:new", "copy")
    sessions.begin(1, 0, early_stop=0, data="text:new", data_path="copy")
    assert sessions.start().current_config(CONFIG) == changed
    again = sessions.start(ResumeOptions(early_stop=4, data="text:newer")).current_config(CONFIG)
    assert (again.train.early_stop, again.data.source, again.data.path) == (4, "text:newer", "")


# What is left behind -------------------------------------------------------------------------------------------------


def branch_of(sessions: EarlierSessions, resume: ResumeOptions | None = None) -> Branch:
    return Branch.of(sessions.run, 9, sessions.start(resume))


def test_resuming_from_the_newest_checkpoint_leaves_nothing_behind(sessions: EarlierSessions) -> None:
    sessions.begin(1, 0).train(1, 40)
    sessions.save(20, loss=2.0)
    sessions.save(40, loss=3.0)
    assert branch_of(sessions) == Branch([], None, False, None, "step-00000040", True)


def test_going_back_leaves_later_checkpoints_behind_and_keeps_their_best_loss(sessions: EarlierSessions) -> None:
    sessions.begin(1, 0).train(1, 60)
    for step, loss in ((20, 5.0), (40, 2.0), (60, 3.0)):
        sessions.save(step, loss=loss)
    found = branch_of(sessions, ResumeOptions(from_checkpoint="20"))
    assert [path.name for path in found.superseded] == ["step-00000040", "step-00000060"]
    assert (found.left, found.damaged, found.loss_to_beat) == ("left-at-00000020-by-session-9", False, 2.0)
    assert (found.resumed_from, found.saved) == ("step-00000020", True)


def test_a_damaged_checkpoint_is_left_behind_as_damaged_and_sets_no_loss_to_beat(sessions: EarlierSessions) -> None:
    sessions.begin(1, 0).train(1, 60)
    sessions.save(20, loss=5.0)
    (sessions.save(60, loss=3.0) / "model.safetensors").write_bytes(b"")
    found = branch_of(sessions)
    assert [path.name for path in found.superseded] == ["step-00000060"]
    assert (found.left, found.damaged, found.loss_to_beat) == ("damaged-found-by-session-9", True, None)


def test_a_checkpoint_outside_the_run_is_named_by_its_path(sessions: EarlierSessions, tmp_path: Path) -> None:
    sessions.begin(1, 0).train(1, 20)
    copy = tmp_path / "backup" / "step-00000020"
    copy.parent.mkdir()
    sessions.save(20).rename(copy)
    found = branch_of(sessions, ResumeOptions(from_checkpoint=str(copy)))
    assert (found.resumed_from, found.saved) == (str(copy.resolve()), False)


# What is restored ----------------------------------------------------------------------------------------------------


class Material(NamedTuple):
    """The config and the dataset of a small training."""

    config: Config
    dataset: Dataset


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    config = resolve(TRAIN, preset="nano", sets=MODEL_AND_DATA).config
    cache = tmp_path_factory.mktemp("cache")
    return Material(config, build_dataset(config.data, config.tokenizer, cache=cache, emit=lambda _: None))


class Parts:
    """A model, its optimizer and a loss monitor, new or after an update."""

    def __init__(self, material: Material, *, updated: bool) -> None:
        cpu = Device(torch.device("cpu"), "CPU", "cpu")
        self.all: Any = assemble(material.config, material.dataset, cpu, "fp32")
        self.learner, self.optimizer = self.all.trainer.learner, self.all.trainer.optimizer
        self.monitor = LossMonitorHook(lambda _: None, warmup_steps=0)
        if updated:
            for parameter in self.learner.model.parameters():
                parameter.grad = torch.ones_like(parameter)
            self.optimizer.step(1.0)
            self.monitor(Progress(step=7, loss=3.0, total=60))

    def tensors(self) -> dict[str, torch.Tensor]:
        return {**self.learner.weights(), **self.optimizer.state()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


Restore = Callable[..., tuple[Progress, list[Message]]]


@pytest.fixture
def saved(sessions: EarlierSessions, material: Material) -> Parts:
    """Parts after an update, saved at step 7."""
    parts = Parts(material, updated=True)
    progress = Progress(step=7, tokens=700, loss=3.0, best_loss=2.5, best_step=4, last_eval_step=4, total=60)
    state = trainer_state(progress, parts.all, parts.monitor, [Segment(0, 60)])
    sessions.begin(1, 0).train(1, 7)
    save(sessions.run.checkpoints, Snapshot(7, {**parts.all.trainer.contents(), TRAINER: json_content(state)}))
    sessions.log(Checkpoint(step=7, path="checkpoints/step-00000007"))
    return parts


def test_weights_optimizer_counters_and_random_state_are_restored(
    sessions: EarlierSessions, saved: Parts, material: Material
) -> None:
    drawn = torch.rand(3)  # after the state was taken
    fresh, messages = Parts(material, updated=False), []
    assert not equal(fresh.tensors(), saved.tensors())
    progress = restore(sessions.start(), [Segment(0, 60)], fresh.all, fresh.monitor, messages.append)
    assert equal(fresh.tensors(), saved.tensors())
    assert fresh.optimizer.step_count == saved.optimizer.step_count == 1
    assert fresh.monitor.state() == saved.monitor.state()
    assert (progress.step, progress.tokens, progress.best_loss, progress.last_eval_step) == (7, 700, 2.5, 4)
    assert torch.equal(torch.rand(3), drawn)
    assert messages == []


def test_other_data_is_refused_and_nothing_is_restored(
    sessions: EarlierSessions, saved: Parts, material: Material
) -> None:
    fresh = Parts(material, updated=False)
    before = {name: tensor.clone() for name, tensor in fresh.tensors().items()}
    other = fresh.all._replace(fingerprint="another")
    with pytest.raises(SeedbedError, match="fingerprint") as refused:
        restore(sessions.start(), [Segment(0, 60)], other, fresh.monitor, lambda _: None)
    assert "seedbed resume --data" in refused.value.hint
    assert equal(fresh.tensors(), before)


def test_another_number_of_threads_is_reported(
    sessions: EarlierSessions, saved: Parts, material: Material, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = torch.get_num_threads()
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads + 1)
    fresh, messages = Parts(material, updated=False), []
    restore(sessions.start(), [Segment(0, 60)], fresh.all, fresh.monitor, messages.append)
    (message,) = messages
    assert message.code == "not-bit-equal"
    assert f"threads {threads} -> {threads + 1}" in message.text


@pytest.mark.parametrize("named", [None, "20"])
def test_a_checkpoint_with_a_newer_trainer_state_is_refused_and_not_skipped(
    sessions: EarlierSessions, named: str | None
) -> None:
    sessions.begin(1, 0).train(1, 20)
    sessions.save(10)
    tensors = {"w": torch.ones(8)}
    trainer = {"format": 2, "session": 1, "segments": [[0, 60]], "progress": {"step": 20}}
    save(sessions.run.checkpoints, snapshot(20, tensors, trainer))
    sessions.log(Checkpoint(step=20, path="checkpoints/step-00000020"))
    with pytest.raises(SeedbedError, match=r"trainer state format 2; this version reads up to 1") as caught:
        choose_start(
            sessions.run.path, ResumeOptions(from_checkpoint=named), History.read(sessions.run.path), pytest.fail
        )
    assert "Update Seedbed" in caught.value.hint


def test_a_checkpoint_in_a_newer_format_is_refused_and_not_skipped(sessions: EarlierSessions) -> None:
    sessions.begin(1, 0).train(1, 20)
    sessions.save(10)
    marker = sessions.save(20) / DONE
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "format": 9}))
    with pytest.raises(SeedbedError, match=r"step-00000020.* format 9"):
        choose_start(sessions.run.path, ResumeOptions(), History.read(sessions.run.path), pytest.fail)
