"""A new kind of run, and a new kind of task, are each one new file and one line in the table of kinds."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import patience
from extended import differences, extended_source, run_python

ADDITIONS = Path(__file__).with_name("additions")
TABLE = ("runs/kinds.py", "KINDS: dict[str, Kind] = {")
BEGIN_RUN = """
from seedbed import actions
from seedbed.config.resolving import resolve
from seedbed.config.roots import TRAIN
from seedbed.runs.kinds import KINDS

wanted = resolve(TRAIN, sets=["train.steps=12", "train.batch_size=1", "train.eval_every=4", "train.checkpoint_every=4"])
launch = actions.start_new_run(actions.store(), KINDS["walk"], wanted, "there")
actions.wait_until_started(launch)
"""
BEGIN_TASK = """
from pathlib import Path
from seedbed import actions
from seedbed.runs.kinds import KINDS

launch = actions.start_new_task(actions.store(), KINDS["count"], Path("out/counted"))
actions.wait_until_started(launch)
"""
WINDOW = """
import asyncio, sys
from seedbed import actions
from seedbed.tui.app import Window

async def shown() -> str:
    window = Window(actions.store())
    async with window.run_test(size=(200, 60)) as pilot:
        for _ in range(600):
            await pilot.pause(0.1)
            text = "\\n".join(strip.text for strip in window.screen._compositor.render_strips())
            if sys.argv[1] in text and window.is_ready:
                return text
        return text

print(asyncio.run(shown()))
"""

Command = Callable[..., str]


def extended_command(tmp_path: Path, file: str, addition: str, line: str) -> Command:
    """Copy the source, add one file and one line, and return a function that runs the copy's commands in a new folder."""
    root = extended_source(tmp_path, {file: (ADDITIONS / addition).read_text()}, {TABLE[0]: (TABLE[1], f"    {line},")})
    assert differences(root) == {file, TABLE[0]}
    folder = tmp_path / "work"
    folder.mkdir()

    def command(*words: str, code: str = "") -> str:
        given = ["-c", code, *words] if code else ["-m", "seedbed", *words]
        return run_python(root, *given, folder=folder, env={"NO_COLOR": "1", "SEEDBED_CACHE": str(tmp_path)}).stdout

    return command


def status(command: Command, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(command("status", name, "--json"))
    return found


@pytest.fixture
def walk(tmp_path: Path) -> Command:
    return extended_command(
        tmp_path, "jobs/walk.py", "walk_job.py", '"walk": Kind("walk", "seedbed.jobs.walk:run", config="train")'
    )


@pytest.fixture
def count(tmp_path: Path) -> Command:
    return extended_command(
        tmp_path, "jobs/count.py", "count_task.py", '"count": Kind("count", "seedbed.jobs.count:run", is_run=False)'
    )


def test_a_new_kind_of_run_is_watched_stopped_and_resumed(walk: Command, tmp_path: Path) -> None:
    walk(code=BEGIN_RUN)
    patience.until(lambda: status(walk, "there")["step"] == 6)
    found = status(walk, "there")
    assert (found["kind"], found["status"], found["steps"], found["device_name"]) == ("walk", "running", 12, "Legs")
    assert found["val_loss"] == pytest.approx(1 + 4.0 / 2**4)
    walk("stop", "there", "--wait")
    stopped = status(walk, "there")
    assert (stopped["status"], stopped["checkpoint_step"]) == ("stopped", stopped["step"])
    assert "there" in walk("runs", "--status", "stopped")
    (run,) = (tmp_path / "work" / "runs").glob("2*")
    (run / "go").touch()
    assert "Finished at step 12" in walk("resume", "there")
    rows = walk("metrics", "there", "--csv").splitlines()
    losses = {row.split(",")[0]: row for row in rows}
    assert str(1 + 4.0 / 2**12) in losses["12"]
    assert "completed at step 12" in walk("logs", "there")
    walk("resume", "there", "--more-steps", "3")
    assert status(walk, "there")["step"] == 15
    shown = walk("there", code=WINDOW)
    assert "15/15" in shown
    assert "completed" in shown


def test_a_new_kind_of_task_shows_progress_and_can_be_stopped_and_resumed(count: Command, tmp_path: Path) -> None:
    texts = tmp_path / "work" / "texts"
    texts.mkdir()
    for number in range(4):
        (texts / f"{number}.txt").write_text("word " * (number + 1))
    count(code=BEGIN_TASK)
    patience.until(lambda: (status(count, "count-counted")["progress"] or {}).get("done") == 2)
    found = status(count, "count-counted")
    assert (found["kind"], found["status"]) == ("count", "running")
    assert found["output"] == str(tmp_path / "work" / "out" / "counted")
    shown = count("status", "count-counted")
    assert "counting: 2 of 4 texts" in shown
    assert "step" not in shown
    assert "50%" in count("runs")
    window = count("counting: 2 of 4", code=WINDOW)
    assert "counting: 2 of 4 texts" in window
    count("stop", "count-counted", "--wait")
    assert status(count, "count-counted")["status"] == "stopped"
    made = tmp_path / "work" / "out" / "counted"
    assert sorted(path.name for path in made.iterdir()) == ["0.json", "1.json"]
    (made / "0.json").write_text("kept")
    (texts / "go").touch()
    assert f"The result is in {made}" in count("resume", "count-counted")
    assert (made / "0.json").read_text() == "kept", "finished work was repeated"
    assert json.loads((made / "3.json").read_text()) == {"words": 4}
    log = count("logs", "count-counted")
    assert "counting: 0 of 4 texts" in log
    assert "at step" not in log
    assert "count-counted" not in count("runs", "--json")
    assert "count-counted" in count("runs", "--all")
    ended = time.time()
    assert status(count, "count-counted")["updated"] <= ended
    count("delete", "count-counted", "--yes")
    assert (made / "3.json").exists()
    assert "count-counted" not in count("runs", "--all")
