"""Someone with 40 MB of text of their own loses power twice, while it is read and while it trains, and goes on."""

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
    """A folder of 40 MB: long files, with paragraphs, none of which a preset knows."""
    folder = tmp_path / "novels"
    folder.mkdir()
    told = stories(seed=77, count=1_000_000)
    for number in range(8):
        with (folder / f"volume {number}.txt").open("w", encoding="utf-8") as file:
            while file.tell() < MEGABYTES * 1_000_000 / 8:
                file.write(f"{next(told)}\n\n")
    return folder


def power_cut(workshop: Any) -> None:
    """SIGKILL of the job and of every helper in its session, at once."""
    leader = workshop.status()["pid"]
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
    workshop.wait(lambda: workshop.status()["status"] == "lost")


def _session_of(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return -1


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="finds a job's helpers in Linux's /proc")
def test_a_newcomer_loses_power_twice_and_goes_on(workshop: Any, novels: Path) -> None:
    said = workshop.seedbed("train", *SMALL, f"--data=text:{novels}", "--name=my novel", "--background").stdout
    run = workshop.run_dir()
    assert run.name in said

    def reading() -> bool:
        told = [event for event in workshop.events(run) if event["kind"] == "data" and event["stage"] == "tokenize"]
        return bool(told) and told[-1]["done"] > 2_000_000

    workshop.wait(reading)
    power_cut(workshop)
    assert workshop.status()["step"] == 0

    workshop.pace(27)
    again = workshop.seedbed("resume", "my novel", "--background").stdout
    assert run.name in again
    workshop.wait(lambda: len(workshop.steps(run)) >= 25)
    power_cut(workshop)
    lost = workshop.status("my novel")
    assert lost["checkpoint_step"] in (10, 20)
    shown = workshop.seedbed("status", "my novel").stdout
    assert "lost" in shown
    assert "seedbed resume" in shown, "it does not say how to go on"

    workshop.let_go(run)
    workshop.seedbed("resume", "my novel")
    done = workshop.status("my novel")
    assert (done["status"], done["step"]) == ("completed", 80)
    assert [row[0] for row in workshop.steps(run)] == list(range(1, 81))
    text = workshop.seedbed("generate", "my novel", "--prompt", "Once upon a time", "--max-new-tokens", "30").stdout
    assert text.startswith("Once upon a time")
    assert len(text.split()) > 8
    assert sum(path.stat().st_size for path in novels.iterdir()) >= MEGABYTES * 1_000_000
