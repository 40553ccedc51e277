"""Where a job starts, what its past says, and what is put back from a checkpoint."""

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
from seedbed.jobs.pretrain import assemble
from seedbed.jobs.restore import Branch, History, Start, choose_start, restore, trainer_state
from seedbed.runs.control import Resume
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


class Past:
    """A run whose log and checkpoints a test writes."""

    def __init__(self, run: RunDir) -> None:
        self.run = run
        self.told: list[Message] = []
        self._n = 0

    def log(self, *events: Event) -> Past:
        with self.run.events.open("ab") as file:
            for event in events:
                file.write(encode(event, self._n, 1000.0 + self._n))
                self._n += 1
        return self

    def begin(self, session: int, step: int, steps: int = 60, **more: Any) -> Past:
        return self.log(Run(status="running", session=session, step=step, steps=steps, segment_start=0, **more))

    def train(self, first: int, last: int) -> Past:
        steps = [
            Step(step=step, loss=1.0, lr=0.1, grad_norm=1.0, tokens=step, step_s=0.1) for step in range(first, last + 1)
        ]
        return self.log(*steps)

    def save(self, step: int, *, loss: float | None = None, told: bool = True, session: int | None = 1) -> Path:
        tensors = {"w": torch.full((8,), float(step))}
        trainer = {"session": session, "segments": [[0, 60]], "progress": {"step": step, "best_loss": loss}}
        path = save(self.run.checkpoints, snapshot(step, tensors, trainer)).path
        if told:
            if loss is not None:
                self.log(Eval(step=step, loss=loss, perplexity=1.0, tokens=10))
            self.log(Checkpoint(step=step, path=f"checkpoints/{path.name}"))
        return path

    def history(self) -> History:
        return History.read(self.run.path)

    def start(self, resume: Resume | None = None) -> Start:
        def emit(event: Event) -> None:
            assert isinstance(event, Message)
            self.told.append(event)

        return choose_start(self.run.path, resume or Resume(), self.history(), emit)


@pytest.fixture
def past(tmp_path: Path) -> Past:
    return Past(Store(tmp_path).create("train", "alpha", "", {}))


# Where to start ------------------------------------------------------------------------------------------------------


def test_a_run_without_a_past_starts_fresh(past: Past) -> None:
    start = past.start()
    assert (start.loaded, start.step, start.trainer, start.fingerprint) == (None, 0, {}, None)
    assert past.told == []


def test_the_newest_checkpoint_is_chosen_by_number(past: Past) -> None:
    past.begin(1, 0, steps=200_000_000).train(1, 3)
    for step in (20, 99_999_999, 100_000_000):
        past.save(step)
    assert past.start().step == 100_000_000


def test_a_damaged_checkpoint_is_passed_over_and_it_is_told_how_far_the_run_stood(past: Past) -> None:
    past.begin(1, 0).train(1, 40)
    past.save(20)
    newest = past.save(40)
    (newest / "model.safetensors").write_bytes(b"")
    start = past.start()
    assert (start.step, start.reached_step) == (20, 40)
    (message,) = past.told
    assert (message.level, message.code) == ("warning", "checkpoint-skipped")
    assert "step-00000040" in message.text
    assert "model.safetensors" in message.text
    assert message.why == "The run resumes from step-00000020."


def test_where_no_checkpoint_can_be_loaded_a_resume_never_starts_over(past: Past) -> None:
    past.begin(1, 0).train(1, 20)
    (past.save(20) / "model.safetensors").write_bytes(b"")
    with pytest.raises(SeedbedError, match=r"No checkpoint of this run can be loaded .*step-00000020"):
        past.start()


def test_a_checkpoints_folder_that_is_gone_is_no_fresh_start(past: Past) -> None:
    past.begin(1, 0).train(1, 20).log(Checkpoint(step=20, path="checkpoints/step-00000020"))
    with pytest.raises(SeedbedError, match="No checkpoint of this run can be loaded"):
        past.start()


def test_a_write_that_was_cut_off_is_a_fresh_start_and_nothing_to_add_steps_to(past: Past) -> None:
    past.begin(1, 0).train(1, 3)
    (past.run.checkpoints / "step-00000003").mkdir(parents=True)
    assert past.start().loaded is None
    with pytest.raises(UsageError, match="has not saved a checkpoint"):
        past.start(Resume(more_steps=5))


@pytest.mark.parametrize("named", ["20", "step-00000020", "PATH"])
def test_the_checkpoint_that_is_named_is_taken(past: Past, named: str) -> None:
    past.begin(1, 0).train(1, 40)
    path = past.save(20)
    past.save(40)
    assert past.start(Resume(from_checkpoint=str(path) if named == "PATH" else named)).step == 20
    with pytest.raises(UsageError, match="30") as refused:
        past.start(Resume(from_checkpoint="30"))
    assert "step-00000020, step-00000040" in refused.value.hint


def test_a_checkpoint_that_going_back_made_void_is_not_chosen_though_it_lies_there(past: Past) -> None:
    past.begin(1, 0).train(1, 60)
    past.save(20)
    past.save(60)
    past.begin(2, 20).train(21, 30)
    assert past.start().step == 20
    past.save(30, session=2)
    assert past.start().step == 30


@pytest.mark.parametrize(("session", "chosen"), [(1, 20), (2, 60), (None, 20)])
def test_a_checkpoint_that_the_log_does_not_tell_of_counts_by_the_session_that_wrote_it(
    past: Past, session: int | None, chosen: int
) -> None:
    past.begin(1, 0).train(1, 20)
    past.save(20)
    past.begin(2, 20)
    past.save(60, told=False, session=session)
    assert past.start().step == chosen


def test_the_last_start_from_a_checkpoint_that_lies_elsewhere_is_not_forgotten(past: Past) -> None:
    past.begin(1, 0).train(1, 60)
    past.save(20)
    left = past.save(60)
    folder = past.run.checkpoints / "left-at-00000020-by-session-2"
    folder.mkdir()
    past.begin(2, 20, left=folder.name)
    left.rename(folder / left.name)
    past.begin(3, 20).begin(3, 60, resumed_from=f"{folder.name}/{left.name}")
    start = past.start()
    assert start.loaded is not None
    assert (start.loaded.path, start.common_step) == (folder / left.name, 20)


# What the past says --------------------------------------------------------------------------------------------------


def test_the_history_tells_the_segment_in_force_and_the_data(past: Past) -> None:
    past.log(Data(stage="dataset", done=1, total=1, fingerprint="abc")).begin(1, 0, 50).train(1, 50)
    past.log(Run(status="running", session=2, step=50, steps=80, segment_start=50))
    history = past.history()
    assert (history.last_segment, history.fingerprint, history.has_saved) == (Segment(50, 80), "abc", False)


def segments(start: Start) -> list[Segment]:
    return start.segments(
        CONFIG, windows_per_epoch=CONFIG.train.batch_size * 10, tokens_per_window=CONFIG.model.context
    )


def test_segments_follow_the_log_beyond_what_the_checkpoint_knew(past: Past) -> None:
    past.begin(1, 0).train(1, 60)
    past.save(60)
    past.log(Run(status="running", session=2, step=60, steps=70, segment_start=60)).train(61, 65)
    assert segments(past.start()) == [Segment(0, 60), Segment(60, 70)]
    assert segments(past.start(Resume(more_steps=5))) == [Segment(0, 60), Segment(60, 65)]
    assert segments(past.start(Resume(more_epochs=0.5))) == [Segment(0, 60), Segment(60, 65)]
    assert segments(past.start(Resume(from_checkpoint="60"))) == [Segment(0, 60)]


def test_steps_are_added_to_where_the_run_stood_though_its_newest_checkpoint_is_damaged(past: Past) -> None:
    past.begin(1, 0).train(1, 60)
    past.save(40)
    (past.save(60) / "model.safetensors").write_bytes(b"")
    assert segments(past.start(Resume(more_steps=5))) == [Segment(0, 60), Segment(60, 65)]


def test_patience_begins_anew_only_where_steps_or_another_patience_came_in(past: Past) -> None:
    past.begin(1, 0).train(1, 60)
    past.save(60, loss=2.0)

    def patience(resume: Resume) -> float | None:
        start = past.start(resume)
        return start.progress(segments(start)).patience_loss

    assert patience(Resume()) == 2.0
    assert patience(Resume(more_steps=5)) is None
    assert patience(Resume(early_stop=3)) is None
    past.log(Run(status="running", session=2, step=60, steps=70, segment_start=60))
    assert patience(Resume()) is None, "an extension that was killed before it saved"


def test_what_a_resume_changes_of_the_config_is_remembered_by_later_ones(past: Past) -> None:
    assert past.start().in_force(CONFIG) == CONFIG
    asked = past.start(Resume(early_stop=0, data="text:new", data_path="copy")).in_force(CONFIG)
    assert (asked.train.early_stop, asked.data.source, asked.data.path) == (0, "text:new", "copy")
    past.begin(1, 0, early_stop=0, data="text:new", data_path="copy")
    assert past.start().in_force(CONFIG) == asked
    again = past.start(Resume(early_stop=4, data="text:newer")).in_force(CONFIG)
    assert (again.train.early_stop, again.data.source, again.data.path) == (4, "text:newer", "")


# What is left behind -------------------------------------------------------------------------------------------------


def line(past: Past, resume: Resume | None = None) -> Branch:
    return Branch.of(past.run, 9, past.start(resume))


def test_going_on_from_the_newest_leaves_nothing(past: Past) -> None:
    past.begin(1, 0).train(1, 40)
    past.save(20, loss=2.0)
    past.save(40, loss=3.0)
    assert line(past) == Branch([], None, False, None, "step-00000040", True)


def test_going_back_leaves_what_is_later_and_knows_the_best_of_it(past: Past) -> None:
    past.begin(1, 0).train(1, 60)
    for step, loss in ((20, 5.0), (40, 2.0), (60, 3.0)):
        past.save(step, loss=loss)
    found = line(past, Resume(from_checkpoint="20"))
    assert [path.name for path in found.void] == ["step-00000040", "step-00000060"]
    assert (found.left, found.damaged, found.loss_to_beat) == ("left-at-00000020-by-session-9", False, 2.0)
    assert (found.resumed_from, found.saved) == ("step-00000020", True)


def test_what_could_not_be_loaded_is_told_apart_and_is_nothing_to_beat(past: Past) -> None:
    past.begin(1, 0).train(1, 60)
    past.save(20, loss=5.0)
    (past.save(60, loss=3.0) / "model.safetensors").write_bytes(b"")
    found = line(past)
    assert [path.name for path in found.void] == ["step-00000060"]
    assert (found.left, found.damaged, found.loss_to_beat) == ("damaged-found-by-session-9", True, None)


def test_a_checkpoint_from_elsewhere_is_named_by_where_it_lies(past: Past, tmp_path: Path) -> None:
    past.begin(1, 0).train(1, 20)
    copy = tmp_path / "backup" / "step-00000020"
    copy.parent.mkdir()
    past.save(20).rename(copy)
    found = line(past, Resume(from_checkpoint=str(copy)))
    assert (found.resumed_from, found.saved) == (str(copy.resolve()), False)


# What is put back ----------------------------------------------------------------------------------------------------


class Material(NamedTuple):
    """What a small training works with."""

    config: Config
    dataset: Dataset


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    config = resolve(TRAIN, preset="nano", sets=MODEL_AND_DATA).config
    cache = tmp_path_factory.mktemp("cache")
    return Material(config, build_dataset(config.data, config.tokenizer, cache=cache, emit=lambda _: None))


class Parts:
    """A model and its optimizer, fresh or after an update, and what watches them."""

    def __init__(self, material: Material, *, updated: bool) -> None:
        cpu = Device(torch.device("cpu"), "CPU", "cpu")
        self.all: Any = assemble(material.config, material.dataset, cpu, "fp32")
        self.learner, self.optimizer = self.all.trainer.learner, self.all.trainer.optimizer
        self.watch = LossMonitorHook(lambda _: None, warmup_steps=0)
        if updated:
            for parameter in self.learner.model.parameters():
                parameter.grad = torch.ones_like(parameter)
            self.optimizer.step(1.0)
            self.watch(Progress(step=7, loss=3.0, total=60))

    def everything(self) -> dict[str, torch.Tensor]:
        return {**self.learner.weights(), **self.optimizer.state()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


Restore = Callable[..., tuple[Progress, list[Message]]]


@pytest.fixture
def saved(past: Past, material: Material) -> Parts:
    """Parts after an update, saved at step 7."""
    parts = Parts(material, updated=True)
    progress = Progress(step=7, tokens=700, loss=3.0, best_loss=2.5, best_step=4, last_eval_step=4, total=60)
    state = trainer_state(progress, parts.all, parts.watch, [Segment(0, 60)])
    past.begin(1, 0).train(1, 7)
    save(past.run.checkpoints, Snapshot(7, {**parts.all.trainer.contents(), TRAINER: json_content(state)}))
    past.log(Checkpoint(step=7, path="checkpoints/step-00000007"))
    return parts


def test_weights_optimizer_counters_and_random_state_are_put_back(past: Past, saved: Parts, material: Material) -> None:
    drawn = torch.rand(3)  # after the state was taken
    fresh, told = Parts(material, updated=False), []
    assert not equal(fresh.everything(), saved.everything())
    progress = restore(past.start(), [Segment(0, 60)], fresh.all, fresh.watch, told.append)
    assert equal(fresh.everything(), saved.everything())
    assert fresh.optimizer.step_count == saved.optimizer.step_count == 1
    assert fresh.watch.state() == saved.watch.state()
    assert (progress.step, progress.tokens, progress.best_loss, progress.last_eval_step) == (7, 700, 2.5, 4)
    assert torch.equal(torch.rand(3), drawn)
    assert told == []


def test_other_data_is_refused_and_nothing_is_put_back(past: Past, saved: Parts, material: Material) -> None:
    fresh = Parts(material, updated=False)
    before = {name: tensor.clone() for name, tensor in fresh.everything().items()}
    other = fresh.all._replace(fingerprint="another")
    with pytest.raises(SeedbedError, match="fingerprint") as refused:
        restore(past.start(), [Segment(0, 60)], other, fresh.watch, lambda _: None)
    assert "seedbed resume --data" in refused.value.hint
    assert equal(fresh.everything(), before)


def test_another_number_of_threads_is_told(
    past: Past, saved: Parts, material: Material, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = torch.get_num_threads()
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads + 1)
    fresh, told = Parts(material, updated=False), []
    restore(past.start(), [Segment(0, 60)], fresh.all, fresh.watch, told.append)
    (message,) = told
    assert message.code == "not-bit-equal"
    assert f"threads {threads} -> {threads + 1}" in message.text


@pytest.mark.parametrize("named", [None, "20"])
def test_a_checkpoint_with_a_newer_trainer_state_is_refused_and_not_passed_over(past: Past, named: str | None) -> None:
    past.begin(1, 0).train(1, 20)
    past.save(10)
    tensors = {"w": torch.ones(8)}
    trainer = {"format": 2, "session": 1, "segments": [[0, 60]], "progress": {"step": 20}}
    save(past.run.checkpoints, snapshot(20, tensors, trainer))
    past.log(Checkpoint(step=20, path="checkpoints/step-00000020"))
    with pytest.raises(SeedbedError, match=r"trainer state format 2; this version reads 1") as caught:
        choose_start(past.run.path, Resume(from_checkpoint=named), History.read(past.run.path), pytest.fail)
    assert "Update Seedbed" in caught.value.hint


def test_a_newer_checkpoint_is_not_left_behind_for_an_older_one(past: Past) -> None:
    past.begin(1, 0).train(1, 20)
    past.save(10)
    marker = past.save(20) / DONE
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "format": 9}))
    with pytest.raises(SeedbedError, match=r"step-00000020.* format 9"):
        choose_start(past.run.path, Resume(), History.read(past.run.path), pytest.fail)
