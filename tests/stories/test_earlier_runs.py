"""A run that an earlier version made and stopped halfway loads, goes on and writes text as that version would have."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "fixtures" / "before_seams"
RUN = "20261129-022407-792-before-seams"
EXPECTED: dict[str, Any] = json.loads((FOLDER / "expected.json").read_text())
"""What the version that made the run computed when it resumed a copy of it."""


@pytest.fixture
def earlier(workshop: Any) -> Path:
    """The run in the workshop's store: trained to step 20, then to 50, set to train to 62, then to 72; stopped at 54."""
    return Path(shutil.copytree(FOLDER / RUN, workshop.runs / RUN))


def test_its_status_curve_and_list_are_read(workshop: Any, earlier: Path) -> None:
    found = workshop.status("before-seams")
    assert (found["status"], found["step"], found["steps"], found["session"]) == ("stopped", 54, 72, 4)
    assert found["final_val_step"] == 50
    assert RUN in workshop.seedbed("runs", "--json").stdout
    rows = workshop.seedbed("metrics", "before-seams", "--csv").stdout.splitlines()
    assert len([row for row in rows if row.split(",")[0].isdigit()]) >= 54
    assert "final loss" in workshop.seedbed("status", "before-seams").stdout
    assert "training loss" in workshop.seedbed("curve", "before-seams").stdout


def test_it_goes_on_as_the_version_that_made_it_would(workshop: Any, earlier: Path) -> None:
    workshop.seedbed("resume", "before-seams")
    assert workshop.status("before-seams")["status"] == "completed"
    losses = {str(row[0]): row[1] for row in workshop.steps(earlier)}
    for step, loss in EXPECTED["steps"].items():
        assert losses[step] == pytest.approx(loss, rel=1e-3), step
    evals = [
        (event["step"], event["full"], event["loss"])
        for event in workshop.events(earlier)
        if event["kind"] == "eval" and event["step"] > 54
    ]
    assert [each[:2] for each in evals] == [(step, full) for step, _, full in EXPECTED["evals"]]
    for (_, _, loss), (_, wanted, _) in zip(evals, EXPECTED["evals"], strict=True):
        assert loss == pytest.approx(wanted, rel=1e-3)


def test_it_writes_the_text_that_it_wrote_before(workshop: Any, earlier: Path) -> None:
    told = workshop.seedbed(
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
    assert json.loads(told.stdout)["text"] == EXPECTED["text"]
