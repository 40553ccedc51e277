"""An open metric, whose name no code knows, is shown everywhere: tables, CSV, JSON, curves, the status and the window."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

import inprocess
from seedbed.events import MOST_METRICS, Eval, Run, Step, decode, encode, open_metrics
from seedbed.runs.curves.index_file import index_path
from seedbed.runs.curves.series import Series
from seedbed.runs.session import Session
from seedbed.runs.status import status
from seedbed.runs.store import RunDir, Store

STEPS = 300


def seedbed(store: Path, *words: str, expect: int = 0) -> str:
    done = inprocess.run((*words, "--runs", str(store)), store, {**os.environ, "NO_COLOR": "1"}, None)
    assert done.returncode == expect, done.stderr
    return done.stdout if expect == 0 else done.stderr


def goodput(step: int) -> float:
    return math.nan if step == 7 else 0.5 + step / 1000


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    made = Store(tmp_path / "runs").create("train", "alpha", "", {"preset": "nano", "data": "stories"})
    with Session(made.path) as session:
        session.emit(Run(status="running", session=1, steps=STEPS, tokens_per_step=10, device="cpu"))
        for step in range(1, STEPS + 1):
            metrics = {"goodput": goodput(step)} | ({"mfu": 0.4} if step % 10 == 0 else {})
            session.emit(
                Step(step=step, loss=2.0, lr=0.1, grad_norm=1.0, tokens=10 * step, step_s=0.1, metrics=metrics)
            )
            if step % 100 == 0:
                session.emit(Eval(step=step, loss=2.0, perplexity=7.4, tokens=9, metrics={"accuracy": step / 1000}))
        session.finish("completed")
    return made


def test_the_table_of_steps_has_a_column_for_an_open_metric(run: RunDir) -> None:
    header, *rows = seedbed(run.path.parent, "metrics", "alpha", "--csv").splitlines()
    names = header.split(",")
    assert names[-3:] == ["goodput", "mfu", "val_accuracy"]
    values = [dict(zip(names, row.split(","), strict=True)) for row in rows]
    assert len(values) == STEPS
    assert values[6]["goodput"] == "", "the cell of NaN is not empty"
    assert [float(values[at]["goodput"]) for at in (0, 299)] == [0.501, 0.8]
    assert [(row["step"], row["mfu"]) for row in values[8:11]] == [("9", ""), ("10", "0.4"), ("11", "")]
    assert [row["val_accuracy"] for row in values if row["val_accuracy"]] == ["0.1", "0.2", "0.3"]
    lines = [json.loads(line) for line in seedbed(run.path.parent, "metrics", "alpha", "--json").splitlines()]
    assert (lines[6]["goodput"], lines[99]["goodput"], lines[99]["val_accuracy"]) == (None, 0.6, 0.1)
    assert "goodput" in seedbed(run.path.parent, "metrics", "alpha").splitlines()[0]


def test_the_curve_of_an_open_metric_can_be_drawn_and_exported(run: RunDir) -> None:
    drawn = seedbed(run.path.parent, "curve", "alpha", "--y", "goodput")
    assert drawn.startswith("alpha: goodput")
    assert "⣀ goodput" in drawn
    found = json.loads(seedbed(run.path.parent, "curve", "alpha", "--y", "goodput", "--json"))
    assert [point["goodput"] for point in found["points"][:2]] == [0.501, 0.502]
    assert len(found["points"]) == STEPS - 1, "the step with NaN has a point"
    validated = json.loads(seedbed(run.path.parent, "curve", "alpha", "--y", "val_accuracy", "--json"))
    assert [point["val_accuracy"] for point in validated["validation"]] == [0.1, 0.2, 0.3]
    refused = seedbed(run.path.parent, "curve", "alpha", "--y", "goodptu", expect=2)
    assert "goodput, mfu, val_accuracy" in refused


@pytest.mark.parametrize("indexed", [False, True])
def test_the_curve_keeps_extremes_at_every_zoom_and_leaves_out_void_steps(run: RunDir, *, indexed: bool) -> None:
    with Session(run.path) as session:
        session.emit(Run(status="running", session=2, step=100, steps=STEPS))
        for step in range(101, 201):
            metrics = {"goodput": 9.0 if step == 150 else 0.1}
            session.emit(
                Step(step=step, loss=2.0, lr=0.1, grad_norm=1.0, tokens=10 * step, step_s=0.1, metrics=metrics)
            )
    assert index_path(run).exists()
    if not indexed:
        index_path(run).unlink()
    series = Series.load(run)
    for _ in series.load_metric("goodput"):
        pass
    for px in (1, 3, 400):
        points = series.window(px=px, key="goodput")
        assert max(point.high for point in points) == 9.0
        assert min(point.low for point in points) == 0.1
    singles = {point.x: point.mean for point in series.window(90, 110, px=400, key="goodput")}
    assert (singles[100], singles[101]) == (goodput(100), 0.1)
    assert math.isnan({point.x: point.mean for point in series.window(1, 20, px=400, key="goodput")}[7])


def test_the_status_has_the_last_value_of_each_open_metric(run: RunDir) -> None:
    assert status(run)["metrics"] == {"goodput": 0.8, "mfu": 0.4, "val_accuracy": 0.3}
    assert "goodput 0.8, mfu 0.4, val_accuracy 0.3" in seedbed(run.path.parent, "status", "alpha")


async def test_the_window_can_switch_to_the_curve_of_an_open_metric(run: RunDir) -> None:
    pytest.importorskip("textual")
    from seedbed.tui.app import Window
    from seedbed.tui.curve import Curve

    window = Window(Store(run.path.parent))
    async with window.run_test(size=(130, 40)) as pilot:

        def screen() -> str:
            return "\n".join(strip.text for strip in window.screen._compositor.render_strips())

        async def wait_for(words: str) -> None:
            for _ in range(600):
                if words in screen():
                    return
                await pilot.pause(0.05)
            pytest.fail(f"{words!r} did not appear:\n{screen()}")

        await wait_for("⣿ train")
        curve = window.screen.query_one(Curve)
        while curve.metric != "goodput":
            before = curve.metric
            await pilot.press("M")
            while curve.metric == before:
                await pilot.pause(0.02)
        await wait_for("⣿ goodput")
        await wait_for("0.8")
        for _ in range(2):
            await pilot.press("M")
        await wait_for("⣿ val_accuracy")


def test_lines_without_open_metrics_have_no_field_for_them() -> None:
    event = Step(step=1, loss=2.0, lr=0.1, grad_norm=1.0, tokens=10, step_s=0.1)
    assert encode(event, 3, 5.0) == (
        b'{"v":1,"n":3,"t":5.0,"kind":"step","step":1,"loss":2.0,"lr":0.1,"grad_norm":1.0,"tokens":10,"step_s":0.1}\n'
    )


def test_nan_and_infinity_are_null_in_the_log() -> None:
    metrics = {"a": math.nan, "b": math.inf, "c": 1.0}
    line = encode(Step(step=1, loss=2.0, lr=0.1, grad_norm=1.0, tokens=1, step_s=0.1, metrics=metrics), 0, 1.0)
    assert json.loads(line)["metrics"] == {"a": None, "b": None, "c": 1.0}
    record = decode(line)
    assert record is not None
    assert isinstance(record.event, Step)
    assert record.event.metrics is not None
    assert math.isnan(record.event.metrics["a"])


@pytest.mark.parametrize(
    "written", [None, 3, "goodput", [1], {"a": "x", "b": True, "c": {}, "": 1.0, "loss": 1.0, "step": 2}]
)
def test_invalid_metrics_are_left_out_and_the_step_is_kept(written: object) -> None:
    assert open_metrics(written) == {}
    line = {"v": 1, "n": 0, "t": 1.0, "kind": "step", "step": 1, "loss": 2.0, "lr": 0.1, "grad_norm": 1.0, "tokens": 1}
    record = decode(json.dumps(line | {"step_s": 1.0, "metrics": written}).encode())
    assert record is not None
    assert isinstance(record.event, Step)


def test_metric_names_are_limited_in_number_and_length_and_made_printable(tmp_path: Path) -> None:
    made = Store(tmp_path / "runs").create("train", "alpha", "", {})
    names = ["\x1b[2J\x1b]0;owned\x07good", "x" * 5000, "two\nlines", *(f"name {number}" for number in range(10_000))]
    with Session(made.path) as session:
        session.emit(Run(status="running", session=1, steps=99_999))
        for step, name in enumerate(names, 1):
            metrics = {name: 0.25, "huge": 10**400} if step > 1 else {name: 0.25}
            event = Step(step=step, loss=2.0, lr=0.1, grad_norm=1.0, tokens=step, step_s=0.1, metrics=metrics)
            session.emit(event)
    kept = status(made)["metrics"]
    assert len(kept) == MOST_METRICS
    assert max(map(len, kept)) < 60
    assert made.state.stat().st_size < 50_000
    shown = [name for name in kept if name.endswith("good")]
    assert kept["two lines"] == 0.25
    for words in (("status",), ("metrics",), ("metrics", "--csv"), ("curve", "--y", shown[0])):
        shown_text = seedbed(made.path.parent, words[0], "alpha", *words[1:])
        assert "\x1b" not in shown_text.replace("\x1b[0m", "")
        assert "\x07" not in shown_text
    points = json.loads(seedbed(made.path.parent, "curve", "alpha", "--y", shown[0], "--json"))["points"]
    assert [(point["first_step"], point[shown[0]]) for point in points] == [(1, 0.25)]
