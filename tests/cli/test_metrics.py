"""`seedbed metrics`: every step of a run as CSV, as JSON or in a table."""

from __future__ import annotations

import csv
import io
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import patience
from seedbed.events import Eval, Message, Run, Step, encode
from seedbed.runs.session import Session
from seedbed.runs.store import Store

COLUMNS = ["step", "tokens", "time", "loss", "lr", "grad_norm", "step_s", "val_loss", "tokens_per_s"]


def test_csv_and_json_hold_every_step_that_is_not_void(desk: Any) -> None:
    run = desk.train(steps=30)
    desk.seedbed("resume", run, "--from", "10", "--more-steps", "5")
    raw = desk.seedbed("metrics", "--csv").stdout
    rows = list(csv.DictReader(io.StringIO(raw, newline="")))
    objects = [json.loads(line) for line in desk.seedbed("metrics", run, "--json").stdout.splitlines()]
    assert list(rows[0]) == list(objects[0]) == COLUMNS
    assert [int(row["step"]) for row in rows] == [each["step"] for each in objects] == list(range(1, 16))
    for row, each in zip(rows, objects, strict=True):
        # The fake job's loss, and its validations of every tenth step.
        assert float(row["loss"]) == each["loss"] == pytest.approx(2 + 5 * math.exp(-each["step"] / 20))
        assert each["tokens"] == 512 * each["step"] == int(row["tokens"])
        assert (row["val_loss"] == "") is (each["val_loss"] is None) is (each["step"] not in (10, 15))
    assert objects[14]["time"] > objects[9]["time"]


def test_nan_and_infinity_are_empty_in_csv_and_null_in_json(desk: Any) -> None:
    run = Store(desk.runs).create("train", "alpha", "", {})
    with Session(run.path) as session:
        session.emit(Run(status="running", session=1, steps=3))
        session.emit(Step(step=1, loss=math.nan, lr=0.1, grad_norm=math.inf, tokens=5, step_s=0.5))
        session.finish("failed")
    assert json.loads(desk.seedbed("metrics", "--json").stdout)["loss"] is None
    (row,) = csv.DictReader(io.StringIO(desk.seedbed("metrics", "--csv").stdout))
    assert (row["loss"], row["grad_norm"], row["lr"], row["tokens_per_s"]) == ("", "", "0.1", "10.0")


def test_out_writes_a_whole_file_or_leaves_the_old_one(desk: Any) -> None:
    run = desk.train(steps=20)
    desk.seedbed("metrics", "--csv", "--out", "steps.csv")
    path = desk.folder / "steps.csv"
    assert path.read_bytes().decode() == desk.seedbed("metrics", "--csv").stdout.replace("\r\n", "\n").replace(
        "\n", "\r\n"
    )
    before = path.read_bytes()
    (desk.runs / run / "events.jsonl").chmod(0)
    (desk.runs / run / "events.jsonl").unlink()
    (desk.runs / run / "events.jsonl").mkdir()
    desk.seedbed("metrics", run, "--csv", "--out", "steps.csv", expect=1)
    assert path.read_bytes() == before
    assert "nowhere" in desk.seedbed("metrics", run, "--json", "--out", "nowhere/steps.json", expect=1).stderr
    assert not list(desk.folder.glob(".steps*"))


def test_unreadable_log_lines_are_left_out_and_reported(desk: Any) -> None:
    run = desk.train(steps=5)
    log = desk.runs / run / "events.jsonl"
    whole = log.read_bytes()
    log.write_bytes(whole + b'{"kind": "step", "st\n\xff\xfe\n')
    done = desk.seedbed("metrics", "--csv")
    assert [row["step"] for row in csv.DictReader(io.StringIO(done.stdout))] == ["1", "2", "3", "4", "5"]
    assert f"Omitted 2 lines of {log} that cannot be read, the first at byte {len(whole)}." in done.stderr
    log.write_bytes(whole)
    assert "cannot be read" not in desk.seedbed("metrics", "--csv").stderr


def test_csv_and_json_together_are_refused(desk: Any) -> None:
    desk.train(steps=3)
    assert "not allowed" in desk.seedbed("metrics", "--csv", "--json", expect=2).stderr
    desk.seedbed("metrics", "nothing", "--csv", expect=2)


def test_a_run_without_steps_has_no_rows(desk: Any) -> None:
    Store(desk.runs).create("train", "alpha", "", {})
    assert "logged a step" in desk.seedbed("metrics", "--csv", expect=2).stderr
    done = desk.seedbed("metrics", "alpha", "--csv")
    assert done.stdout.strip() == ",".join(COLUMNS)
    assert "no step yet" in done.stderr
    assert desk.seedbed("metrics", "alpha", "--json").stdout == ""


def long_log(path: Path, steps: int, length: int = 400) -> None:
    with path.open("wb") as log:
        log.write(encode(Run(status="running", session=1, steps=steps), 0, 0.0))
        for step in range(1, steps + 1):
            event = Step(step=step, loss=2.0, lr=0.1, grad_norm=1.0, tokens=step, step_s=0.1)
            log.write(encode(event, step, float(step)))
            log.write(encode(Message(level="info", code="x", text="x" * length), step, float(step)))
            if step % 1000 == 0:
                log.write(encode(Eval(step=step, loss=1.0, perplexity=2.0, tokens=1), step, float(step)))


def test_a_long_run_streams_in_bounded_memory_and_a_closed_pipe_prints_no_error(desk: Any) -> None:
    run = Store(desk.runs).create("train", "alpha", "", {})
    long_log(run.events, 60_000, 1_600)
    process = desk.start("metrics", "alpha", "--csv")
    assert process.stdout is not None
    assert process.stdout.readline().startswith("step,")
    process.stdout.close()
    assert process.wait(timeout=patience.HANG_S) == 141
    assert process.stderr is not None
    assert process.stderr.read() == ""
    long_log(Store(desk.runs).create("train", "short", "", {}).events, 500)
    assert peak_bytes(desk, "alpha") < peak_bytes(desk, "short") + 45_000_000
    assert run.events.stat().st_size > 100_000_000
    with (desk.folder / "alpha.jsonl").open() as lines:
        assert sum(1 for _ in lines) == 60_000


def peak_bytes(desk: Any, run: str) -> int:
    """The most memory that a process has while it writes the metrics of a run to RUN.jsonl."""
    # On Linux, getrusage gives the parent's peak if that was higher.
    code = f"""
import pathlib, resource, runpy, sys
sys.argv[1:] = ["metrics", "{run}", "--json", "--out", "{run}.jsonl", "--runs", {str(desk.runs)!r}]
try:
    runpy.run_module("seedbed", run_name="__main__")
except SystemExit as exited:
    proc_status = pathlib.Path("/proc/self/status")
    lines = proc_status.read_text().splitlines() if proc_status.exists() else []
    peaks = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")]
    print(exited.code, *(peaks or [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=desk.folder, capture_output=True, text=True, check=True)
    status, peak = done.stdout.split()
    assert status == "0"
    return int(peak)


def test_metrics_without_a_format_prints_a_table_of_the_whole_run(desk: Any) -> None:
    desk.train(steps=95)
    done = desk.seedbed("metrics")
    header, *rows = [line.split() for line in done.stdout.splitlines()]
    assert header == ["STEP", "TOKENS", "LOSS", "VAL", "LOSS", "LR", "GRAD", "NORM", "TOKENS/S"]
    steps = [int(row[0]) for row in rows]
    assert (steps[0], steps[-1]) == (1, 95)
    assert 10 <= len(steps) <= 22
    assert steps == sorted(set(steps))
    assert rows[-1][2] == f"{2 + 5 * math.exp(-95 / 20):.4f}"
    assert rows[-1][3] == f"{2.1 + 5 * math.exp(-95 / 20):.4f}", "not the loss of the last validation"
    assert f"{len(steps)} of 95 steps" in done.stderr
    assert "--csv or --json" in desk.seedbed("metrics", "--out", "x.csv", expect=2).stderr
    desk.train(steps=3)
    assert len(desk.seedbed("metrics").stdout.splitlines()) == 4
