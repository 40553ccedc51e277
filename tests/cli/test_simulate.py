"""`seedbed simulate` makes a run that the other commands show, and refuses what cannot be simulated."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

WORDS = ("--model", "llama3-8b", "--gpu", "64xH100", "--tokens", "10B", "--seed", "7", "--fail-rate", "5000")


def seedbed(folder: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "80", "SEEDBED_CACHE": str(folder / "cache")}
    command = [sys.executable, "-m", "seedbed", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done


def test_the_other_commands_show_a_simulated_run_and_say_that_it_is_one(tmp_path: Path) -> None:
    output = seedbed(tmp_path, "simulate", *WORDS, "--name", "big").stdout
    for words in (
        "training 8.03B parameters, on simulated (64 x H100-SXM-80GB), bf16",
        "info: Time: ",
        "info: Goodput: ",
        "info: Interruptions: ",
        "info: Lost work: ",
        "info: Checkpoint interval: ",
        "info: Final loss: ",
        "(simulated)",
        "seedbed curve big",
    ):
        assert words in output
    assert "seedbed generate" not in output, "there is no model to generate with"
    found = json.loads(seedbed(tmp_path, "status", "big", "--json").stdout)
    assert (found["kind"], found["status"], found["simulated"]) == ("simulate", "completed", True)
    assert "SIMULATED" in seedbed(tmp_path, "status", "big").stdout
    assert "SIMULATED big" in seedbed(tmp_path, "runs").stdout
    assert "warning: Failure of " in seedbed(tmp_path, "logs", "big", "-n", "2000").stdout
    assert "simulated time" in seedbed(tmp_path, "curve", "big", "--x", "time").stdout
    metrics = seedbed(tmp_path, "metrics", "big", "--csv")
    assert {"mfu", "goodput", "samples_per_s", "interruptions"} <= set(metrics.stdout.splitlines()[0].split(","))
    assert "simulated" in metrics.stderr


def test_equal_seeds_give_equal_runs_and_like_repeats_one(tmp_path: Path) -> None:
    seedbed(tmp_path, "simulate", *WORDS, "--name", "one")
    seedbed(tmp_path, "simulate", "--like", "one", "--name", "two", "--speed", "1e9")
    seedbed(tmp_path, "simulate", "--like", "one", "--name", "three", "--seed", "8")
    one, two, three = (
        json.loads(seedbed(tmp_path, "status", name, "--json").stdout) for name in ("one", "two", "three")
    )
    assert (one["loss"], one["elapsed_s"]) == (two["loss"], two["elapsed_s"])
    assert one["elapsed_s"] != three["elapsed_s"]


def test_a_run_in_the_background_is_stopped_and_resumed(tmp_path: Path) -> None:
    run = seedbed(tmp_path, "simulate", *WORDS, "--speed", "2000", "--background").stdout.strip()
    seedbed(tmp_path, "stop", run, "--wait")
    assert json.loads(seedbed(tmp_path, "status", run, "--json").stdout)["status"] == "stopped"
    seedbed(tmp_path, "resume", run, "--more-steps", "5", code=2)
    (config,) = (tmp_path / "runs").glob("2*/config.toml")
    config.write_text(config.read_text().replace("speed = 2000.0", "speed = 0.0"))
    assert "Finished at step" in seedbed(tmp_path, "resume", run).stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--model", "llama3-8c"), "Did you mean"),
        (("--gpu", "64xH1000"), "Did you mean"),
        (("--tokens", "0"), "--tokens"),
        (("--tokens", "many"), "--tokens"),
        (("--speed", "-1"), "playback.speed"),
        (("--speed", "fast"), "playback.speed"),
        (("--parallel", "tp=7"), "tp"),
        (("--parallel", "pp=999"), "pp"),
        (("--fail-rate", "-2"), "failures.rate"),
        (("--fail-rate", "90000", "--checkpoint-every", "100000"), "hardly make progress"),
        (("--set", "failures.components=gpuu=3"), "Did you mean gpu?"),
        (("--set", "failures.components=gpu"), "is not a component with its rate"),
        (("--set", "train.steps=3"), "belongs to a train config"),
        (("--model", "llama3-405b", "--gpu", "8xH100"), "does not fit"),
    ],
)
def test_what_cannot_be_simulated_is_refused_before_a_run_exists(
    tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    command = [sys.executable, "-m", "seedbed", "simulate", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "runs").glob("2*")) if (tmp_path / "runs").exists() else True


def test_config_commands_know_the_kind(tmp_path: Path) -> None:
    assert "failures.rate = 4.0" in seedbed(tmp_path, "config", "keys", "failures", "--kind", "simulate").stdout
    shown = seedbed(tmp_path, "config", "show", "--kind", "simulate", "--set", "cluster.gpus=8xA100").stdout
    assert "8xA100" in shown
