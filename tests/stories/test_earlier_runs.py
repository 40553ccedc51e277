"""A run that an earlier version wrote and stopped halfway loads, resumes and generates as in that version."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "fixtures" / "before_seams"
RUN = "20261129-022407-792-before-seams"
EXPECTED: dict[str, Any] = json.loads((FOLDER / "expected.json").read_text())
"""The results of the version that wrote the run, when it resumed a copy of it."""


@pytest.fixture
def earlier_run(workspace: Any) -> Path:
    """The run of the earlier version, in the workspace's store.

    It was trained to step 20, then to 50, then set to end at 62, later at 72, and stopped at 54.
    """
    return Path(shutil.copytree(FOLDER / RUN, workspace.runs / RUN))


def test_status_curve_and_list_show_the_earlier_run(workspace: Any, earlier_run: Path) -> None:
    found = workspace.status("before-seams")
    assert (found["status"], found["step"], found["steps"], found["session"]) == ("stopped", 54, 72, 4)
    assert found["final_val_step"] == 50
    assert RUN in workspace.seedbed("runs", "--json").stdout
    rows = workspace.seedbed("metrics", "before-seams", "--csv").stdout.splitlines()
    assert len([row for row in rows if row.split(",")[0].isdigit()]) >= 54
    assert "final loss" in workspace.seedbed("status", "before-seams").stdout
    assert "training loss" in workspace.seedbed("curve", "before-seams").stdout


def test_resume_trains_the_earlier_run_as_its_own_version_did(workspace: Any, earlier_run: Path) -> None:
    workspace.seedbed("resume", "before-seams")
    assert workspace.status("before-seams")["status"] == "completed"
    losses = {str(row[0]): row[1] for row in workspace.steps(earlier_run)}
    for step, loss in EXPECTED["steps"].items():
        assert losses[step] == pytest.approx(loss, rel=1e-3), step
    evals = [
        (event["step"], event["full"], event["loss"])
        for event in workspace.events(earlier_run)
        if event["kind"] == "eval" and event["step"] > 54
    ]
    assert [each[:2] for each in evals] == [(step, full) for step, _, full in EXPECTED["evals"]]
    for (_, _, loss), (_, wanted, _) in zip(evals, EXPECTED["evals"], strict=True):
        assert loss == pytest.approx(wanted, rel=1e-3)


def test_the_earlier_run_generates_the_same_text(workspace: Any, earlier_run: Path) -> None:
    output = workspace.seedbed(
        "generate",
        "before-seams",
        "--prompt",
        EXPECTED["prompt"],
        "--temperature",
        "0",
        "--max-new-tokens",
        "24",
        "--json",
    )
    assert json.loads(output.stdout)["text"] == EXPECTED["text"]
