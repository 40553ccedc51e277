"""Pausing, saving, going on and waiting in line, as one types it."""

from __future__ import annotations

import json
import os
import shlex
import signal
from typing import Any

import pytest

import patience

SLOW = {"FAKE_STEP_S": "0.03"}


def begin(desk: Any, name: str, *words: str, steps: int = 3000, env: dict[str, str] | None = None) -> str:
    """A run in the background that has taken some steps; returns its id."""
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
    assert "is stopped" in desk.seedbed("stop", "--wait").stdout
    assert "not running (stopped)" in desk.seedbed("pause", run, expect=1).stderr
    assert "running run" in desk.seedbed("pause", expect=2).stderr


def test_who_watches_a_run_is_told_that_it_is_paused(desk: Any) -> None:
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


def test_save(desk: Any) -> None:
    run = begin(desk, "alpha")
    assert "Asked" in desk.seedbed("save").stdout
    assert "has saved step" in desk.seedbed("save", "alpha", "--wait").stdout
    found = json.loads(desk.seedbed("save", "--wait", "--json").stdout)
    assert found["status"] == "running"
    assert found["checkpoint_step"] <= found["step"]
    desk.seedbed("stop", "--wait")
    assert "stopped" in desk.seedbed("save", run, expect=1).stderr


def test_a_job_that_hears_only_signals_is_paused_and_stopped(desk: Any) -> None:
    begin(desk, "alpha", env={"FAKE_FAIL": "deaf"})
    assert "is stopped" in desk.seedbed("stop", "--wait").stdout
    assert desk.status()["checkpoint_step"] == desk.status()["step"]


def test_leaving_while_one_waits_leaves_the_run_alone(desk: Any) -> None:
    run = begin(desk, "alpha", env={"FAKE_SAVE_S": "gate"})
    waiting = desk.start("pause", "--wait")
    desk.wait(lambda: desk.status()["status"] == "pausing")
    waiting.send_signal(signal.SIGINT)
    waiting.communicate(timeout=patience.HANG_S)
    assert waiting.returncode == 130
    (desk.runs / run / "saved").touch()
    desk.wait(lambda: desk.status()["status"] == "paused")
    desk.seedbed("stop", "--wait")


def test_runs_wait_in_line_and_take_their_turns(desk: Any) -> None:
    assert "No run is running or queued" in desk.seedbed("queue").stderr
    assert json.loads(desk.seedbed("queue", "--json").stdout) == []
    first = begin(desk, "first")
    short = ("--set", "train.steps=3")
    second = desk.seedbed("train", *short, "--after", "first", "--name", "second").stdout.strip()
    third = desk.seedbed("train", *short, "--queue", "--name", "third").stdout.strip()
    fourth = json.loads(desk.seedbed("train", *short, "--queue", "--after", "third", "--json").stdout)
    assert fourth["status"] == "queued"

    def line() -> list[tuple[str, str, str | None]]:
        found = json.loads(desk.seedbed("queue", "--json").stdout)
        return [(each["id"], each["status"], each["waits_for"]) for each in found]

    expected = [(first, "running", None), (second, "queued", first), (third, "queued", first)]
    desk.wait(lambda: line() == [*expected, (fourth["id"], "queued", third)])
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
    assert line() == []


def test_a_terminal_is_told_what_a_queued_run_waits_for(desk: Any) -> None:
    begin(desk, "first")
    told = desk.terminal("train", "--set", "train.steps=3", "--queue", "--name", "second")
    assert 'It waits for "first"' in told
    assert "seedbed queue" in told
    desk.seedbed("stop", "first", "--wait")
    desk.wait(lambda: desk.status("second")["status"] == "completed")
    assert "It trains in the background." in desk.terminal("train", "--set", "train.steps=3", "--queue")
    desk.wait(lambda: desk.status()["status"] == "completed")


def test_waiting_for_what_has_ended_is_said_and_does_not_hold(desk: Any) -> None:
    desk.train("--name", "first", steps=3)
    done = desk.seedbed("train", "--set", "train.steps=3", "--after", "first")
    assert "has already ended" in done.stderr
    desk.wait(lambda: desk.status()["status"] == "completed")
    desk.seedbed("train", "--after", "nothing", expect=2)
    assert len(list(desk.runs.glob("2*"))) == 2, "a run was made that cannot begin"


def test_a_stopped_run_resumes_in_line(desk: Any) -> None:
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
def test_a_run_does_not_wait_for_itself(desk: Any, words: tuple[str, ...]) -> None:
    begin(desk, "alpha")
    desk.seedbed("stop", "--wait")
    assert "cannot wait for itself" in desk.seedbed(*words, expect=2).stderr
    assert desk.status()["session"] == 1


def test_a_queue_outlives_the_terminal_that_it_was_typed_at(desk: Any) -> None:
    begin(desk, "first")
    typed = desk.start("train", "--set", "train.steps=3", "--queue", "--name", "second", start_new_session=True)
    typed.communicate(timeout=patience.HANG_S)
    with pytest.raises(ProcessLookupError):
        os.killpg(typed.pid, signal.SIGHUP)
    desk.seedbed("stop", "first", "--wait")
    desk.wait(lambda: desk.status("second")["status"] == "completed")


def test_the_command_in_a_hint_works_as_it_is_written(desk: Any) -> None:
    """Where runs live elsewhere, what one is told to type says so."""
    elsewhere = str(desk.folder / "other runs")
    run = desk.train("--name", "alpha", "--runs", elsewhere)
    refused = desk.seedbed("pause", "--runs", elsewhere, expect=2).stderr
    command = refused.partition("hint: `")[2].partition("`")[0]
    assert command.startswith("seedbed runs ")
    assert run in desk.seedbed(*shlex.split(command)[1:]).stdout
    refused = desk.seedbed("pause", "alpha", "--runs", elsewhere, expect=1).stderr
    command = refused.partition("hint: `")[2].partition("`")[0]
    assert run in desk.seedbed(*shlex.split(command)[1:]).stdout
    assert "--runs" not in desk.seedbed("pause", expect=2).stderr.replace("point --runs elsewhere", "")
