"""A new user with 40 MB of text loses power twice, during tokenization and during training, and resumes."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from seedbed.data.stories.generator import stories

MEGABYTES = 40
SMALL = (
    "--preset=tiny",
    "--set=model.layers=2",
    "--set=model.hidden=64",
    "--set=model.heads=1",
    "--set=model.kv_heads=1",
    "--set=model.ffn=128",
    "--set=model.context=64",
    "--set=train.steps=80",
    "--set=train.batch_size=4",
    "--set=train.checkpoint_every=10",
    "--set=train.eval_every=40",
    "--set=train.eval_tokens=4000",
)


@pytest.fixture
def novels(tmp_path: Path) -> Path:
    """A folder with 40 MB of text: long files with paragraphs."""
    folder = tmp_path / "novels"
    folder.mkdir()
    texts = stories(seed=77, count=1_000_000)
    for number in range(8):
        with (folder / f"volume {number}.txt").open("w", encoding="utf-8") as file:
            while file.tell() < MEGABYTES * 1_000_000 / 8:
                file.write(f"{next(texts)}\n\n")
    return folder


def power_cut(workspace: Any) -> None:
    """SIGKILL the job and every helper process in its session, at once."""
    leader = workspace.status()["pid"]
    members = [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdecimal() and _session_of(int(entry.name)) == leader
    ]
    assert leader in members
    for pid in members:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    workspace.wait(lambda: workspace.status()["status"] == "lost")


def _session_of(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return -1


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="finds a job's helpers in Linux's /proc")
@pytest.mark.usefixtures("new_interpreters")
def test_a_new_user_resumes_after_each_of_two_power_cuts(workspace: Any, novels: Path) -> None:
    output = workspace.seedbed("train", *SMALL, f"--data=text:{novels}", "--name=my novel", "--background").stdout
    run = workspace.run_dir()
    assert run.name in output

    def is_tokenizing() -> bool:
        logged = [event for event in workspace.events(run) if event["kind"] == "data" and event["stage"] == "tokenize"]
        return bool(logged) and logged[-1]["done"] > 2_000_000

    workspace.wait(is_tokenizing)
    power_cut(workspace)
    assert workspace.status()["step"] == 0

    workspace.hold_at(27)
    output = workspace.seedbed("resume", "my novel", "--background").stdout
    assert run.name in output
    workspace.wait(lambda: len(workspace.steps(run)) >= 25)
    power_cut(workspace)
    lost = workspace.status("my novel")
    assert lost["checkpoint_step"] in (10, 20)
    shown = workspace.seedbed("status", "my novel").stdout
    assert "lost" in shown
    assert "seedbed resume" in shown, "status does not say how to resume"

    workspace.release(run)
    workspace.seedbed("resume", "my novel")
    done = workspace.status("my novel")
    assert (done["status"], done["step"]) == ("completed", 80)
    assert [row[0] for row in workspace.steps(run)] == list(range(1, 81))
    text = workspace.seedbed("generate", "my novel", "--prompt", "Once upon a time", "--max-new-tokens", "30").stdout
    assert text.startswith("Once upon a time")
    assert len(text.split()) > 8
    assert sum(path.stat().st_size for path in novels.iterdir()) >= MEGABYTES * 1_000_000
