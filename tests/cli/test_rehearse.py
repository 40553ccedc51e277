"""What `seedbed simulate --rehearse` prints, its report as JSON, its exit status, and how Ctrl-C ends it."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from seedbed.actions import rehearsing
from seedbed.actions.rehearsing import NotInjectedError, NotRecoveredError, Outcome

WORDS = (
    *("simulate", "--gpu", "8xH100", "--tokens", "10B", "--fail-rate", "0", "--set", "failures.slow_rate=0"),
    *("--rehearse", "--inject", "kill,stall", "--rehearse-steps", "60", "--name", "drill"),
)


@pytest.fixture
def harmless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Injects nothing: every incident costs two steps, at the step that was planned."""

    def inject(watched: Any, injection: Any, *_: Any) -> Outcome:
        watched.wait(lambda: watched.view.step >= injection.step)
        return Outcome(injection.fault, injection.step, injection.step - 2, 2, 1.5)

    monkeypatch.setattr(rehearsing, "inject", inject)


@pytest.mark.usefixtures("harmless")
def test_the_plan_is_printed_before_and_the_costs_after(desk: Any) -> None:
    lines = desk.seedbed(*WORDS).stdout.splitlines()
    planned = next(n for n, line in enumerate(lines) if "(asked for with --inject)" in line)
    begun = next(n for n, line in enumerate(lines) if line.startswith('Training "drill-undisturbed" in '))
    assert planned < begun
    kill = next(line.split() for line in lines if line.startswith("1  kill "))
    assert [kill[2], kill[4], *kill[7:]] == ["18", "2", "1.5", "s", "yes"]
    assert "Losses, final weights and optimizer state equal those of the undisturbed run, bit for bit." in lines
    assert "Recovered from 2 incidents; ended at step 60 of 60." in lines
    assert "  seedbed delete drill drill-undisturbed" in lines


@pytest.mark.usefixtures("harmless")
def test_the_report_is_json_on_stdout_and_the_rest_is_on_stderr(desk: Any) -> None:
    done = desk.seedbed(*WORDS, "--json")
    report = json.loads(done.stdout)
    assert (report["recovered"], report["problem"], report["final_step"], report["steps"]) == (True, "", 60, 60)
    assert [each["fault"] for each in report["incidents"]] == ["kill", "stall"]
    # Checkpoints are planned at 12 and 24: 6 steps are lost, or 18 if the first cannot be complete so soon.
    assert (report["checkpoint_every"], report["incidents"][0]["planned_step"]) == (12, 18)
    assert report["incidents"][0]["predicted_lost_steps"] in (6, 18)
    assert report["incidents"][1]["predicted_lost_steps"] == 0
    assert set(report["measured"]) == {"step_s", "stall_s", "write_s", "start_s", "end_s"}
    assert "Recovered from 2 incidents" in done.stderr


def test_a_run_that_does_not_recover_exits_with_status_1_and_is_stopped(
    desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def inject(*_: Any) -> Outcome:
        raise NotRecoveredError("The job ended at step 18: the checkpoint is gone.", "See the log.")

    monkeypatch.setattr(rehearsing, "inject", inject)
    done = desk.seedbed(*WORDS, "--json", env={"FAKE_STEP_S": "0.05"}, expect=1)
    report = json.loads(done.stdout)
    assert (report["recovered"], report["comparison"]) == (False, None)
    assert report["problem"] == "The job ended at step 18: the checkpoint is gone."
    assert [each["recovered"] for each in report["incidents"]] == [False, None]
    assert "error: The job ended at step 18: the checkpoint is gone." in done.stderr
    assert "Not recovered" in done.stderr
    assert desk.status("drill")["status"] in ("stopped", "completed")


def test_a_fault_that_came_too_late_is_not_reported_as_a_failed_recovery(
    desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def inject(watched: Any, injection: Any, *_: Any) -> Outcome:
        if injection.fault == "stall":
            raise NotInjectedError("Training had reached step 60.", "Set more steps (--rehearse-steps).")
        return Outcome(injection.fault, injection.step, injection.step - 2, 2, 1.5)

    monkeypatch.setattr(rehearsing, "inject", inject)
    done = desk.seedbed(*WORDS, "--json", expect=1)
    report = json.loads(done.stdout)
    assert report["recovered"] is None
    assert [each["recovered"] for each in report["incidents"]] == [True, None]
    assert "Not recovered" not in done.stderr
    assert "the run recovered from 1 of 2 incidents, then training was too fast" in done.stderr
    (stall,) = [line for line in done.stderr.splitlines() if line.startswith("2  stall ")]
    assert stall.endswith("not injected")
    assert "hint: Set more steps (--rehearse-steps)." in done.stderr


def test_a_rehearsed_run_is_repeated_with_train(desk: Any) -> None:
    desk.seedbed(*WORDS, env={"FAKE_FAIL": "numbers"}, expect=1)
    refused = desk.seedbed("simulate", "--like", "latest", expect=2).stderr
    assert "Use `seedbed train --like " in refused
    assert "seedbed rehearsal" not in refused


def test_other_weights_at_the_end_are_a_failure(desk: Any, monkeypatch: pytest.MonkeyPatch, harmless: None) -> None:
    same = rehearsing.Comparison(steps_complete=True, same_steps=True, same_weights=False, must_be_equal=True)
    monkeypatch.setattr(rehearsing, "compare", lambda *_: same)
    assert "The two runs have different weights" in desk.seedbed(*WORDS, expect=1).stderr
    same = rehearsing.Comparison(steps_complete=True, same_steps=False, same_weights=False, must_be_equal=False)
    assert "as they may except on a CPU in fp32" in desk.seedbed(*WORDS).stdout


def test_ctrl_c_stops_the_real_run_and_says_how_to_delete_it(desk: Any) -> None:
    process = desk.start(*WORDS, env={"HOLD_AT": "30"})
    desk.at_step(30)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert "Delete its runs: seedbed delete drill-undisturbed" in errors
    assert desk.status("drill-undisturbed")["status"] == "stopped"


def test_an_undisturbed_run_that_fails_ends_the_rehearsal_with_its_reason(desk: Any) -> None:
    done = desk.seedbed(*WORDS, env={"FAKE_FAIL": "numbers"}, expect=1)
    assert "was not completed: The loss is no number." in done.stderr
    assert "hint: Lower optimizer.lr." in done.stderr
