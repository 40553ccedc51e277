"""What events add up to: sessions that start again void what came after, and time left is this session's own."""

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
from seedbed.runs.view import View, fold


class Clockwork:
    """Makes records with a clock that the test turns."""

    def __init__(self, t: float = 1000.0) -> None:
        self.t = t
        self.n = 0
        self.records: list[Record] = []

    def say(self, event: Event, after: float = 0.0) -> None:
        self.t += after
        record = decode(encode(event, self.n, self.t))
        assert record is not None
        self.records.append(record)
        self.n += 1

    def begin(self, session: int, step: int, steps: int, after: float = 0.0, **planned: int) -> None:
        self.say(events.Run(status="running", session=session, pid=7), after)
        self.say(
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
            self.say(step_event(step, step_s), step_s)

    @property
    def view(self) -> View:
        return fold(self.records)


def step_event(step: int, step_s: float = 0.5, loss: float | None = None) -> events.Step:
    return events.Step(
        step=step, loss=10 / step if loss is None else loss, lr=0.1, grad_norm=1.0, tokens=100 * step, step_s=step_s
    )


def score(step: int, loss: float, elapsed_s: float = 30.0) -> events.Eval:
    return events.Eval(step=step, loss=loss, perplexity=math.exp(loss), tokens=10, elapsed_s=elapsed_s)


def test_a_run_from_its_start() -> None:
    clock = Clockwork()
    clock.begin(1, 0, 100)
    clock.train(1, 60)
    view = clock.view
    assert (view.status, view.session, view.step, view.steps) == ("running", 1, 60, 100)
    assert view.loss == pytest.approx(10 / 60)
    assert view.tokens == 6000
    assert view.remaining_s() == pytest.approx(40 * 0.5)
    assert view.tokens_per_second() == pytest.approx(200)
    assert view.epoch(view.step) == pytest.approx(1.2)
    assert view.elapsed_s == pytest.approx(30)


def test_validations_to_come_are_in_the_time_left_by_what_they_took() -> None:
    clock = Clockwork()
    clock.begin(1, 0, 100, eval_every=10, eval_tokens=10, validation_tokens=10)
    for step in range(1, 51):
        clock.say(step_event(step), 0.5)
        if step % 10 == 0:
            clock.say(score(step, 3.0), 30.0)
    # 50 steps of half a second, validations after 60, 70, 80, 90 and 100
    assert clock.view.remaining_s() == pytest.approx(25 + 5 * 30, rel=0.01)
    assert clock.view.elapsed_s == pytest.approx(25 + 150)


def test_before_the_first_validation_its_time_is_estimated_from_a_steps() -> None:
    clock = Clockwork()
    clock.begin(1, 0, 100, eval_every=20, eval_tokens=300, validation_tokens=6000)
    clock.train(1, 10)
    # Scoring a token is a third of training on it: 1.7 ms. Four parts between steps; a part and everything at the end.
    assert clock.view.remaining_s() == pytest.approx(90 * 0.5 + (4 * 300 + 300 + 6000) * 0.5 / 100 / 3)


def test_a_validation_at_hand_counts_by_what_it_has_yet_to_score() -> None:
    clock = Clockwork()
    clock.begin(1, 0, 40, eval_every=20, eval_tokens=1000, validation_tokens=5000)
    clock.train(1, 20)
    clock.say(events.Phase(name="evaluate", step=20))
    later = 20 * 0.5 + (1000 + 5000) * 0.5 / 100 / 3
    told = [clock.view.remaining_s()]
    for done in (250, 500, 1000):
        clock.say(events.Data(stage="validation", done=done, total=1000, unit="tokens"), 1.0)
        told.append(clock.view.remaining_s())
    assert told == pytest.approx([later + left * 0.5 / 100 / 3 for left in (1000, 750, 500, 0)])
    clock.say(events.Phase(name="evaluate", step=20, done=True, elapsed_s=4.0))
    clock.say(events.Eval(step=20, loss=3.0, perplexity=20.0, tokens=1000, elapsed_s=4.0, full=False))
    assert clock.view.remaining_s() == pytest.approx(20 * 0.5 + 6000 * 0.004)
    clock.train(21, 40)
    assert clock.view.remaining_s() == pytest.approx(6000 * 0.004)
    clock.say(events.Phase(name="evaluate", step=40))
    assert clock.view.remaining_s() == pytest.approx(6000 * 0.004)
    clock.say(events.Data(stage="validation", done=500, total=1000, unit="tokens"), 1.0)
    assert clock.view.remaining_s() == pytest.approx(5500 * 0.004)
    clock.say(events.Data(stage="validation", done=2000, total=5000, unit="tokens"), 1.0)
    assert clock.view.remaining_s() == pytest.approx(3000 * 0.004)


def test_the_first_slow_steps_do_not_spoil_the_estimate() -> None:
    clock = Clockwork()
    clock.begin(1, 0, 1000)
    clock.say(step_event(1, 60.0), 60.0)
    clock.train(2, 50)
    assert clock.view.remaining_s() == pytest.approx(950 * 0.5, rel=0.1)


def test_a_resumed_session_estimates_from_its_own_steps() -> None:
    clock = Clockwork()
    clock.begin(1, 0, 1000)
    clock.train(1, 500, step_s=10.0)
    clock.begin(2, 500, 1000, after=3600)
    assert clock.view.remaining_s() is None, "no step of this session yet"
    clock.train(501, 550, step_s=0.1)
    assert clock.view.remaining_s() == pytest.approx(450 * 0.1, rel=0.1)
    assert clock.view.elapsed_s == pytest.approx(5000 + 5, rel=0.01), "the pause between sessions was counted"


def test_time_left_is_never_negative() -> None:
    clock = Clockwork()
    clock.begin(1, 0, 10)
    clock.train(1, 12)
    assert clock.view.remaining_s() == 0


@pytest.mark.parametrize("jump", [-7200.0, 7200.0, -1e9])
def test_a_clock_that_jumps_moves_no_duration(jump: float) -> None:
    clock = Clockwork()
    clock.begin(1, 0, 100)
    clock.train(1, 30)
    clock.t += jump
    clock.train(31, 60)
    assert clock.view.elapsed_s == pytest.approx(30, abs=60.5 if jump > 0 else 0.6)
    assert clock.view.remaining_s() == pytest.approx(20)


def test_a_session_that_starts_again_voids_what_came_later() -> None:
    clock = Clockwork()
    clock.begin(1, 0, 100)
    for step in range(1, 31):
        clock.say(step_event(step))
        if step % 10 == 0:
            clock.say(score(step, 5 - step / 10))
            clock.say(events.Checkpoint(step=step, path=f"checkpoints/step-{step:08d}", best=True))
    clock.begin(2, 20, 200)
    view = clock.view
    assert (view.step, view.steps, view.loss, view.tokens) == (20, 200, None, 2000)
    assert view.validations.compared[-1].step == view.validations.best[-1].step == 20
    assert [saved.step for saved in view.checkpoints] == [10, 20]
    clock.say(step_event(21))
    assert clock.view.loss == pytest.approx(10 / 21)


def test_a_session_that_fails_before_it_begins_voids_nothing() -> None:
    clock = Clockwork()
    clock.begin(1, 0, 100)
    clock.train(1, 30)
    clock.say(events.Run(status="running", session=2, pid=8))
    clock.say(events.Run(status="failed", session=2, reason="The checkpoint is cut.", hint="Name another."))
    view = clock.view
    assert (view.status, view.step, view.reason) == ("failed", 30, "The checkpoint is cut.")
    assert view.loss == pytest.approx(10 / 30)


def test_a_new_session_forgets_why_the_last_one_failed() -> None:
    clock = Clockwork()
    clock.begin(1, 0, 100)
    clock.say(events.Run(status="failed", session=1, reason="Out of memory."))
    clock.begin(2, 0, 100)
    assert clock.view.reason is None


def test_phases_nest_and_end() -> None:
    clock = Clockwork()
    clock.begin(1, 0, 100)
    clock.say(events.Phase(name="train"))
    clock.say(events.Phase(name="evaluate"))
    assert summary(clock.view)["phase"] == "evaluate"
    clock.say(events.Phase(name="evaluate", done=True))
    assert summary(clock.view)["phase"] == "train"
    clock.say(events.Run(status="completed", session=1))
    assert summary(clock.view)["phase"] is None


def test_retention_and_best() -> None:
    clock = Clockwork()
    clock.begin(1, 0, 100)
    for step, best, deleted in ((10, True, ()), (20, False, ()), (30, True, ("step-00000010",))):
        path = f"/somewhere/checkpoints/step-{step:08d}"
        clock.say(events.Checkpoint(step=step, path=path, best=best, deleted=deleted))
    view = clock.view
    assert [(saved.step, saved.best) for saved in view.checkpoints] == [(20, False), (30, True)]


def test_a_loss_that_is_no_number_is_null() -> None:
    clock = Clockwork()
    clock.begin(1, 0, 100)
    clock.say(step_event(1, loss=math.nan))
    clock.say(score(1, math.inf))
    assert clock.view.loss is None
    assert summary(clock.view)["val_loss"] is None


def test_kinds_of_tomorrow_only_move_the_clock() -> None:
    clock = Clockwork()
    clock.begin(1, 0, 100)
    clock.train(1, 3)
    before = clock.view
    future = decode(b'{"v":2,"n":99,"t":1005.0,"kind":"teleport","to":"mars"}\n')
    assert future is not None
    clock.records.append(future)
    after = clock.view
    assert after.n == 99
    assert summary(after) | {"updated": 0, "elapsed_s": 0} == summary(before) | {"updated": 0, "elapsed_s": 0}


def eventful() -> Iterator[Record]:
    """A long run with three sessions, validations, retention, failures."""
    clock = Clockwork()
    generator = random.Random(4)
    step = 0
    for session in (1, 2, 3):
        step = max(0, step - generator.randint(0, 40))
        clock.begin(session, step, 400)
        for _ in range(150):
            step += 1
            clock.say(step_event(step, generator.uniform(0.1, 0.3)), 0.2)
            if step % 7 == 0:
                clock.say(score(step, generator.uniform(1, 4)), 0.1)
            if step % 25 == 0:
                clock.say(events.Checkpoint(step=step, path=f"step-{step:08d}", best=step % 50 == 0))
            if step % 60 == 0:
                clock.say(events.Message(level="warning", code="x", text="careful"))
    yield from clock.records


def test_a_snapshot_goes_on_as_if_nothing_had_been_left_out() -> None:
    records = list(eventful())
    whole = fold(records)
    for cut in range(0, len(records), 37):
        saved = msgspec.json.encode(fold(records[:cut]))
        view = msgspec.json.decode(saved, type=View)
        for record in records[cut:]:
            view.add(record)
        assert summary(view) == summary(whole), cut
        assert view.remaining_s() == whole.remaining_s()


def test_a_snapshot_stays_small() -> None:
    clock = Clockwork()
    clock.begin(1, 0, 100_000)
    for step in range(1, 20_001):
        clock.say(step_event(step), 0.01)
        if step % 10 == 0:
            clock.say(score(step, 3 + step % 7))
    assert len(msgspec.json.encode(clock.view)) < 16_000


# Time left, against the steps that a run of the same kind then really took ---------------------------------------------------


class Pace(NamedTuple):
    """What a run spends its time on. Seconds; `every` in steps, 0 for never."""

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
    """What a run of such a pace tells of itself at its beginning."""
    return {
        "eval_every": pace.eval_every,
        "sample_every": pace.sample_every,
        "checkpoint_every": pace.save_every,
        "eval_tokens": 10 if pace.eval_every else 0,
        "validation_tokens": 10 if pace.eval_every else 0,
    }


def live(clock: Clockwork, pace: Pace, first: int, last: int, total: int, seed: int = 1) -> dict[int, float]:
    """Let a session train from step `first` to `last`; the time by its clock after each."""
    chance, done = random.Random(seed), {}
    for step in range(first, last + 1):
        seconds = pace.first_s if step == first else pace.step_s * chance.uniform(1 - pace.jitter, 1 + pace.jitter)
        clock.say(step_event(step, seconds), seconds)
        done[step] = clock.t
        for name, every, seconds in (
            ("evaluate", pace.eval_every, pace.eval_s),
            ("sample", pace.sample_every, pace.sample_s),
        ):
            if every and (step % every == 0 or step == total):
                clock.say(events.Phase(name=name, step=step), 0.0)
                clock.say(events.Hardware(rss_bytes=1), seconds / 2)
                clock.say(events.Phase(name=name, step=step, done=True, elapsed_s=seconds), seconds / 2)
                if name == "evaluate":
                    clock.say(score(step, 3.0, seconds))
        if pace.save_every and (step % pace.save_every == 0 or step == total):
            clock.t += pace.stall_s
            path = f"checkpoints/step-{step:08d}"
            clock.say(events.Checkpoint(step=step, path=path, stall_s=pace.stall_s, write_s=2.0), 0.0)
    return done


PACES = {
    "steady": Pace(),
    "uneven": Pace(jitter=0.5),
    "compiling": Pace(first_s=90.0),
    "evaluating": Pace(eval_every=20, eval_s=30.0),
    "evaluating seldom": Pace(eval_every=50, eval_s=120.0),
    "saving": Pace(save_every=25, stall_s=15.0),
    "all at once": Pace(
        0.2, 60.0, 0.3, eval_every=20, eval_s=5.0, save_every=30, stall_s=2.0, sample_every=40, sample_s=4.0
    ),
}


@pytest.mark.parametrize("pace", [pytest.param(pace, id=name) for name, pace in PACES.items()])
@pytest.mark.parametrize("resumed_at", [0, 400])
def test_after_fifty_steps_the_time_that_is_left_is_told_to_a_tenth(pace: Pace, resumed_at: int) -> None:
    total, clock = 1000, Clockwork()
    clock.begin(1, 0, total, **planned(pace))
    if resumed_at:
        live(clock, pace._replace(step_s=20.0, first_s=300.0, eval_s=500.0, stall_s=99.0), 1, resumed_at, total)
        clock.begin(2, resumed_at, total, after=9000.0, **planned(pace))
    begun = len(clock.records)
    done = live(clock, pace, resumed_at + 1, total, total)
    view = fold(clock.records[:begun])
    for record in clock.records[begun:]:
        view.add(record)
        left = view.remaining_s()
        assert left is None or left >= 0
        if isinstance(record.event, events.Step) and record.event.step > resumed_at + 50:
            truth = clock.t - done[record.event.step]
            # Towards the end a step more or less is much of what is left. A validation is told of when it begins.
            slack = 5 * pace.step_s + max(pace.eval_s, pace.stall_s) + pace.sample_s
            assert left == pytest.approx(truth, rel=0.1, abs=slack), f"at step {record.event.step}"


def test_time_spent_paused_is_no_part_of_the_time_left() -> None:
    clock = Clockwork()
    clock.begin(1, 0, 1000)
    clock.train(1, 60)
    before = clock.view.remaining_s()
    clock.say(events.Run(status="paused", session=1, step=60))
    for _ in range(30):
        clock.say(events.Hardware(rss_bytes=1), 50.0)
    clock.say(events.Run(status="running", session=1, step=60))
    assert clock.view.remaining_s() == before
    clock.train(61, 70)
    assert clock.view.remaining_s() == pytest.approx(930 * 0.5, rel=0.1)


def test_a_longer_horizon_is_in_the_time_left() -> None:
    clock = Clockwork()
    clock.begin(1, 0, 100)
    clock.train(1, 100)
    clock.say(events.Run(status="completed", session=1))
    assert clock.view.remaining_s() is None
    clock.begin(2, 100, 400)
    clock.train(101, 160, step_s=2.0)
    assert clock.view.remaining_s() == pytest.approx(240 * 2.0, rel=0.1)


def test_what_a_run_took_leaves_out_its_waits() -> None:
    clock = Clockwork()
    clock.say(events.Run(status="queued", session=1))
    clock.say(events.Run(status="queued", session=1, reason="It waits."), 40.0)
    clock.say(events.Run(status="running", session=1), 40.0)
    clock.begin(1, 0, 100)
    before = clock.view.elapsed_s
    clock.train(1, 10, step_s=1.0)
    clock.say(events.Run(status="paused", session=1, step=10))
    clock.say(events.Hardware(rss_bytes=1), 30.0)
    clock.say(events.Run(status="running", session=1, step=10), 30.0)
    clock.train(11, 20, step_s=1.0)
    assert clock.view.elapsed_s - before == pytest.approx(20.0, abs=1.5)
    assert before < 5.0


def test_a_warning_of_overfitting_goes_when_a_later_validation_is_better() -> None:
    clock = Clockwork()
    clock.begin(1, 0, 100)
    clock.train(1, 10)
    clock.say(events.Eval(step=10, loss=2.0, perplexity=7.0, tokens=9))
    clock.say(events.Message(level="warning", code="overfitting", text="Overfitting.", step=10))
    assert warnings(clock.view) == ["At step 10: Overfitting."]
    clock.train(11, 20)
    clock.say(events.Eval(step=20, loss=2.5, perplexity=9.0, tokens=9))
    assert warnings(clock.view) == ["At step 10: Overfitting."]
    clock.say(events.Eval(step=20, loss=1.9, perplexity=6.0, tokens=9))
    assert warnings(clock.view) == []


def test_warnings_of_the_session_are_told_once_each() -> None:
    clock = Clockwork()
    clock.begin(1, 0, 100)
    for step in (7, 9):
        clock.say(events.Message(level="warning", code="x", text="Overfitting.", why="Few words.", step=step))
    clock.say(events.Message(level="info", code="y", text="By the way."))
    clock.say(events.Message(level="warning", code="z", text="Little text.", hint="Add some."))
    told = ["At step 7: Overfitting. Few words.", "Little text. Add some."]
    assert summary(clock.view)["warnings"] == told
