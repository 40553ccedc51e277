"""One rule says which steps are in force, and every reader of a log follows it."""

from __future__ import annotations

import pytest

from seedbed.events import Checkpoint, Eval, Event, Run, Sample, Step, decode, encode
from seedbed.runs.curves.series import Series
from seedbed.runs.metrics import metrics
from seedbed.runs.samples import read_samples
from seedbed.runs.store import RunDir
from seedbed.runs.superseded import begins_at, goes_back_to, last_current_step, with_beginning
from seedbed.runs.view import view_of


def test_a_session_begins_at_a_running_event_with_planned_steps() -> None:
    assert begins_at(Run(status="running", session=2, step=4, steps=9)) == 4
    assert begins_at(Run(status="running", session=2, step=-4, steps=9)) == 0
    assert begins_at(Run(status="running", session=2, step=4)) is None
    assert begins_at(Run(status="stopped", session=2, step=4, steps=9)) is None


@pytest.mark.parametrize(("step", "last", "found"), [(5, 4, None), (9, 4, None), (4, 4, 3), (2, 4, 1), (1, -1, None)])
def test_logging_a_step_again_goes_back_to_the_step_before_it(step: int, last: int, found: int | None) -> None:
    assert goes_back_to(step, last) == found


def test_a_later_session_limits_the_current_steps_of_earlier_ones() -> None:
    begun: list[tuple[int, int]] = []
    for session, step in ((1, 0), (2, 100), (3, 60), (4, 80)):
        begun = with_beginning(begun, session, step)
    assert begun == [(1, 0), (3, 60), (4, 80)], "session 2 began at a step that is void"
    assert [last_current_step(begun, session, 500) for session in (1, 2, 3, 4)] == [60, 60, 80, 500]
    assert last_current_step(begun, 1, 50) == 50


def log(run: RunDir, *events: Event) -> None:
    with run.events.open("ab") as handle:
        handle.write(b"".join(encode(event, 0, 1000.0 + n) for n, event in enumerate(events)))


def all_events(step: int) -> list[Event]:
    return [
        Step(step=step, loss=2.0, lr=0.1, grad_norm=1.0, tokens=step, step_s=0.1),
        Eval(step=step, loss=2.0, perplexity=7.4, tokens=9),
        Sample(step=step, prompt="a", text="b"),
        Checkpoint(step=step, path=f"checkpoints/step-{step:08d}"),
    ]


@pytest.mark.parametrize("logs_beginning", [True, False])
def test_every_reader_leaves_out_the_same_steps(run: RunDir, *, logs_beginning: bool) -> None:
    """If a session logs where it begins, and if only its steps show it (the reader of samples ignores steps)."""
    log(run, Run(status="running", session=1, steps=9), *(event for step in (1, 2, 3) for event in all_events(step)))
    log(run, *([Run(status="running", session=2, step=1, steps=9)] if logs_beginning else []), *all_events(2))
    records = [record for line in run.events.read_bytes().splitlines() if (record := decode(line))]
    view, series = view_of(records), Series.load(run)
    assert view.step == 2
    assert [each.step for each in view.validations.compared] == [1, 2]
    assert [saved.step for saved in view.checkpoints] == [1, 2]
    assert [saved.step for saved in view.left] == [3]
    assert [point.x for point in series.window()] == [1, 2]
    assert [mark.step for mark in series.validations] == [mark.step for mark in series.checkpoints] == [1, 2]
    assert [row.step for row in metrics(run)] == [1, 2]
    if logs_beginning:
        assert [sample.step for sample in read_samples(run)] == [1, 2]
