"""`seedbed simulate --rehearse` disturbs a real run, which recovers and ends bit-equal to an undisturbed one."""

from __future__ import annotations

import json
from typing import Any

import pytest

SMALL_RUN = (
    "model.layers=1",
    "model.hidden=32",
    "model.heads=2",
    "model.kv_heads=1",
    "model.head_dim=16",
    "model.ffn=64",
    "model.context=32",
    "tokenizer.vocab_size=400",
    "data.stories=400",
    "train.batch_size=8",
)


@pytest.mark.slow
@pytest.mark.usefixtures("new_interpreters")
def test_a_rehearsed_run_recovers_from_a_kill_a_stall_a_full_disk_and_slow_writes(workspace: Any) -> None:
    words = [word for value in SMALL_RUN for word in ("--rehearse-set", value)]
    faults = ("kill", "stall", "full-disk", "slow-writes")
    done = workspace.seedbed(
        *("simulate", "--gpu", "8xH100", "--tokens", "10B", "--fail-rate", "0", "--set", "failures.slow_rate=0"),
        *("--rehearse", "--inject", ",".join(faults), "--rehearse-steps", "500", "--name", "drill", *words, "--json"),
    )
    report = json.loads(done.stdout)
    assert report["recovered"] is True
    assert report["comparison"] == {
        "steps_complete": True,
        "same_steps": True,
        "same_weights": True,
        "must_be_equal": True,
    }
    incidents = {each["fault"]: each for each in report["incidents"]}
    assert sorted(incidents) == sorted(faults)
    for each in incidents.values():
        assert each["recovered"]
        assert each["step"] >= each["planned_step"]
        assert each["lost_steps"] == each["step"] - each["went_back_to"]
    assert incidents["kill"]["went_back_to"] % report["checkpoint_every"] == 0
    assert incidents["stall"]["lost_s"] > 1.5, "the job stood still for two seconds"
    assert incidents["full-disk"]["lost_s"] > 2.5, "no file could grow for three seconds"
    assert 0 < report["predicted_goodput"] < 1
    assert 0 < report["goodput"] < 1

    run = workspace.runs / report["disturbed_run"]
    assert workspace.status(report["disturbed_run"])["status"] == "completed"
    assert workspace.steps(run) == workspace.steps(workspace.runs / report["undisturbed_run"])
    events = workspace.events(run)
    assert [each.get("code") for each in events if each["kind"] == "run" and each["status"] == "paused"] == ["storage"]
    (pause,) = [each for each in events if each["kind"] == "run" and each["status"] == "paused"]
    assert "limit on the size of files" in pause["reason"], "the fault was not a write that failed"
    assert max(each["session"] for each in events if each["kind"] == "run") == 2, "one kill, one resume"
    slow = [each for each in events if each["kind"] == "checkpoint" and each["write_s"] >= 1.0]
    assert slow, "no checkpoint was written slowly"
    assert not (run / ".faults").exists()
    assert "Recovered from 4 incidents" in done.stderr
    assert "seedbed delete drill drill-undisturbed" in done.stderr

    workspace.seedbed("resume", "drill", "--more-steps", "3")
    assert workspace.status("drill")["step"] == 503
    assert "seed = 1337" in workspace.seedbed("config", "show", "--like", "drill").stdout
