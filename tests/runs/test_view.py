"""The view folds events: a session that goes back voids later ones; the remaining time follows the current session."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import pytest

from seedbed import events
from seedbed.events import Event, Record, decode, encode
from seedbed.runs.summary import summary, warnings
from seedbed.runs.view import View, view_of


class Recorder:
    """Makes records, with a clock that the test sets."""

    def __init__(self, t: float = 1000.0) -> None:
        self.t = t
        self.n = 0
        self.records: list[Record] = []

    def log(self, event: Event, after: float = 0.0) -> None:
        self.t += after
        record = decode(encode(event, self.n, self.t))
        assert record is not None
        self.records.append(record)
        self.n += 1

    def begin(self, session: int, step: int, steps: int, after: float = 0.0, **planned: int) -> None:
        self.log(events.Run(status="running", session=session, pid=7), after)
        self.log(
            events.Run(
                status="running",
                session=session,
                step=step,
                steps=steps,
                steps_per_epoch=50.0,
                tokens_per_step=100,
                **planned,  # type: ignore[arg-type]
            )
        )

    def train(self, first: int, last: int, step_s: float = 0.5) -> None:
        for step in range(first, last + 1):
            self.log(step_event(step, step_s), step_s)

    @property
    def view(self) -> View:
        return view_of(self.records)


def step_event(step: int, step_s: float = 0.5, loss: float | None = None) -> events.Step:
    return events.Step(
        step=step, loss=10 / step if loss is None else loss, lr=0.1, grad_norm=1.0, tokens=100 * step, step_s=step_s
    )


def score(step: int, loss: float, elapsed_s: float = 30.0) -> events.Eval:
    return events.Eval(step=step, loss=loss, perplexity=math.exp(loss), tokens=10, elapsed_s=elapsed_s)


def test_the_view_of_a_run_from_its_start() -> None:
    recorder = Recorder()
    recorder.begin(1, 0, 100)
    recorder.train(1, 60)
    view = recorder.view
    assert (view.status, view.session, view.step, view.steps) == ("running", 1, 60, 100)
    assert view.loss == pytest.approx(10 / 60)
    assert view.tokens == 6000
    assert view.remaining_s() == pytest.approx(40 * 0.5)
    assert view.tokens_per_second() == pytest.approx(200)
    assert view.epoch(view.step) == pytest.approx(1.2)
    assert view.elapsed_s == pytest.approx(30)


def test_the_remaining_time_includes_later_validations_at_their_measured_time() -> None:
    recorder = Recorder()
    recorder.begin(1, 0, 100, eval_every=10, eval_tokens=10, validation_tokens=10)
    for step in range(1, 51):
        recorder.log(step_event(step), 0.5)
        if step % 10 == 0:
            recorder.log(score(step, 3.0), 30.0)
    # 50 steps of half a second, validations after 60, 70, 80, 90 and 100
    assert recorder.view.remaining_s() == pytest.approx(25 + 5 * 30, rel=0.01)
    assert recorder.view.elapsed_s == pytest.approx(25 + 150)


def test_the_time_of_the_first_validation_is_estimated_from_the_time_of_a_step() -> None:
    recorder = Recorder()
    recorder.begin(1, 0, 100, eval_every=20, eval_tokens=300, validation_tokens=6000)
    recorder.train(1, 10)
    # Scoring a token takes a third of training on it: 1.7 ms. Four partial validations; a partial and a full one at the end.
    assert recorder.view.remaining_s() == pytest.approx(90 * 0.5 + (4 * 300 + 300 + 6000) * 0.5 / 100 / 3)


def test_the_current_validation_counts_by_the_tokens_that_it_has_not_scored_yet() -> None:
    recorder = Recorder()
    recorder.begin(1, 0, 40, eval_every=20, eval_tokens=1000, validation_tokens=5000)
    recorder.train(1, 20)
    recorder.log(events.Phase(name="evaluate", step=20))
    later = 20 * 0.5 + (1000 + 5000) * 0.5 / 100 / 3
    remaining = [recorder.view.remaining_s()]
    for done in (250, 500, 1000):
        recorder.log(events.Data(stage="validation", done=done, total=1000, unit="tokens"), 1.0)
        remaining.append(recorder.view.remaining_s())
    assert remaining == pytest.approx([later + left * 0.5 / 100 / 3 for left in (1000, 750, 500, 0)])
    recorder.log(events.Phase(name="evaluate", step=20, done=True, elapsed_s=4.0))
    recorder.log(events.Eval(step=20, loss=3.0, perplexity=20.0, tokens=1000, elapsed_s=4.0, full=False))
    assert recorder.view.remaining_s() == pytest.approx(20 * 0.5 + 6000 * 0.004)
    recorder.train(21, 40)
    assert recorder.view.remaining_s() == pytest.approx(6000 * 0.004)
    recorder.log(events.Phase(name="evaluate", step=40))
    assert recorder.view.remaining_s() == pytest.approx(6000 * 0.004)
    recorder.log(events.Data(stage="validation", done=500, total=1000, unit="tokens"), 1.0)
    assert recorder.view.remaining_s() == pytest.approx(5500 * 0.004)
    recorder.log(events.Data(stage="validation", done=2000, total=5000, unit="tokens"), 1.0)
    assert recorder.view.remaining_s() == pytest.approx(3000 * 0.004)


def test_slow_first_steps_do_not_distort_the_remaining_time() -> None:
    recorder = Recorder()
    recorder.begin(1, 0, 1000)
    recorder.log(step_event(1, 60.0), 60.0)
    recorder.train(2, 50)
    assert recorder.view.remaining_s() == pytest.approx(950 * 0.5, rel=0.1)


def test_a_resumed_session_estimates_from_its_own_steps() -> None:
    recorder = Recorder()
    recorder.begin(1, 0, 1000)
    recorder.train(1, 500, step_s=10.0)
    recorder.begin(2, 500, 1000, after=3600)
    assert recorder.view.remaining_s() is None, "there is no step of this session yet"
    recorder.train(501, 550, step_s=0.1)
    assert recorder.view.remaining_s() == pytest.approx(450 * 0.1, rel=0.1)
    assert recorder.view.elapsed_s == pytest.approx(5000 + 5, rel=0.01), "the time between sessions was counted"


def test_the_remaining_time_is_never_negative() -> None:
    recorder = Recorder()
    recorder.begin(1, 0, 10)
    recorder.train(1, 12)
    assert recorder.view.remaining_s() == 0


@pytest.mark.parametrize("jump", [-7200.0, 7200.0, -1e9])
def test_a_clock_change_adds_at_most_the_longest_gap_to_the_elapsed_time(jump: float) -> None:
    recorder = Recorder()
    recorder.begin(1, 0, 100)
    recorder.train(1, 30)
    recorder.t += jump
    recorder.train(31, 60)
    assert recorder.view.elapsed_s == pytest.approx(30, abs=60.5 if jump > 0 else 0.6)
    assert recorder.view.remaining_s() == pytest.approx(20)


def test_a_session_that_goes_back_voids_later_events() -> None:
    recorder = Recorder()
    recorder.begin(1, 0, 100)
    for step in range(1, 31):
        recorder.log(step_event(step))
        if step % 10 == 0:
            recorder.log(score(step, 5 - step / 10))
            recorder.log(events.Checkpoint(step=step, path=f"checkpoints/step-{step:08d}", best=True))
    recorder.begin(2, 20, 200)
    view = recorder.view
    assert (view.step, view.steps, view.loss, view.tokens) == (20, 200, None, 2000)
    assert view.validations.compared[-1].step == view.validations.best[-1].step == 20
    assert [saved.step for saved in view.checkpoints] == [10, 20]
    recorder.log(step_event(21))
    assert recorder.view.loss == pytest.approx(10 / 21)


def test_a_session_that_fails_before_it_begins_voids_nothing() -> None:
    recorder = Recorder()
    recorder.begin(1, 0, 100)
    recorder.train(1, 30)
    recorder.log(events.Run(status="running", session=2, pid=8))
    recorder.log(events.Run(status="failed", session=2, reason="The checkpoint is cut.", hint="Name another."))
    view = recorder.view
    assert (view.status, view.step, view.reason) == ("failed", 30, "The checkpoint is cut.")
    assert view.loss == pytest.approx(10 / 30)


def test_a_new_session_clears_the_reason_why_the_last_one_failed() -> None:
    recorder = Recorder()
    recorder.begin(1, 0, 100)
    recorder.log(events.Run(status="failed", session=1, reason="Out of memory."))
    recorder.begin(2, 0, 100)
    assert recorder.view.reason is None


def test_phases_nest_and_end() -> None:
    recorder = Recorder()
    recorder.begin(1, 0, 100)
    recorder.log(events.Phase(name="train"))
    recorder.log(events.Phase(name="evaluate"))
    assert summary(recorder.view)["phase"] == "evaluate"
    recorder.log(events.Phase(name="evaluate", done=True))
    assert summary(recorder.view)["phase"] == "train"
    recorder.log(events.Run(status="completed", session=1))
    assert summary(recorder.view)["phase"] is None


def test_deleted_checkpoints_are_dropped_and_the_best_one_is_marked() -> None:
    recorder = Recorder()
    recorder.begin(1, 0, 100)
    for step, best, deleted in ((10, True, ()), (20, False, ()), (30, True, ("step-00000010",))):
        path = f"/somewhere/checkpoints/step-{step:08d}"
        recorder.log(events.Checkpoint(step=step, path=path, best=best, deleted=deleted))
    view = recorder.view
    assert [(saved.step, saved.best) for saved in view.checkpoints] == [(20, False), (30, True)]


def test_a_loss_that_is_not_finite_is_none() -> None:
    recorder = Recorder()
    recorder.begin(1, 0, 100)
    recorder.log(step_event(1, loss=math.nan))
    recorder.log(score(1, math.inf))
    assert recorder.view.loss is None
    assert summary(recorder.view)["val_loss"] is None


def test_unknown_kinds_of_events_only_advance_the_time() -> None:
    recorder = Recorder()
    recorder.begin(1, 0, 100)
    recorder.train(1, 3)
    before = recorder.view
    future = decode(b'{"v":2,"n":99,"t":1005.0,"kind":"teleport","to":"mars"}\n')
    assert future is not None
    recorder.records.append(future)
    after = recorder.view
    assert after.n == 99
    assert summary(after) | {"updated": 0, "elapsed_s": 0} == summary(before) | {"updated": 0, "elapsed_s": 0}


def records_of_a_long_run() -> Iterator[Record]:
    """Three sessions that go back, with validations, checkpoints and warnings."""
    recorder = Recorder()
    generator = random.Random(4)
    step = 0
    for session in (1, 2, 3):
        step = max(0, step - generator.randint(0, 40))
        recorder.begin(session, step, 400)
        for _ in range(150):
            step += 1
            recorder.log(step_event(step, generator.uniform(0.1, 0.3)), 0.2)
            if step % 7 == 0:
                recorder.log(score(step, generator.uniform(1, 4)), 0.1)
            if step % 25 == 0:
                recorder.log(events.Checkpoint(step=step, path=f"step-{step:08d}", best=step % 50 == 0))
            if step % 60 == 0:
                recorder.log(events.Message(level="warning", code="x", text="careful"))
    yield from recorder.records


def test_folding_from_a_saved_view_gives_the_same_result_as_from_the_start() -> None:
    records = list(records_of_a_long_run())
    whole = view_of(records)
    for cut in range(0, len(records), 37):
        saved = msgspec.json.encode(view_of(records[:cut]))
        view = msgspec.json.decode(saved, type=View)
        for record in records[cut:]:
            view.add(record)
        assert summary(view) == summary(whole), cut
        assert view.remaining_s() == whole.remaining_s()


def test_a_saved_view_stays_small() -> None:
    recorder = Recorder()
    recorder.begin(1, 0, 100_000)
    for step in range(1, 20_001):
        recorder.log(step_event(step), 0.01)
        if step % 10 == 0:
            recorder.log(score(step, 3 + step % 7))
    assert len(msgspec.json.encode(recorder.view)) < 16_000


# The remaining time, compared with the time that a simulated run then takes ------------------------------------------


class Pace(NamedTuple):
    """How a run spends its time: `..._s` in seconds; `..._every` in steps, 0 for never."""

    step_s: float = 0.5
    first_s: float = 0.5
    jitter: float = 0.0
    eval_every: int = 0
    eval_s: float = 0.0
    save_every: int = 0
    stall_s: float = 0.0
    sample_every: int = 0
    sample_s: float = 0.0


def planned(pace: Pace) -> dict[str, int]:
    """The planned work that a run of this pace logs at its beginning."""
    return {
        "eval_every": pace.eval_every,
        "sample_every": pace.sample_every,
        "checkpoint_every": pace.save_every,
        "eval_tokens": 10 if pace.eval_every else 0,
        "validation_tokens": 10 if pace.eval_every else 0,
    }


def simulate(recorder: Recorder, pace: Pace, first: int, last: int, total: int, seed: int = 1) -> dict[int, float]:
    """Log a session that trains from step `first` to `last`; returns the time after each step."""
    rng, end_of_step = random.Random(seed), {}
    for step in range(first, last + 1):
        seconds = pace.first_s if step == first else pace.step_s * rng.uniform(1 - pace.jitter, 1 + pace.jitter)
        recorder.log(step_event(step, seconds), seconds)
        end_of_step[step] = recorder.t
        for name, every, seconds in (
            ("evaluate", pace.eval_every, pace.eval_s),
            ("sample", pace.sample_every, pace.sample_s),
        ):
            if every and (step % every == 0 or step == total):
                recorder.log(events.Phase(name=name, step=step), 0.0)
                recorder.log(events.Hardware(rss_bytes=1), seconds / 2)
                recorder.log(events.Phase(name=name, step=step, done=True, elapsed_s=seconds), seconds / 2)
                if name == "evaluate":
                    recorder.log(score(step, 3.0, seconds))
        if pace.save_every and (step % pace.save_every == 0 or step == total):
            recorder.t += pace.stall_s
            path = f"checkpoints/step-{step:08d}"
            recorder.log(events.Checkpoint(step=step, path=path, stall_s=pace.stall_s, write_s=2.0), 0.0)
    return end_of_step


PACES = {
    "steady": Pace(),
    "uneven": Pace(jitter=0.5),
    "compiling": Pace(first_s=90.0),
    "evaluating": Pace(eval_every=20, eval_s=30.0),
    "evaluating rarely": Pace(eval_every=50, eval_s=120.0),
    "saving": Pace(save_every=25, stall_s=15.0),
    "all at once": Pace(
        0.2, 60.0, 0.3, eval_every=20, eval_s=5.0, save_every=30, stall_s=2.0, sample_every=40, sample_s=4.0
    ),
}


@pytest.mark.parametrize("pace", [pytest.param(pace, id=name) for name, pace in PACES.items()])
@pytest.mark.parametrize("resumed_at", [0, 400])
def test_after_fifty_steps_the_remaining_time_is_right_within_ten_percent(pace: Pace, resumed_at: int) -> None:
    total, recorder = 1000, Recorder()
    recorder.begin(1, 0, total, **planned(pace))
    if resumed_at:
        simulate(recorder, pace._replace(step_s=20.0, first_s=300.0, eval_s=500.0, stall_s=99.0), 1, resumed_at, total)
        recorder.begin(2, resumed_at, total, after=9000.0, **planned(pace))
    begun = len(recorder.records)
    end_of_step = simulate(recorder, pace, resumed_at + 1, total, total)
    view = view_of(recorder.records[:begun])
    for record in recorder.records[begun:]:
        view.add(record)
        left = view.remaining_s()
        assert left is None or left >= 0
        if isinstance(record.event, events.Step) and record.event.step > resumed_at + 50:
            truth = recorder.t - end_of_step[record.event.step]
            # Near the end a single step is a large part of the remaining time. A validation is logged when it begins.
            slack = 5 * pace.step_s + max(pace.eval_s, pace.stall_s) + pace.sample_s
            assert left == pytest.approx(truth, rel=0.1, abs=slack), f"at step {record.event.step}"


def test_a_pause_does_not_change_the_remaining_time() -> None:
    recorder = Recorder()
    recorder.begin(1, 0, 1000)
    recorder.train(1, 60)
    before = recorder.view.remaining_s()
    recorder.log(events.Run(status="paused", session=1, step=60))
    for _ in range(30):
        recorder.log(events.Hardware(rss_bytes=1), 50.0)
    recorder.log(events.Run(status="running", session=1, step=60))
    assert recorder.view.remaining_s() == before
    recorder.train(61, 70)
    assert recorder.view.remaining_s() == pytest.approx(930 * 0.5, rel=0.1)


def test_the_remaining_time_includes_added_steps() -> None:
    recorder = Recorder()
    recorder.begin(1, 0, 100)
    recorder.train(1, 100)
    recorder.log(events.Run(status="completed", session=1))
    assert recorder.view.remaining_s() is None
    recorder.begin(2, 100, 400)
    recorder.train(101, 160, step_s=2.0)
    assert recorder.view.remaining_s() == pytest.approx(240 * 2.0, rel=0.1)


def test_the_elapsed_time_excludes_queued_and_paused_time() -> None:
    recorder = Recorder()
    recorder.log(events.Run(status="queued", session=1))
    recorder.log(events.Run(status="queued", session=1, reason="It waits."), 40.0)
    recorder.log(events.Run(status="running", session=1), 40.0)
    recorder.begin(1, 0, 100)
    before = recorder.view.elapsed_s
    recorder.train(1, 10, step_s=1.0)
    recorder.log(events.Run(status="paused", session=1, step=10))
    recorder.log(events.Hardware(rss_bytes=1), 30.0)
    recorder.log(events.Run(status="running", session=1, step=10), 30.0)
    recorder.train(11, 20, step_s=1.0)
    assert recorder.view.elapsed_s - before == pytest.approx(20.0, abs=1.5)
    assert before < 5.0


def test_a_warning_of_overfitting_is_dropped_once_a_later_validation_is_better() -> None:
    recorder = Recorder()
    recorder.begin(1, 0, 100)
    recorder.train(1, 10)
    recorder.log(events.Eval(step=10, loss=2.0, perplexity=7.0, tokens=9))
    recorder.log(events.Message(level="warning", code="overfitting", text="Overfitting.", step=10))
    assert warnings(recorder.view) == ["At step 10: Overfitting."]
    recorder.train(11, 20)
    recorder.log(events.Eval(step=20, loss=2.5, perplexity=9.0, tokens=9))
    assert warnings(recorder.view) == ["At step 10: Overfitting."]
    recorder.log(events.Eval(step=20, loss=1.9, perplexity=6.0, tokens=9))
    assert warnings(recorder.view) == []


def test_each_warning_of_the_session_is_listed_once() -> None:
    recorder = Recorder()
    recorder.begin(1, 0, 100)
    for step in (7, 9):
        recorder.log(events.Message(level="warning", code="x", text="Overfitting.", why="Few words.", step=step))
    recorder.log(events.Message(level="info", code="y", text="By the way."))
    recorder.log(events.Message(level="warning", code="z", text="Little text.", hint="Add some."))
    expected = ["At step 7: Overfitting. Few words.", "Little text. Add some."]
    assert summary(recorder.view)["warnings"] == expected


def test_the_remaining_time_of_a_task_follows_from_its_progress() -> None:
    recorder = Recorder()

    def remaining_s() -> float | None:
        return view_of(recorder.records).remaining_s()

    recorder.log(events.Run(status="running", session=1, pid=7))
    for name, whole in (("prepare", None), ("score", True)):
        recorder.log(events.Phase(name=name))
        recorder.log(events.Data(stage=name, done=10, total=100, whole=whole), after=1.0)
        assert remaining_s() is None, "one event tells no speed"
        recorder.log(events.Data(stage=name, done=30, total=100, whole=whole), after=5.0)
        assert remaining_s() == (pytest.approx(5.0 / 20 * 70) if whole else None), name
        recorder.log(events.Phase(name=name, done=True))
    recorder.log(events.Run(status="running", session=2, pid=8))
    recorder.log(events.Data(stage="score", done=50, total=100, whole=True), after=1.0)
    assert remaining_s() is None, "the speed of an earlier session does not count"
    recorder.log(events.Data(stage="score", done=60, total=100, whole=True), after=1.0)
    assert remaining_s() == pytest.approx(4.0)
    recorder.log(events.Run(status="completed", session=2))
    assert remaining_s() is None
