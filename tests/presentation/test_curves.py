"""The curves that the window and the command line draw: of a single run, and of several runs in one chart."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from seedbed.chart.axes import FAINT
from seedbed.events import Eval, Run, Step
from seedbed.presentation.curves import METRICS, Drawn, extent, label, lines
from seedbed.runs.curves.points import ema
from seedbed.runs.curves.series import Series
from seedbed.runs.session import Session
from seedbed.runs.store import Store


def drawn(folder: Path, name: str, steps: int, *, rate: float = 0.1, eval_every: int = 0) -> Drawn:
    run = Store(folder).create("train", name, "", {})
    with Session(run.path) as session:
        session.emit(Run(status="running", session=1, steps=steps))
        for step in range(1, steps + 1):
            loss = 5.0 / step
            session.emit(Step(step=step, loss=loss, lr=rate / step, grad_norm=2.0 * step, tokens=10 * step, step_s=0.5))
            if eval_every and step % eval_every == 0:
                session.emit(Eval(step=step, loss=loss + 1, perplexity=math.exp(loss + 1), tokens=7))
        session.finish("completed")
    return Drawn(name, Series.load(run))


def test_a_single_run_has_curves_of_training_and_validation_loss(tmp_path: Path) -> None:
    training, validation = lines([drawn(tmp_path, "alpha", 6, eval_every=3)])
    assert (training.label, validation.label) == ("training loss", "validation loss")
    assert list(training.y) == [5.0 / step for step in range(1, 7)]
    assert (list(validation.x), list(validation.y)) == ([3, 6], [5 / 3 + 1, 5 / 6 + 1])
    assert training.tag == "", "a single run has a number"


def test_a_metric_of_a_run_that_is_not_simulated_keeps_its_own_name(tmp_path: Path) -> None:
    assert label("samples_per_s", [drawn(tmp_path, "alpha", 2)]) == "samples_per_s"


def test_several_runs_are_labelled_by_name_and_number(tmp_path: Path) -> None:
    shown = [drawn(tmp_path, "alpha", 4), drawn(tmp_path, "beta", 0), drawn(tmp_path, "gamma", 8, eval_every=4)]
    found = lines(shown)
    assert [(line.label, line.tag, line.series) for line in found] == [("alpha", "1", 0), ("gamma", "3", 2)]
    assert [list(line.x) for line in found] == [[*range(1, 5)], [*range(1, 9)]]
    assert extent(shown, "step") == (1, 8)
    assert extent(shown, "tokens") == (10, 80)
    assert extent(shown[1:2], "step") is None


@pytest.mark.parametrize(
    ("metric", "values"),
    [
        ("lr", [0.1 / step for step in range(1, 5)]),
        ("grad_norm", [2.0 * step for step in range(1, 5)]),
        ("tokens_per_s", [20.0] * 4),
        ("val_loss", [5 / 2 + 1, 5 / 4 + 1]),
    ],
)
def test_every_metric_can_be_drawn_for_one_run_and_for_several(
    tmp_path: Path, metric: str, values: list[float]
) -> None:
    one, other = drawn(tmp_path, "alpha", 4, eval_every=2), drawn(tmp_path, "beta", 4, eval_every=2)
    (alone,) = lines([one], metric=metric)
    assert list(alone.y) == pytest.approx(values)
    assert alone.label == METRICS[metric].partition(" (")[0]
    both = lines([one, other], metric=metric)
    assert [list(line.y) for line in both] == [pytest.approx(values)] * 2
    assert [line.label for line in both] == ["alpha", "beta"]


def test_smoothing_keeps_the_raw_curve_faint_behind_a_single_run(tmp_path: Path) -> None:
    one = drawn(tmp_path, "alpha", 9)
    behind, smooth = lines([one], smoothing=0.9)
    assert (behind.series, behind.label, smooth.series) == (FAINT, "", 0)
    assert list(smooth.y) == ema(list(behind.y), 0.9)
    assert [line.label for line in lines([one, one], smoothing=0.9)] == ["alpha", "alpha"]


def test_the_token_axis_places_every_point_and_validation_at_its_tokens(tmp_path: Path) -> None:
    training, validation = lines([drawn(tmp_path, "alpha", 4, eval_every=2)], axis="tokens")
    assert (list(training.x), list(validation.x)) == ([10, 20, 30, 40], [20, 40])
