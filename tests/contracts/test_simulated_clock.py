"""A simulated run has a clock of its own: a log that is written in a second is shown as 54 simulated days everywhere."""

from __future__ import annotations

import csv
import io
import json
import os
import time
from pathlib import Path

import pytest

import inprocess
from seedbed.events import Comm, Hardware, Node, Plugin, Run, Step
from seedbed.presentation.log import RunLog
from seedbed.runs.curves.index_file import index_path
from seedbed.runs.curves.series import Series
from seedbed.runs.estimate import _past
from seedbed.runs.session import Session
from seedbed.runs.status import status
from seedbed.runs.store import RunDir, Store

DAY = 86_400.0
DAYS, STEPS, DONE = 54, 2160, 1080
STEP_S = DAYS * DAY / STEPS
"""36 minutes of simulated time."""
TOKENS = 4_000_000


def seedbed(store: Path, *words: str) -> tuple[str, str]:
    done = inprocess.run((*words, "--runs", str(store)), store, {**os.environ, "NO_COLOR": "1"}, None)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def simulate(session: Session, first: int, last: int) -> None:
    start = Run(
        status="running", session=session.number, step=first, steps=STEPS, tokens_per_step=TOKENS, simulated=True
    )
    session.emit(start, first * STEP_S)
    for step in range(first + 1, last + 1):
        session.emit(
            Step(step=step, loss=2.0, lr=0.1, grad_norm=1.0, tokens=TOKENS * step, step_s=STEP_S), step * STEP_S
        )
        if step % 100 == 0:
            session.emit(Hardware(rss_bytes=1))  # by a thread that does not know the simulated time


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return Store(tmp_path / "runs").create("train", "alpha", "", {"preset": "nano"})


@pytest.fixture
def half_way(run: RunDir) -> RunDir:
    with Session(run.path) as session:
        simulate(session, 0, DONE)
        session.emit(Node(node=3, state="failed", reason="ECC error\x1b[2J"))
        session.emit(Node(node=4, state="joined"))
        for _ in range(3):
            session.emit(Comm(op="all_reduce", size_bytes=1 << 20, elapsed_s=0.5))
        session.emit(Plugin(name="wandb", text="offline", ok=False))
        session.finish("stopped")
    return run


def test_elapsed_remaining_and_speed_use_simulated_time(run: RunDir) -> None:
    with Session(run.path) as session:
        simulate(session, 0, DONE)
        found = status(run)
        assert found["simulated"]
        assert found["elapsed_s"] == pytest.approx(27 * DAY, abs=5)
        assert found["remaining_s"] == pytest.approx(27 * DAY, rel=1e-6)
        assert found["tokens_per_s"] == pytest.approx(TOKENS / STEP_S)
        assert found["eta"] is None, "simulated time cannot predict when the run will end"
        assert found["status"] == "running", "a clock that differs from the machine's must not mark the run as dead"
        assert abs(time.time() - found["updated"]) < 60, "the time of the last update is the machine's time"
        output, _ = seedbed(run.path.parent, "status", "alpha")
        assert "elapsed     27d 00h (simulated)" in output
        assert "remaining   27d 00h (simulated)\n" in output
        assert "tokens/s (simulated)" in output
        listed, _ = seedbed(run.path.parent, "runs")
        assert "27d 00h" in listed
        assert "SIMULATED alpha" in listed
        assert "SIMULATED alpha" in seedbed(run.path.parent, "queue")[0]


def test_gaps_between_sessions_and_pauses_add_no_simulated_time(half_way: RunDir) -> None:
    with Session(half_way.path) as session:
        simulate(session, DONE, STEPS)
        session.pause_requested = False
        session.wait_paused("asked to pause")
        session.finish("completed")
    found = status(half_way)
    assert found["elapsed_s"] == pytest.approx(54 * DAY, abs=10)
    assert abs(found["started"] - time.time()) < 600


@pytest.mark.parametrize("indexed", [True, False])
def test_curves_use_simulated_time(half_way: RunDir, *, indexed: bool) -> None:
    if not indexed:
        index_path(half_way).unlink()
    low, high = Series.load(half_way).extent("time") or (0.0, 0.0)
    assert high - low == pytest.approx((DONE - 1) * STEP_S)
    drawn, _ = seedbed(half_way.path.parent, "curve", "alpha", "--x", "time")
    assert drawn.splitlines()[0] == "alpha: training loss, along simulated time"
    assert "26d" in drawn or "27d" in drawn or "20d" in drawn
    seedbed(half_way.path.parent, "curve", "alpha", "--x", "time", "--svg", str(half_way.path / "a.svg"))
    assert "hours of simulated time" in (half_way.path / "a.svg").read_text()


def test_an_index_written_over_several_sessions_keeps_simulated_time(run: RunDir) -> None:
    for first in range(0, 400, 100):
        with Session(run.path) as session:  # each session continues the index of the previous one
            simulate(session, first, first + 100)
            session._write_state()
    with_index = Series.load(run).extent("time")
    index_path(run).unlink()
    assert Series.load(run).extent("time") == pytest.approx(with_index)
    assert (with_index or (0, 0))[1] == pytest.approx(400 * STEP_S, abs=20)


def test_the_table_of_steps_has_simulated_times_and_says_so(half_way: RunDir) -> None:
    output, notice = seedbed(half_way.path.parent, "metrics", "alpha", "--csv")
    rows = list(csv.DictReader(io.StringIO(output)))
    assert [float(row["time"]) for row in rows[:2]] == [STEP_S, 2 * STEP_S]
    assert float(rows[-1]["time"]) == 27 * DAY
    assert "simulated" in notice


def test_the_log_shows_simulated_times_in_a_readable_number_of_lines(half_way: RunDir) -> None:
    lines = [line for line in RunLog(half_way).new() if line.text.startswith("step ")]
    assert 50 < len(lines) < 400, "54 days must not give one line for each step, nor only a few lines"
    output, _ = seedbed(half_way.path.parent, "logs", "alpha", "-n", "20")
    assert "simulated 27d 00h  stopped at step 1080" in output
    assert "left (simulated)" in output
    assert "node 3 failed: ECC error" in output
    assert "plugin wandb: offline" in output
    assert "all_reduce" not in output, "they are in the status"
    assert "\x1b[2J" not in output


def test_nodes_collectives_and_plugins_are_in_the_status(half_way: RunDir) -> None:
    found = status(half_way)
    assert {state: each["count"] for state, each in found["nodes"].items()} == {"failed": 1, "joined": 1}
    assert found["nodes"]["failed"]["reason"].startswith("ECC error")
    assert found["comm"] == {"all_reduce": {"count": 3, "size_bytes": 3 << 20, "elapsed_s": 1.5}}
    assert found["plugins"] == [{"name": "wandb", "text": "offline", "ok": False}]
    output, _ = seedbed(half_way.path.parent, "status", "alpha")
    assert "1 failed (ECC error), 1 joined" in output
    assert "all_reduce 1.0 MiB in 500.0 ms on average" in output
    assert "wandb: offline" in output
    assert "\x1b[2J" not in output
    as_csv, _ = seedbed(half_way.path.parent, "runs", "--csv")
    (row,) = csv.DictReader(io.StringIO(as_csv))
    assert json.loads(row["comm"])["all_reduce"]["count"] == 3


def test_a_simulated_run_is_not_used_to_estimate_the_speed_of_this_machine(half_way: RunDir) -> None:
    assert _past(Store(half_way.path.parent)) == []


async def test_the_window_marks_a_simulated_run(half_way: RunDir) -> None:
    pytest.importorskip("textual")
    from seedbed.tui.app import Window

    window = Window(Store(half_way.path.parent))
    async with window.run_test(size=(150, 40)) as pilot:

        async def wait_for(*words: str) -> None:
            for _ in range(600):
                shown = "\n".join(strip.text for strip in window.screen._compositor.render_strips())
                if all(word in shown for word in words):
                    return
                await pilot.pause(0.05)
            pytest.fail(f"{words!r} did not appear:\n{shown}")

        await wait_for("SIMULATED alpha", "⣿ train")
        await pilot.press("x", "x")
        await wait_for("x: simulated time")
        await pilot.press("enter")
        await wait_for("SIMULATED", "elapsed 27d 00h (simulated)")
