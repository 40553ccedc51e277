"""Training jobs with a time budget, on a clock that counts steps: when they end, and what a resume repeats."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import trained_bases
from seedbed.config.frozen import dump, load_frozen, recorded_origins
from seedbed.config.resolving import resolve
from seedbed.config.roots import TRAIN
from seedbed.config.scaling import reuse_passes
from seedbed.events import Event, Step
from seedbed.jobs import pretrain, settling, timing
from seedbed.jobs.__main__ import run_job
from seedbed.runs.control import ResumeOptions, StartCondition
from seedbed.runs.session import Session
from seedbed.runs.status import status
from seedbed.runs.store import RunDir, Store
from seedbed.simulate.constants import FORWARD_SHARE
from seedbed.train.trainer import LearnerTrainer
from tiny import MODEL_AND_DATA

SETTINGS = (
    *MODEL_AND_DATA,
    "train.batch_size=2",
    "train.compile=off",
    "train.precision=fp32",
    "train.sample_tokens=2",
    "train.eval_every=20",
    "train.checkpoint_every=10",
    "train.threads=1",
    "schedule.decay=0.4",
)
KEPT = ("model.context", "train.batch_size", "data.stories", "tokenizer.vocab_size", "train.threads", "train.precision")
CHOSEN = ("train.time=60s", "train.size=auto", f"train.keep=[{', '.join(repr(path) for path in KEPT)}]")
"""Settings with which the size of the model is chosen, but little else."""
Work = Callable[[Session, Event], None]


class StepClock:
    """A second passes with each step."""

    step_s = 1.0

    def __init__(self, used_s: float) -> None:
        self.now_s = used_s

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def each_event(monkeypatch: pytest.MonkeyPatch, cache: Path) -> list[Work]:
    """Functions that are called with the session and each event; the clock of the jobs counts their steps."""
    works: list[Work] = []

    def clock_of(session: Session, start: Any = None) -> StepClock:
        clock = StepClock(float(start.trainer.get("time_used_s") or 0.0) if start else 0.0)

        def observe(event: Event) -> None:
            clock.now_s += clock.step_s * isinstance(event, Step)
            for work in works:
                work(session, event)

        session.observers.append(observe)
        return clock

    monkeypatch.setenv("SEEDBED_CACHE", str(cache))
    monkeypatch.setattr(timing, "clock_of", clock_of)
    for module in (pretrain, settling):
        monkeypatch.setattr(module, "clock_of", lambda *_: lambda: 0.0)
    monkeypatch.setattr(LearnerTrainer, "seconds_per_step", lambda *_: 1.0)
    monkeypatch.setattr(timing.MeasuredCosts, "__call__", lambda *_: None)  # measured times would differ between runs
    return works


def new_run(folder: Path, *sets: str) -> RunDir:
    resolved = resolve(TRAIN, preset="nano", sets=(*SETTINGS, *sets))
    return Store(folder / "runs").create("train", "timed", dump(resolved.config, resolved.origins), {})


def events(run: RunDir, kind: str) -> list[dict[str, Any]]:
    return [each for line in run.events.read_text().splitlines() if (each := json.loads(line))["kind"] == kind]


def work(run: RunDir, expect: int = 0, **resume: Any) -> None:
    assert run_job(run.path, ResumeOptions(**resume), StartCondition()) == expect, status(run)["reason"]


def stop_at(works: list[Work], step: int, session: int = 1) -> None:
    """Let a session stop after a step."""
    number = session

    def stop(session: Session, event: Event) -> None:
        if session.number == number and isinstance(event, Step) and event.step == step:
            session.stop_requested = "for the test"

    works.append(stop)


def test_a_run_with_a_time_decays_once_and_ends_before_the_time_is_over(tmp_path: Path, each_event: list[Work]) -> None:
    run = new_run(tmp_path, "train.time=60s")
    work(run)
    steps = events(run, "step")
    assert status(run)["status"] == "completed"
    assert 40 <= len(steps) <= 60
    rates = [step["lr"] for step in steps]
    peak = rates.index(max(rates))
    assert rates == sorted(rates[:peak]) + sorted(rates[peak:], reverse=True)
    assert rates[-1] < 0.1 * max(rates)
    assert status(run)["steps"] == len(steps)
    assert "falls linearly over the last 40%" in events(run, "run")[1]["schedule"]


def test_a_run_says_when_its_decay_begins_and_when_it_will_end(tmp_path: Path, each_event: list[Work]) -> None:
    run = new_run(tmp_path, "train.time=60s")
    work(run)
    rates = [step["lr"] for step in events(run, "step")]
    last_at_peak = max(number for number, rate in enumerate(rates, 1) if rate == max(rates))
    (said,) = [each for each in events(run, "message") if each["code"] in ("decay", "horizon")]
    assert said["text"] == f"The decay begins at step {last_at_peak - 1}; the run ends at step {len(rates)}."


@pytest.mark.parametrize(("step_s", "how"), [(1.6, "less"), (0.25, "more")])
def test_a_run_whose_steps_are_much_faster_or_slower_than_expected_says_once_how_many_it_will_have(
    tmp_path: Path, each_event: list[Work], monkeypatch: pytest.MonkeyPatch, step_s: float, how: str
) -> None:
    monkeypatch.setattr(LearnerTrainer, "seconds_per_step", lambda *_: step_s)
    run = new_run(tmp_path, "train.time=60s")
    work(run)
    planned = next(each["steps"] for each in events(run, "run") if each.get("steps"))
    (said,) = [each for each in events(run, "message") if each["code"] == "horizon"]
    found = re.fullmatch(r"The run will have about (\d+) steps, not (\d+)\.", said["text"])
    assert found
    assert int(found[2]) == planned
    trained = len(events(run, "step"))
    assert abs(int(found[1]) - trained) < 0.5 * abs(planned - trained)
    assert f"take {how} time than was expected" in said["why"]


def warnings(run: RunDir) -> dict[str, dict[str, Any]]:
    return {each["code"]: each for each in events(run, "message") if each["level"] == "warning"}


@pytest.mark.parametrize("step_s", [0.5, 3.0, 50.0])
def test_a_warm_up_is_a_part_of_a_short_run_which_says_how_few_steps_fit(
    tmp_path: Path, each_event: list[Work], monkeypatch: pytest.MonkeyPatch, step_s: float
) -> None:
    monkeypatch.setattr(LearnerTrainer, "seconds_per_step", lambda *_: step_s)
    monkeypatch.setattr(StepClock, "step_s", step_s)
    run = new_run(tmp_path, "train.time=60s")
    work(run)
    begun = next(each for each in events(run, "run") if each.get("steps"))
    warmup = begun["warmup_steps"]
    assert 0.1 * begun["steps"] - 1 < warmup <= 0.2 * begun["steps"]
    assert max(step["lr"] for step in events(run, "step")) == load_frozen(run.config, TRAIN).optimizer.lr
    if begun["steps"] >= 40:
        assert "few-steps" not in warnings(run)
        return
    said = warnings(run)["few-steps"]
    plural = "s fit" if begun["steps"] > 1 else " fits"
    assert said["text"].startswith(f"Only about {begun['steps']} step{plural} into 1m")
    assert (f"rises in the first {warmup} of them" in said["text"]) == bool(warmup)
    assert "train.batch_size (now 2) or model.context (now 16)" in said["hint"]


@pytest.mark.parametrize(
    ("share", "steps", "expected"), [(0.0, 50, 0), (0.02, 5000, 100), (0.02, 500, 20), (0.5, 30, 15)]
)
def test_a_warm_up_follows_its_share_unless_the_run_is_short(share: float, steps: int, expected: int) -> None:
    assert timing.warmup_within(share, steps) == expected


@pytest.mark.parametrize(("stories", "warns"), [(12, True), (400, False)])
def test_a_run_with_a_time_warns_once_about_a_text_that_it_repeats_too_often(
    tmp_path: Path, each_event: list[Work], stories: int, warns: bool
) -> None:
    stop_at(each_event, 10)
    run = new_run(tmp_path, "train.time=60s", "train.batch_size=256", f"data.stories={stories}")
    work(run)
    work(run)
    begun = next(each for each in events(run, "run") if each.get("steps"))
    found = [each for each in events(run, "message") if each["code"] == "data-small"]
    assert len(found) == warns
    if warns:
        passes = begun["steps"] / begun["steps_per_epoch"]
        assert passes > reuse_passes()
        assert found[0]["text"] == f"This run trains on the text {passes:.3g} times."
        assert "by heart" in found[0]["why"]
        assert "a shorter time" in found[0]["hint"]


def test_a_resumed_run_that_is_late_in_its_decay_ends_within_a_tenth(
    tmp_path: Path, each_event: list[Work], monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_at(each_event, 35)
    run = new_run(tmp_path, "train.time=60s")
    work(run)
    saved = json.loads((run.checkpoints / "step-00000035" / "trainer.json").read_text())
    _, end, _, decay_from = saved["segments"][0]
    assert decay_from is not None, "the decay has begun"
    monkeypatch.setattr(StepClock, "step_s", 6.0)
    work(run)
    state = status(run)
    assert state["status"] == "completed"
    assert 35 < state["step"] < end
    assert 35 + 6 * (state["step"] - 35) <= 66
    assert [each["code"] for each in events(run, "message")].count("deadline") == 1
    again = run.events.read_bytes()
    work(run)  # nothing is left to train
    assert len(events(run, "step")) == again.count(b'"kind":"step"')


def test_a_run_that_is_stopped_within_its_decay_repeats_it_exactly(tmp_path: Path, each_event: list[Work]) -> None:
    whole = new_run(tmp_path / "whole", "train.time=60s")
    work(whole)
    steps = events(whole, "step")
    cut = len(steps) - 5

    def stop(session: Session, event: Event) -> None:
        if session.number == 1 and isinstance(event, Step) and event.step == cut:
            session.stop_requested = "for the test"

    each_event.append(stop)
    stopped = new_run(tmp_path / "stopped", "train.time=60s")
    work(stopped)
    assert status(stopped)["step"] == cut
    work(stopped)
    assert status(stopped)["status"] == "completed"
    again = {step["step"]: (step["loss"], step["lr"]) for step in events(stopped, "step")}
    assert again == {step["step"]: (step["loss"], step["lr"]) for step in steps}


def test_a_resume_before_the_decay_trains_for_the_time_that_is_left(tmp_path: Path, each_event: list[Work]) -> None:
    def stop(session: Session, event: Event) -> None:
        if session.number == 1 and isinstance(event, Step) and event.step == 15:
            session.stop_requested = "for the test"

    each_event.append(stop)
    run = new_run(tmp_path, "train.time=60s")
    work(run)
    saved = json.loads((run.checkpoints / "step-00000015" / "trainer.json").read_text())
    assert saved["time_used_s"] == 15
    assert saved["segments"][0][3] is None  # the decay has not begun
    work(run)
    assert 40 <= status(run)["step"] <= 60


def test_the_chosen_size_is_written_into_the_config_and_kept_on_resume(
    tmp_path: Path, each_event: list[Work], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = new_run(tmp_path, *CHOSEN)
    speeds = iter([2e5, 1.5e5, 1e5, 5e4])
    monkeypatch.setattr("seedbed.jobs.sizing._speed", lambda *_: next(speeds))

    def stop(session: Session, event: Event) -> None:
        if session.number == 1 and isinstance(event, Step) and event.step == 2:
            session.stop_requested = "for the test"

    each_event.append(stop)
    work(run)
    config = load_frozen(run.config, TRAIN)
    assert (config.train.size, config.train.time, config.train.keep) == ("given", "60s", ())
    assert (config.model.context, config.train.batch_size) == (16, 2)
    assert config.model.hidden >= 64
    assert "# chosen for 1m" in run.config.read_text()
    (message,) = [each for each in events(run, "message") if each["code"] == "size"]
    assert message["text"].startswith(f"Chosen for 1m: {config.model.layers} layers x {config.model.hidden}")
    steps = re.search(r"tokens in ([\d,]+) steps", message["text"])
    assert steps
    planned = next(each["steps"] for each in events(run, "run") if each.get("steps"))
    assert planned == int(steps[1].replace(",", "")), "the counter begins with the number that was announced"
    before = run.config.read_bytes()
    work(run)  # measures nothing: `speeds` is not asked again
    assert run.config.read_bytes() == before
    assert len([each for each in events(run, "message") if each["code"] == "size"]) == 1


def test_a_run_whose_data_moved_before_its_size_was_chosen_continues_with_the_moved_data(
    tmp_path: Path, each_event: list[Work], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seedbed.jobs.sizing._speed", lambda *_: 1e5)
    text = "".join(f"In the year {year} a ship came to the harbour with {year % 7} sails.\n\n" for year in range(2000))
    old, new = tmp_path / "old.txt", tmp_path / "new.txt"
    old.write_text(text)
    run = new_run(tmp_path, *CHOSEN, f"data.source=text:{old}", "data.workers=1")
    old.rename(new)
    work(run, expect=2)
    assert load_frozen(run.config, TRAIN).train.size == "auto"
    stop_at(each_event, 2, session=2)
    work(run, data=f"text:{new}")
    config = load_frozen(run.config, TRAIN)
    assert (config.train.size, config.data.source) == ("given", f"text:{new}")
    assert recorded_origins(run.config)["data.source"] == "resume"
    assert status(run)["step"] == 2
    work(run)  # the new place is in the config now


def test_a_missing_device_is_reported_once_when_the_size_is_chosen(
    tmp_path: Path, each_event: list[Work], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seedbed.jobs.sizing._speed", lambda *_: 1e5)
    stop_at(each_event, 2)
    run = new_run(tmp_path, *CHOSEN, "train.device=cuda:77")
    work(run)
    assert [each["code"] for each in events(run, "message")].count("device") == 1


def test_threads_are_compared_once_for_a_size_that_is_given(
    tmp_path: Path, each_event: list[Work], monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = torch.get_num_threads()
    timed: list[int] = []

    def speed(*_: Any) -> float:
        timed.append(torch.get_num_threads())
        return 1e5 / timed[-1]

    monkeypatch.setattr("seedbed.jobs.sizing._speed", speed)
    monkeypatch.setattr("seedbed.jobs.sizing.os.getloadavg", lambda: (0.0, 0.0, 0.0))
    monkeypatch.setattr("seedbed.train.device.default_threads", lambda: 2)
    stop_at(each_event, 2)
    run = new_run(tmp_path, "train.time=60s", "train.threads=0")
    try:
        work(run)
        assert timed == [1, 2]
        assert status(run)["step"] == 2
        assert {each["threads"] for each in events(run, "run") if each.get("threads")} == {1}
        work(run)
        assert timed == [1, 2], "a resume keeps the number of threads"
        assert {each["threads"] for each in events(run, "run") if each.get("threads")} == {1}
    finally:
        torch.set_num_threads(threads)


def test_the_validations_of_a_training_on_from_a_model_take_a_twentieth_of_the_time_each(
    tmp_path: Path, each_event: list[Work]
) -> None:
    base = trained_bases.make(tmp_path / "base")
    (tmp_path / "notes.txt").write_text(trained_bases.text())
    source = f"data.source=text:{tmp_path / 'notes.txt'}"
    given = [each for each in SETTINGS if each not in MODEL_AND_DATA]
    sets = (*given, f"base.model={base}", "model.context=16", source, "data.validation=0.2", "train.time=60s")
    resolved = resolve(TRAIN, sets=(*sets, "data.workers=1"))
    run = Store(tmp_path / "runs").create("train", "timed", dump(resolved.config, resolved.origins), {})
    stop_at(each_event, 30)
    work(run)
    work(run)
    most = 0.05 * 60 / (1.0 * FORWARD_SHARE / (2 * 16))
    validated = {(each["step"], each["tokens"]) for each in events(run, "eval") if not each["full"]}
    assert {tokens for _, tokens in validated} == {math.ceil(int(most) / 16) * 16}
    assert {0, 20, 40} <= {step for step, _ in validated}
    assert [each["code"] for each in events(run, "message")].count("validation-limited") == 1
    assert status(run)["status"] == "completed"


@pytest.mark.parametrize(("size", "rate", "expected"), [(1e6, 1e9, 0.311), (1e9, 0.6e9, 3.8), (1e9, None, 11.3)])
def test_a_long_last_save_is_estimated_by_the_measured_speed_of_the_disk(
    size: float, rate: float | None, expected: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "write_rate", lambda _: rate)
    run: Any = SimpleNamespace(total_s=60.0, _session=SimpleNamespace(run=SimpleNamespace(path=tmp_path)))
    assert timing.Timing._save_s(run, int(size)) == pytest.approx(expected)
