"""The commands that pause, resume, save, stop and queue runs."""

from __future__ import annotations

import json
import os
import shlex
import signal
from typing import Any

import pytest

import patience

SLOW = {"FAKE_STEP_S": "0.03"}


def begin(desk: Any, name: str, *words: str, steps: int = 1_000_000, env: dict[str, str] | None = None) -> str:
    """Start a run in the background, wait for its first steps, and return its id."""
    run = desk.seedbed(
        "train", "--set", f"train.steps={steps}", "--background", "--name", name, *words, env={**SLOW, **(env or {})}
    ).stdout.strip()
    desk.at_step(3)
    return str(run)


def test_pause_and_resume(desk: Any) -> None:
    run = begin(desk, "alpha")
    assert "is paused at step" in desk.seedbed("pause", "--wait").stdout
    held = desk.status()
    assert (held["status"], held["checkpoint_step"]) == ("paused", held["step"])
    assert "seedbed resume" in desk.seedbed("status").stdout
    assert "already paused" in desk.seedbed("pause", expect=1).stderr
    for words in (("--more-steps", "5"), ("--from", "3"), ("--queue",), ("--after", "alpha")):
        assert "only be resumed without options" in desk.seedbed("resume", "alpha", *words, expect=1).stderr
    assert desk.status()["status"] == "paused"
    assert f"{run} continues in the background" in desk.seedbed("resume").stdout
    desk.wait(lambda: desk.status()["step"] > held["step"])
    assert "already running" in desk.seedbed("resume", "alpha", expect=1).stderr
    assert json.loads(desk.seedbed("pause", "--wait", "--json").stdout)["status"] == "paused"
    assert json.loads(desk.seedbed("resume", "alpha", "--json").stdout)["status"] == "running"
    desk.seedbed("pause", "--wait")
    assert desk.seedbed("resume", "--background").stdout == f"{run}\n", "the id, as from a stopped run"
    desk.seedbed("pause", "--wait")
    paused = desk.seedbed("status").stdout
    assert "asked to pause" not in paused
    assert "(kept in memory while the run is paused)" in paused
    assert "is stopped" in desk.seedbed("stop", "--wait").stdout
    assert "not running (stopped)" in desk.seedbed("pause", run, expect=1).stderr
    assert "running run" in desk.seedbed("pause", expect=2).stderr


def test_the_follower_of_a_run_reports_its_pause_and_its_resume(desk: Any) -> None:
    follower = desk.start("train", "--set", "train.steps=60", env={"HOLD_AT": "40"})
    desk.at_step(3)
    desk.seedbed("pause", "--wait")
    desk.let_go()
    desk.seedbed("resume")
    out, err = follower.communicate(timeout=patience.HANG_S)
    assert follower.returncode == 0, err
    assert "paused at step" in out
    assert ": asked to pause" in out
    assert out.count("resumed at step") == 1
    assert "Finished at step 60" in out


def test_save_writes_a_checkpoint_of_a_running_run(desk: Any) -> None:
    run = begin(desk, "alpha")
    assert "Asked" in desk.seedbed("save").stdout
    assert "has saved step" in desk.seedbed("save", "alpha", "--wait").stdout
    found = json.loads(desk.seedbed("save", "--wait", "--json").stdout)
    assert found["status"] == "running"
    assert found["checkpoint_step"] <= found["step"]
    desk.seedbed("stop", "--wait")
    assert "stopped" in desk.seedbed("save", run, expect=1).stderr


def test_stop_ends_a_job_that_reacts_only_to_signals(desk: Any) -> None:
    begin(desk, "alpha", env={"FAKE_FAIL": "deaf"})
    assert "is stopped" in desk.seedbed("stop", "--wait").stdout
    assert desk.status()["checkpoint_step"] == desk.status()["step"]


def test_ctrl_c_during_pause_wait_does_not_cancel_the_pause(desk: Any) -> None:
    run = begin(desk, "alpha", env={"FAKE_SAVE_S": "gate"})
    waiting = desk.start("pause", "--wait")
    desk.wait(lambda: desk.status()["status"] == "pausing")
    waiting.send_signal(signal.SIGINT)
    waiting.communicate(timeout=patience.HANG_S)
    assert waiting.returncode == 130
    (desk.runs / run / "saved").touch()
    desk.wait(lambda: desk.status()["status"] == "paused")
    desk.seedbed("stop", "--wait")


def test_queued_runs_wait_and_train_in_their_order(desk: Any) -> None:
    assert "No run is running or queued" in desk.seedbed("queue").stderr
    assert json.loads(desk.seedbed("queue", "--json").stdout) == []
    first = begin(desk, "first")
    short = ("--set", "train.steps=3")
    second = desk.seedbed("train", *short, "--after", "first", "--name", "second").stdout.strip()
    third = desk.seedbed("train", *short, "--queue", "--name", "third").stdout.strip()
    fourth = json.loads(desk.seedbed("train", *short, "--queue", "--after", "third", "--json").stdout)
    assert fourth["status"] == "queued"

    def queue() -> list[tuple[str, str, str | None]]:
        found = json.loads(desk.seedbed("queue", "--json").stdout)
        return [(each["id"], each["status"], each["waits_for"]) for each in found]

    expected = [(first, "running", None), (second, "queued", first), (third, "queued", first)]
    desk.wait(lambda: queue() == [*expected, (fourth["id"], "queued", third)])
    out = desk.seedbed("queue").stdout
    assert [row.split()[0] for row in out.splitlines()[1:]] == [first, second, third, fourth["id"]]
    assert out.splitlines()[2].endswith("first")
    assert 'It waits for "first"' in desk.seedbed("status", "second").stdout
    assert "queued" in desk.seedbed("pause", "third", expect=1).stderr
    assert "leaves the queue" in desk.seedbed("stop", "third").stdout
    desk.wait(lambda: desk.status("third")["status"] == "stopped")
    desk.seedbed("stop", "first", "--wait")
    desk.wait(lambda: [desk.status(each)["status"] for each in (second, fourth["id"])] == ["completed"] * 2)
    assert desk.status("third")["step"] == 0
    assert queue() == []


def test_train_queue_on_a_terminal_shows_which_run_it_waits_for(desk: Any) -> None:
    begin(desk, "first")
    shown = desk.terminal("train", "--set", "train.steps=3", "--queue", "--name", "second")
    assert 'It waits for "first"' in shown
    assert "seedbed queue" in shown
    desk.seedbed("stop", "first", "--wait")
    desk.wait(lambda: desk.status("second")["status"] == "completed")
    assert "The run trains in the background." in desk.terminal("train", "--set", "train.steps=3", "--queue")
    desk.wait(lambda: desk.status()["status"] == "completed")


def test_after_an_ended_run_prints_a_note_and_starts_at_once(desk: Any) -> None:
    desk.train("--name", "first", steps=3)
    done = desk.seedbed("train", "--set", "train.steps=3", "--after", "first")
    assert "has already ended" in done.stderr
    desk.wait(lambda: desk.status()["status"] == "completed")
    desk.seedbed("train", "--after", "nothing", expect=2)
    assert len(list(desk.runs.glob("2*"))) == 2, "a run was created that cannot start"


def test_a_stopped_run_can_be_resumed_in_the_queue(desk: Any) -> None:
    begin(desk, "first", steps=30)
    desk.seedbed("stop", "--wait")
    begin(desk, "second")
    run = desk.seedbed("resume", "first", "--queue").stdout.strip()
    desk.wait(lambda: "second" in (desk.status("first")["reason"] or ""))
    assert "waiting in the queue" in desk.seedbed("resume", "first", "--queue", expect=1).stderr
    desk.seedbed("stop", "second", "--wait")
    desk.wait(lambda: desk.status(run)["status"] == "completed")
    assert desk.status(run)["step"] == 30


@pytest.mark.parametrize("words", [("resume", "alpha", "--after", "alpha"), ("resume", "--queue", "--after", "latest")])
def test_a_run_cannot_wait_for_itself(desk: Any, words: tuple[str, ...]) -> None:
    begin(desk, "alpha")
    desk.seedbed("stop", "--wait")
    assert "cannot wait for itself" in desk.seedbed(*words, expect=2).stderr
    assert desk.status()["session"] == 1


def test_a_queued_run_starts_after_its_terminal_was_closed(desk: Any) -> None:
    begin(desk, "first")
    typed = desk.start("train", "--set", "train.steps=3", "--queue", "--name", "second", start_new_session=True)
    typed.communicate(timeout=patience.HANG_S)
    with pytest.raises(ProcessLookupError):
        os.killpg(typed.pid, signal.SIGHUP)
    desk.seedbed("stop", "first", "--wait")
    desk.wait(lambda: desk.status("second")["status"] == "completed")


def test_the_command_in_a_hint_works_as_written(desk: Any) -> None:
    """It includes --runs where the runs are in another folder."""
    elsewhere = str(desk.folder / "other runs")
    run = desk.train("--name", "alpha", "--runs", elsewhere)
    refused = desk.seedbed("pause", "--runs", elsewhere, expect=2).stderr
    command = refused.partition("hint: `")[2].partition("`")[0]
    assert command.startswith("seedbed runs ")
    assert run in desk.seedbed(*shlex.split(command)[1:]).stdout
    refused = desk.seedbed("pause", "alpha", "--runs", elsewhere, expect=1).stderr
    command = refused.partition("hint: `")[2].partition("`")[0]
    assert run in desk.seedbed(*shlex.split(command)[1:]).stdout
    assert "--runs" not in desk.seedbed("pause", expect=2).stderr.replace("use another folder with --runs DIR", "")
