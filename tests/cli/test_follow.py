"""Following a run: Ctrl-C and SIGTERM make the job stop and save; any other end of the follower leaves the run running."""

from __future__ import annotations

import json
import os
import pty
import select
import shlex
import signal
import time
from pathlib import Path
from typing import Any

import pytest

import patience
from seedbed import actions
from seedbed.actions import launching

SLOW = {"FAKE_STEP_S": "0.03"}


def test_a_piped_train_prints_plain_lines_and_ends_with_the_next_command(desk: Any) -> None:
    out = desk.seedbed("train", "--set", "train.steps=60", "--name", "my run").stdout
    assert "\x1b" not in out
    assert "\r" not in out
    assert "Testing whether a batch of" in out
    assert out.index("Testing whether") < out.index("learning rate")
    assert "validation at step 60: loss 2.3489" in out
    assert "warning: The text is short. Few words. Add some." in out
    assert "Finished at step 60" in out
    assert "Once upon a time, there was a fox." in out
    assert "seedbed generate 'my run' --prompt 'Once upon a time'" in out
    assert any("\u2800" < char < "\u28ff" for char in out), "no curve"


def test_a_run_whose_validation_loss_has_risen_offers_its_best_checkpoint(desk: Any) -> None:
    out = desk.seedbed("train", "--set", "train.steps=30", "--name", "alpha", env={"FAKE_FAIL": "overfit"}).stdout
    (command,) = [line for line in out.splitlines() if "seedbed generate alpha" in line]
    assert "--checkpoint best --prompt" in command
    used = json.loads(desk.seedbed(*shlex.split(command)[1:], "--json").stdout)["checkpoint"]
    assert used.endswith("step-00000010")


def test_a_run_on_conversations_offers_a_chat(desk: Any) -> None:
    out = desk.seedbed("train", "--set", "train.steps=20", "--name", "alpha", env={"FAKE_FAIL": "chats"}).stdout
    assert "seedbed generate alpha --chat --prompt 'Once upon a time'" in out


def test_train_json_prints_only_the_status_to_stdout(desk: Any) -> None:
    done = desk.seedbed("train", "--set", "train.steps=20", "--json")
    assert json.loads(done.stdout)["status"] == "completed"
    assert "validation at step 20" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_stops_the_job_and_the_follower_waits_until_it_has_saved(desk: Any, number: signal.Signals) -> None:
    follower = desk.start("train", "--set", "train.steps=1000000", env={**SLOW, "FAKE_SAVE_S": "0.3"})
    desk.at_step(3)
    follower.send_signal(number)
    out, err = follower.communicate(timeout=patience.HANG_S)
    assert follower.returncode == 130, out + err
    stopped = desk.status()
    assert stopped["status"] == "stopped"
    assert stopped["checkpoint_step"] == stopped["step"] > 0
    assert "Stopping" in out
    assert "seedbed resume" in out


def test_ctrl_c_while_a_run_is_created_stops_it_once_its_job_runs(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    new_run = actions.new_run

    def interrupted(*words: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return new_run(*words)

    monkeypatch.setattr(launching, "new_run", interrupted)
    done = desk.seedbed("train", "--set", "train.steps=1000000", env=SLOW, expect=130)
    assert "Stopping" in done.stdout
    assert desk.status()["status"] == "stopped"


@pytest.mark.parametrize("words", [[], ["--background"]], ids=["foreground", "background"])
def test_a_run_whose_job_never_started_is_removed(desk: Any, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(launching, "spawn_detached", interrupted)
    desk.seedbed("train", *words, expect=130)
    assert not list(desk.runs.glob("2*"))


def test_a_run_continues_when_its_terminal_is_closed(desk: Any) -> None:
    follower = desk.start("train", "--set", "train.steps=60", env={"HOLD_AT": "40"})
    desk.at_step(3)
    follower.send_signal(signal.SIGHUP)
    out, err = follower.communicate(timeout=patience.HANG_S)
    assert follower.returncode == 129, out + err
    assert err == ""
    assert "Stopping" not in out
    desk.let_go()
    desk.wait(lambda: desk.status()["status"] == "completed")
    assert (desk.status()["step"], desk.status()["session"]) == (60, 1)


def test_a_run_continues_when_the_process_of_its_terminal_dies(desk: Any) -> None:
    """The process of the terminal window dies: the follower loses its terminal and gets SIGHUP."""
    leader, terminal = pty.openpty()
    follower = desk.start(
        "train", "--set", "train.steps=60", env={"HOLD_AT": "40", "TERM": "xterm"},
        stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
    )  # fmt: skip
    os.close(terminal)
    desk.at_step(3)
    os.close(leader)
    follower.send_signal(signal.SIGHUP)
    assert follower.wait(timeout=patience.HANG_S) == 129
    desk.let_go()
    desk.wait(lambda: desk.status()["status"] == "completed")
    assert desk.status()["session"] == 1


def test_a_resumed_run_continues_when_its_terminal_is_closed(desk: Any) -> None:
    desk.seedbed("train", "--set", "train.steps=30", expect=1, env={"FAKE_FAIL": "kill"})
    follower = desk.start("resume", env={"HOLD_AT": "20"})
    desk.wait(lambda: desk.status()["status"] == "running")
    follower.send_signal(signal.SIGHUP)
    follower.communicate(timeout=patience.HANG_S)
    assert follower.returncode == 129
    desk.let_go()
    desk.wait(lambda: desk.status()["status"] == "completed")


def test_under_nohup_the_run_is_followed_to_its_end(desk: Any) -> None:
    follower = desk.start(
        "train", "--set", "train.steps=40", env={"HOLD_AT": "30"},
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )  # fmt: skip
    desk.at_step(3)
    follower.send_signal(signal.SIGHUP)
    desk.let_go()
    out, err = follower.communicate(timeout=patience.HANG_S)
    assert follower.returncode == 0, err
    assert "Finished at step 40" in out


def test_ctrl_c_stops_a_job_whose_heartbeat_hangs(desk: Any) -> None:
    follower = desk.start("train", "--set", "train.steps=2000", env={**SLOW, "FAKE_FAIL": "deaf"})
    desk.at_step(3)
    follower.send_signal(signal.SIGINT)
    out, err = follower.communicate(timeout=patience.HANG_S)
    assert follower.returncode == 130, out + err
    assert desk.status()["status"] == "stopped"


def test_a_second_ctrl_c_still_stops_a_job_whose_heartbeat_hangs(desk: Any) -> None:
    """The follower ends at the second Ctrl-C, so it cannot signal the job later."""
    follower = desk.start("train", "--set", "train.steps=2000", env={**SLOW, "FAKE_FAIL": "deaf"})
    desk.at_step(3)
    follower.send_signal(signal.SIGINT)
    assert follower.stdout is not None
    while "Stopping" not in (line := follower.stdout.readline()):
        assert line, "the follower ended"
    follower.send_signal(signal.SIGINT)
    follower.communicate(timeout=patience.HANG_S)
    assert follower.returncode == 130
    desk.wait(lambda: desk.status()["status"] == "stopped")


def test_a_second_ctrl_c_ends_the_follower_while_the_job_saves(desk: Any) -> None:
    follower = desk.start("train", "--set", "train.steps=1000000", env={**SLOW, "FAKE_SAVE_S": "gate"})
    desk.at_step(3)
    follower.send_signal(signal.SIGINT)
    assert follower.stdout is not None
    out = ""
    while "Stopping" not in out:
        line = follower.stdout.readline()
        assert line, "the follower ended"
        out += line
    follower.send_signal(signal.SIGINT)
    rest, err = follower.communicate(timeout=patience.HANG_S)
    assert follower.returncode == 130
    assert "seedbed status" in out + rest + err
    assert desk.status()["status"] == "running", "the follower waited until the job had saved"
    (max(desk.runs.glob("2*")) / "saved").touch()
    desk.wait(lambda: desk.status()["status"] == "stopped")
    assert desk.status()["checkpoint_step"] == desk.status()["step"]


def test_a_run_continues_when_its_follower_is_killed(desk: Any) -> None:
    follower = desk.start("train", "--set", "train.steps=60", env={"HOLD_AT": "40"})
    desk.at_step(3)
    follower.kill()
    follower.wait()
    desk.let_go()
    desk.wait(lambda: desk.status()["status"] == "completed")
    assert desk.status()["step"] == 60


def test_a_run_continues_when_the_output_pipe_is_closed(desk: Any) -> None:
    follower = desk.start("train", "--set", "train.steps=60", env={"HOLD_AT": "40"})
    assert follower.stdout is not None
    follower.stdout.readline()
    follower.stdout.close()
    desk.at_step(40)
    desk.let_go()
    assert follower.wait(timeout=patience.HANG_S) == 141
    assert follower.stderr is not None
    assert "Traceback" not in follower.stderr.read()
    desk.wait(lambda: desk.status()["status"] == "completed")


def test_ctrl_c_before_the_job_has_started_still_stops_it(desk: Any) -> None:
    follower = desk.start("train", "--set", "train.steps=1000000", env=SLOW)
    desk.wait(lambda: list(desk.runs.glob("2*")))
    time.sleep(0.05)
    follower.send_signal(signal.SIGINT)
    follower.communicate(timeout=patience.HANG_S)
    assert follower.returncode == 130
    desk.wait(lambda: desk.status()["status"] != "running")
    assert desk.status()["step"] < 1000


def test_preparing_data_can_be_stopped(desk: Any) -> None:
    follower = desk.start("train", env={"FAKE_FAIL": "slow-prepare"})
    assert follower.stdout is not None
    while "tokens" not in (line := follower.stdout.readline()):
        assert line, "the follower ended"
    follower.send_signal(signal.SIGINT)
    assert follower.wait(timeout=patience.HANG_S) == 130
    assert desk.status()["status"] == "stopped"


def test_a_failed_train_prints_the_reason_and_sets_the_exit_status(desk: Any) -> None:
    failed = desk.seedbed("train", expect=1, env={"FAKE_FAIL": "numbers"})
    assert "The loss is no number." in failed.stderr
    assert "Lower optimizer.lr." in failed.stderr
    usage = desk.seedbed("train", expect=2, env={"FAKE_FAIL": "usage"})
    assert "There is no text in the file." in usage.stderr
    crash = desk.seedbed("train", expect=1, env={"FAKE_FAIL": "crash"})
    assert "ZeroDivisionError: division" in crash.stderr
    assert "job.log" in crash.stderr
    assert "Traceback" in (Path(desk.status()["path"]) / "job.log").read_text()


def test_a_refused_resume_prints_the_reason_and_the_run_stays_completed(desk: Any) -> None:
    desk.seedbed("train", "--set", "train.steps=20")
    refused = desk.seedbed("resume", "--more-steps", "5", expect=2, env={"FAKE_FAIL": "usage"})
    assert "The run was not resumed: There is no text in the file." in refused.stderr
    assert "Finished" not in refused.stdout
    found = desk.status()
    assert (found["status"], found["step"], found["reason"]) == (
        "completed",
        20,
        "The run was not resumed: There is no text in the file.",
    )
    assert desk.seedbed("resume", "--more-steps", "5").stdout.count("Finished at step 25") == 1


def test_a_killed_job_is_reported_and_its_run_is_lost(desk: Any) -> None:
    killed = desk.seedbed("train", "--set", "train.steps=30", expect=1, env={"FAKE_FAIL": "kill"})
    assert "signal 9" in killed.stderr
    assert "seedbed resume" in killed.stderr
    lost = desk.status()
    assert (lost["status"], lost["step"], lost["remaining_s"]) == ("lost", 6, None)
    assert "ended without logging why" in lost["reason"]


def test_a_run_pauses_while_its_log_cannot_grow_and_loses_no_event(desk: Any) -> None:
    follower = desk.start("train", "--set", "train.steps=30", env={"FAKE_FAIL": "disk"})
    desk.wait(lambda: list(desk.runs.glob("2*/short")))
    (run,) = desk.runs.glob("2*")
    log = (run / "events.jsonl").read_bytes()
    assert log.endswith(b"\n")
    assert b'"step":7,' not in log, "the log grew past its limit"
    assert follower.poll() is None
    desk.wait(lambda: desk.status()["status"] == "paused")
    assert "ulimit -f" in desk.status()["reason"], "status lacks the reason, which the log cannot hold"
    assert follower.stdout is not None
    while "paused" not in (line := follower.stdout.readline()):
        assert line, "the follower ended"
    assert "ulimit -f" in line, "the follower does not show the reason"
    (run / "room").touch()
    out, err = follower.communicate(timeout=patience.HANG_S)
    assert follower.returncode == 0, out + err
    assert "Finished at step 30" in out
    events = [json.loads(line) for line in (run / "events.jsonl").read_bytes().splitlines()]
    assert [event["n"] for event in events] == list(range(len(events)))
    assert [event["step"] for event in events if event["kind"] == "step"] == list(range(1, 31))
    (paused,) = [event for event in events if event["kind"] == "run" and event["status"] == "paused"]
    assert ("ulimit -f" in paused["reason"], paused["step"]) == (True, 7)
    assert desk.status()["reason"] is None


def test_resume_continues_from_the_checkpoint_and_keeps_the_whole_curve(desk: Any) -> None:
    run = desk.train(steps=20)
    out = desk.seedbed("resume", run, "--more-steps", "15").stdout
    assert "resuming from step-00000020, step 20 of 35" in out
    assert "validation at step 10" not in out, "an event of an earlier session was printed again"
    assert "step 20/20" not in out, "the progress of an earlier session was shown as this one's"
    assert desk.status(run)["steps"] == 35
    points = json.loads(desk.seedbed("curve", run, "--json").stdout)
    assert points["training"][0]["first_step"] == 1
    assert points["training"][-1]["last_step"] == 35


def test_resume_of_a_running_run_is_refused(desk: Any) -> None:
    desk.seedbed("train", "--set", "train.steps=1000000", "--background", env=SLOW)
    second = desk.seedbed("resume", "latest", expect=1)
    assert "already running" in second.stderr
    desk.seedbed("stop", "--wait")
    assert desk.status()["session"] == 1


def test_train_on_a_terminal_shows_progress_and_restores_the_cursor(desk: Any) -> None:
    leader, terminal = pty.openpty()
    os.set_blocking(leader, False)
    follower = desk.start(
        "train", "--set", "train.steps=60", env={**SLOW, "TERM": "xterm-256color"}, stdout=terminal, stderr=terminal
    )
    os.close(terminal)
    seen = b""
    end = time.monotonic() + patience.HANG_S
    while time.monotonic() < end:
        if select.select([leader], [], [], 0.1)[0]:
            try:
                seen += os.read(leader, 65536)
            except OSError:
                break
        elif follower.poll() is not None:
            break
    os.close(leader)
    assert follower.wait(timeout=patience.HANG_S) == 0
    shown = seen.decode()
    assert "step 1/60" in shown or "step 2/60" in shown or "/60" in shown
    assert "\x1b[?25l" in shown, "the cursor was not hidden while painting"
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l"), "the cursor stays hidden"
    assert "Finished at step 60" in shown
    assert "\x1b[31m" not in shown, "colour in spite of NO_COLOR, or from a message"
