"""Every step in force, as one reads them from the log line by line in the plainest way; and in bounded memory."""

from __future__ import annotations

import itertools
import math
import tracemalloc
from typing import Any

import pytest

from seedbed.events import Eval, Run, Step
from seedbed.runs import metrics as metrics_module
from seedbed.runs.metrics import metrics
from seedbed.runs.store import RunDir


@pytest.mark.parametrize("seed", range(12))
def test_the_steps_are_those_that_a_plain_reader_finds(
    run: RunDir, write_as: Any, truth_of: Any, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_module, "_BLOCK", 1 << (8 + seed))
    log = write_as(run, seed).life(900)
    run.events.write_bytes(log)
    found, truth = list(metrics(run)), truth_of(log)
    assert [(row.step, row.tokens, row.loss) for row in found] == [
        (known.step, known.tokens, known.loss) for known in truth.steps
    ]
    assert [(row.lr, row.grad_norm, row.step_s) for row in found] == [
        (known.lr, known.grad_norm, known.seconds) for known in truth.steps
    ]
    known_losses = {mark.loss for mark in truth.scores}
    assert {row.val_loss for row in found} - {None} <= known_losses


def test_validations_stand_beside_their_steps_and_speed_is_of_new_tokens(run: RunDir, scribe: Any) -> None:
    scribe.begin(1, 0)
    for step in (1, 2, 3, 4):
        scribe.say(scribe.step_event(step, step_s=0.5), after=1.0)
        if step in (2, 4):
            scribe.eval(step, loss=float(step))
    scribe.begin(2, 2)
    scribe.say(scribe.step_event(3, step_s=0.5))
    scribe.eval(9, loss=9.0)
    found = list(metrics(run))
    assert [(row.step, row.val_loss) for row in found] == [(1, None), (2, 2.0), (3, None)]
    tokens = [0, *(row.tokens for row in found)]
    assert [row.tokens_per_s for row in found] == [2 * (b - a) for a, b in itertools.pairwise(tokens)]
    assert found[1].time - found[0].time == pytest.approx(1.0)


def test_what_is_no_finite_number_and_what_is_unknown_is_none(run: RunDir, scribe: Any) -> None:
    scribe.say(Run(status="running", session=1, steps=9))
    scribe.say(Step(step=5, loss=math.nan, lr=math.inf, grad_norm=-math.inf, tokens=100, step_s=0.0))
    scribe.say(Eval(step=5, loss=math.nan, perplexity=1.0, tokens=1))
    scribe.say(Step(step=7, loss=1.0, lr=1.0, grad_norm=1.0, tokens=200, step_s=1.0))
    first, second = metrics(run)
    assert first[3:9] == (None, None, None, 0.0, None, None)
    assert second.tokens_per_s is None, "a step between is missing"


def test_a_run_without_a_log_or_with_a_torn_one_has_what_is_whole(run: RunDir, scribe: Any) -> None:
    assert list(metrics(run)) == []
    scribe.begin(1, 0)
    scribe.steps(1, 3)
    scribe.raw(scribe.line(scribe.step_event(4))[:-5])
    assert [row.step for row in metrics(run)] == [1, 2, 3]


def test_lines_that_cannot_be_read_are_told_by_their_place(run: RunDir, scribe: Any) -> None:
    scribe.begin(1, 0)
    scribe.steps(1, 2)
    place = run.events.stat().st_size
    scribe.raw(b'{"kind": "step", "st\n')
    scribe.raw(b"\n")  # a blank line is no damage
    scribe.raw(b'{"v":1,"n":9,"t":2.0,"kind":"unheard-of","x":1}\n')
    scribe.steps(3, 4)
    damaged: list[int] = []
    assert [row.step for row in metrics(run, damaged.append)] == [1, 2, 3, 4]
    assert damaged == [place]


def test_memory_does_not_grow_with_the_log(run: RunDir, scribe: Any) -> None:
    def peak() -> int:
        tracemalloc.start()
        count = sum(1 for _ in metrics(run))
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert count == 4000
        return size

    scribe.begin(1, 0)
    scribe.steps(1, 4000)
    small, padding = peak(), b'{"v":1,"n":0,"t":1.0,"kind":"message","text":"' + b"x" * 200 + b'"}\n'
    scribe.raw(padding * 100_000)
    assert peak() < small + 40_000_000, "more than some blocks of the log were held"
