"""The metrics of every step in force, as a simple reader of the log finds them, and in bounded memory."""

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
def test_metrics_match_a_line_by_line_reading_of_the_log(
    run: RunDir, make_log_writer: Any, truth_of: Any, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_module, "_BLOCK", 1 << (8 + seed))
    log = make_log_writer(run, seed).random_log(900)
    run.events.write_bytes(log)
    found, truth = list(metrics(run)), truth_of(log)
    assert [(row.step, row.tokens, row.loss) for row in found] == [
        (step.step, step.tokens, step.loss) for step in truth.steps
    ]
    assert [(row.lr, row.grad_norm, row.step_s) for row in found] == [
        (step.lr, step.grad_norm, step.seconds) for step in truth.steps
    ]
    known_losses = {mark.loss for mark in truth.validations}
    assert {row.val_loss for row in found} - {None} <= known_losses


def test_validation_losses_belong_to_their_steps_and_speed_counts_new_tokens(run: RunDir, log_writer: Any) -> None:
    log_writer.begin(1, 0)
    for step in (1, 2, 3, 4):
        log_writer.log(log_writer.step_event(step, step_s=0.5), after=1.0)
        if step in (2, 4):
            log_writer.eval(step, loss=float(step))
    log_writer.begin(2, 2)
    log_writer.log(log_writer.step_event(3, step_s=0.5))
    log_writer.eval(9, loss=9.0)
    found = list(metrics(run))
    assert [(row.step, row.val_loss) for row in found] == [(1, None), (2, 2.0), (3, None)]
    tokens = [0, *(row.tokens for row in found)]
    assert [row.tokens_per_s for row in found] == [2 * (b - a) for a, b in itertools.pairwise(tokens)]
    assert found[1].time - found[0].time == pytest.approx(1.0)


def test_non_finite_and_unknown_values_are_none(run: RunDir, log_writer: Any) -> None:
    log_writer.log(Run(status="running", session=1, steps=9))
    log_writer.log(Step(step=5, loss=math.nan, lr=math.inf, grad_norm=-math.inf, tokens=100, step_s=0.0))
    log_writer.log(Eval(step=5, loss=math.nan, perplexity=1.0, tokens=1))
    log_writer.log(Step(step=7, loss=1.0, lr=1.0, grad_norm=1.0, tokens=200, step_s=1.0))
    first, second = metrics(run)
    assert first[3:9] == (None, None, None, 0.0, None, None)
    assert second.tokens_per_s is None, "the step before it is missing"


def test_only_complete_lines_of_a_log_are_read(run: RunDir, log_writer: Any) -> None:
    assert list(metrics(run)) == []
    log_writer.begin(1, 0)
    log_writer.steps(1, 3)
    log_writer.append(log_writer.line(log_writer.step_event(4))[:-5])
    assert [row.step for row in metrics(run)] == [1, 2, 3]


def test_damaged_lines_are_reported_by_their_offset(run: RunDir, log_writer: Any) -> None:
    log_writer.begin(1, 0)
    log_writer.steps(1, 2)
    offset = run.events.stat().st_size
    log_writer.append(b'{"kind": "step", "st\n')
    log_writer.append(b"\n")  # a blank line does not count as damaged
    log_writer.append(b'{"v":1,"n":9,"t":2.0,"kind":"unheard-of","x":1}\n')
    log_writer.steps(3, 4)
    damaged: list[int] = []
    assert [row.step for row in metrics(run, damaged.append)] == [1, 2, 3, 4]
    assert damaged == [offset]


def test_memory_does_not_grow_with_the_log(run: RunDir, log_writer: Any) -> None:
    def peak() -> int:
        tracemalloc.start()
        count = sum(1 for _ in metrics(run))
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert count == 4000
        return size

    log_writer.begin(1, 0)
    log_writer.steps(1, 4000)
    small, padding = peak(), b'{"v":1,"n":0,"t":1.0,"kind":"message","text":"' + b"x" * 200 + b'"}\n'
    log_writer.append(padding * 100_000)
    assert peak() < small + 40_000_000, "more than a few blocks of the log were in memory"
