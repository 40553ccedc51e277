"""`seedbed simulate` makes a run that the other commands show, and refuses what cannot be simulated."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.patience import until

from seedbed.config.simulation import ClusterConfig, SimulateConfig
from seedbed.events import Run
from seedbed.locks import is_locked
from seedbed.runs.session import Session
from seedbed.runs.store import Store

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
        "starting the cluster ...",
        "(simulated)",
        "seedbed curve big",
    ):
        assert words in output
    assert "seedbed generate" not in output, "there is no model to generate with"
    assert "preparing the data" not in output
    assert "in 0.0s" not in output
    assert "all_reduce" not in output
    saves = [line for line in output.splitlines() if line.startswith("saved step-")]
    assert [line.endswith("; most of the saves are not shown") for line in saves] == [True] + [False] * (len(saves) - 1)
    found = json.loads(seedbed(tmp_path, "status", "big", "--json").stdout)
    assert (found["kind"], found["status"], found["simulated"]) == ("simulate", "completed", True)
    assert "SIMULATED" in seedbed(tmp_path, "status", "big").stdout
    assert "SIMULATED big" in seedbed(tmp_path, "runs").stdout
    assert "warning: Failure of " in seedbed(tmp_path, "logs", "big", "-n", "2000").stdout
    assert "simulated time" in seedbed(tmp_path, "curve", "big", "--x", "time").stdout
    metrics = seedbed(tmp_path, "metrics", "big", "--csv")
    assert {"mfu", "goodput", "samples_per_s", "interruptions"} <= set(metrics.stdout.splitlines()[0].split(","))
    assert "simulated" in metrics.stderr


def test_what_the_plan_assumes_is_said_such_as_a_batch_rounded_to_whole_sequences(tmp_path: Path) -> None:
    words = ("--model", "llama3-8b", "--gpu", "8xH100", "--tokens", "1M", "--seq", "8192", "--fail-rate", "0")
    done = seedbed(tmp_path, "simulate", *words, "--global-batch", "1")
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("Assumed: ")]
    assert "8,192 tokens per step, 1 sequence" in line
    found = json.loads(seedbed(tmp_path, "status", "--json").stdout)
    assert found["tokens"] == found["steps"] * 8192


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
    run = seedbed(tmp_path, "simulate", *WORDS, "--speed", "200", "--background").stdout.strip()
    seedbed(tmp_path, "stop", run, "--wait")
    assert json.loads(seedbed(tmp_path, "status", run, "--json").stdout)["status"] == "stopped"
    seedbed(tmp_path, "resume", run, "--more-steps", "5", code=2)
    (config,) = (tmp_path / "runs").glob("2*/config.toml")
    config.write_text(config.read_text().replace("speed = 200.0", "speed = 0.0"))
    assert "Finished at step" in seedbed(tmp_path, "resume", run).stdout


def test_what_needs_weights_is_refused_for_a_simulated_run_with_the_reason(tmp_path: Path) -> None:
    """A simulated run has no weights, also while it runs; what needs none works."""
    run = seedbed(tmp_path, "simulate", *WORDS, "--speed", "0.001", "--background", "--name", "big").stdout.strip()
    refused = [("save",), ("save", "--wait"), ("generate",), ("generate", "--checkpoint", "best"), ("score",)]
    for command, *options in refused:
        done = seedbed(tmp_path, command, "big", *options, code=1)
        assert "is simulated: " in done.stderr
        assert "no weights" in done.stderr
        assert f"seedbed save {run}" not in done.stderr
    assert "no run" in seedbed(tmp_path, "save", code=2).stderr.lower(), "no run could save"
    assert "it ends in a moment" in seedbed(tmp_path, "stop", "big").stdout
    until(lambda: json.loads(seedbed(tmp_path, "status", "big", "--json").stdout)["status"] == "stopped")
    until(lambda: not is_locked(tmp_path / "runs" / run / ".lock"))  # its process has ended
    for options in (("--from", "best"), ("--from", "100"), ("--more-steps", "5"), ("--early-stop", "0")):
        assert "resumed without options" in seedbed(tmp_path, "resume", "big", *options, code=2).stderr
    assert "give a run of `seedbed train`" in seedbed(tmp_path, "train", "--like", "big", code=2).stderr
    for words in (("tag", "big", "demo"), ("note", "big", "a demo"), ("archive", "big"), ("rename", "big", "small")):
        seedbed(tmp_path, *words)
    seedbed(tmp_path, "delete", "small", "--yes")
    assert not list((tmp_path / "runs").glob("2*"))


def test_a_completed_simulated_run_is_not_trained_further(tmp_path: Path) -> None:
    seedbed(tmp_path, "simulate", *WORDS, "--name", "big")
    done = seedbed(tmp_path, "resume", "big", code=2)
    assert "all of its 2384 steps are simulated" in done.stderr
    assert "seedbed simulate --like " in done.stderr
    hint = seedbed(tmp_path, "save", "big", code=1).stderr
    assert "seedbed status" in hint
    assert "seedbed resume" not in hint


def test_the_status_after_a_resume_shows_what_that_of_an_uninterrupted_run_does(tmp_path: Path) -> None:
    seedbed(tmp_path, "simulate", *WORDS, "--name", "whole")
    seedbed(tmp_path, "simulate", *WORDS, "--name", "parts", "--speed", "4000", "--background")
    until(lambda: json.loads(seedbed(tmp_path, "status", "parts", "--json").stdout)["metrics"].get("interruptions"))
    seedbed(tmp_path, "stop", "parts", "--wait")
    (config,) = (tmp_path / "runs").glob("2*parts/config.toml")
    config.write_text(config.read_text().replace("speed = 4000.0", "speed = 0.0"))
    seedbed(tmp_path, "resume", "parts")
    whole, parts = (json.loads(seedbed(tmp_path, "status", name, "--json").stdout) for name in ("whole", "parts"))
    assert whole["nodes"]["failed"]["count"] > 0
    for name in ("nodes", "comm", "warnings", "metrics", "loss", "best_val_loss", "tokens", "step"):
        assert parts[name] == whole[name], name
    lines = seedbed(tmp_path, "status", "parts").stdout
    assert "  nodes       " in lines
    assert re.search(r"reduce_scatter [\d.]+ GiB in [\d.]+ ms on average", lines)


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


def test_without_failures_nothing_interrupts_a_run_of_any_size(tmp_path: Path) -> None:
    # 16,384 GPUs for 40 days: with the usual rates, hundreds of interruptions.
    words = ("--model", "llama3-405b", "--gpu", "16384xH100", "--tokens", "15T", "--fail-rate", "0")
    output = seedbed(tmp_path, "simulate", *words).stdout
    assert "info: Interruptions: 0" in output, output
    assert "warning: Failure" not in seedbed(tmp_path, "logs", "-n", "5000").stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--rehearse", "--fail-rate", "0", "--tokens", "1B"), "nothing to rehearse"),
        (("--rehearse", "--inject", "kil"), "Did you mean kill?"),
        (("--rehearse", "--inject", "kill", "--rehearse-steps", "7"), "too few"),
        (("--rehearse", "--inject", "kill", "--rehearse-steps", "many"), "--rehearse-steps must be a whole number"),
        (("--rehearse", "--inject", "kill", "--incidents", "0"), "--incidents must be a whole number from 1"),
        (("--rehearse", "--inject", "kill", "--background"), "Leave out --background"),
        (("--rehearse", "--inject", "kill", "--rehearse-set", "train.time=5m"), "Use --rehearse-steps"),
        (("--rehearse", "--inject", "kill", "--rehearse-set", "model.layer=2"), "model.layers"),
        (("--rehearse", "--inject", "kill", "--preset", "nona"), "nano"),
        (("--rehearse", "--inject", "kill", "--data", "text:missing.txt"), "missing.txt"),
        (
            ("--rehearse", "--inject", "kill", "--rehearse-set", "train.early_stop=3"),
            "A rehearsal trains all its steps",
        ),
        (("--rehearse", "--inject", "kill", "--rehearse-set", "train.size=auto"), "Use --preset"),
        (("--rehearse", "--inject", "kill", "--rehearse-set", "model.layers"), "Write for example --rehearse-set"),
        (("--rehearse", "--inject", "kill", "--rehearse-set", "model.layers=x"), "(--rehearse-set)"),
        (("--rehearse", "--inject", "all", "--incidents", "2"), "--inject names 6 faults, but --incidents allows 2"),
        (("--rehearse", "--inject", "kill", "--speed", "9"), "Leave out --speed"),
        (("--rehearse", "--inject", "kill", "--set", "playback.speed=9"), "Leave out --set playback.speed"),
        (("--inject", "kill"), "--inject works only with --rehearse"),
        (("--preset", "nano"), "--preset works only with --rehearse"),
    ],
)
def test_a_rehearsal_that_cannot_work_is_refused_before_a_run_exists(
    tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    command = ("simulate", "--gpu", "8xH100", "--tokens", "10B", "--set", "failures.slow_rate=0")
    refused = seedbed(tmp_path, *command, *words, code=2)
    assert message in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not list((tmp_path / "runs").glob("2*"))


def test_the_status_says_how_many_nodes_are_in_use_and_of_how_many_warnings_it_shows_the_last(tmp_path: Path) -> None:
    words = (
        "--model",
        "llama3-8b",
        "--gpu",
        "1024xH100",
        "--tokens",
        "100B",
        "--fail-rate",
        "600",
        "--set",
        "cluster.spare_nodes=60",
    )
    output = seedbed(tmp_path, "simulate", *words, "--name", "big").stdout
    failures = int(re.search(r"Interruptions: (\d+)", output)[1])  # type: ignore[index]
    shown = seedbed(tmp_path, "status", "big").stdout
    assert f"  nodes       128 in use, {failures} interruptions (last failed: node " in shown
    heading, *warnings = shown.partition("  Warnings ")[2].splitlines()
    assert heading.startswith(f"(last {len(warnings)} of {failures};")
    goodput = re.search(r"Goodput: ([\d.]+%)", output)[1]  # type: ignore[index]
    assert re.search(rf"  metrics     MFU \d+\.\d%, .*goodput {goodput}", shown)
    assert 1 < len(warnings) <= 20
    assert all(line.startswith("  At step ") for line in warnings), "no blank lines between them"


def test_a_run_that_made_no_progress_says_so_first(tmp_path: Path) -> None:
    """Most such runs are refused beforehand; by bad luck, one may still fail."""
    run = Store(tmp_path / "runs").create("simulate", "huge", "", {"simulated": True})
    with Session(run.path) as session:
        session.emit(Run(status="running", session=1, steps=100, tokens_per_step=10, simulated=True), 0.0)
        session.finish("failed", reason="The simulated run makes no progress: why.", hint="Lower the failure rates.")
    lines = [line for line in seedbed(tmp_path, "status", "huge").stdout.splitlines() if line]
    assert lines[2].startswith("  The simulated run makes no progress: ")
    assert lines[3].startswith("  Lower the failure rates")
    listed = seedbed(tmp_path, "runs").stdout
    assert "The simulated run makes no progress" in listed


@pytest.mark.parametrize(
    "words", [("--gpu", "1000000xH100"), ("--gpu", "65536xH100", "--set", "failures.early_life_factor=30")]
)
def test_a_run_that_would_hardly_make_progress_is_refused_with_what_would_help(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    refused = seedbed(tmp_path, "simulate", *words, "--model", "llama3-8b", "--tokens", "100B", code=1).stderr
    assert "hardly make progress" in refused
    assert "because something fails every " in refused
    assert "What would help: a tenth of the failures" in refused
    assert not (tmp_path / "runs").exists()


def test_a_run_that_loses_much_of_its_time_says_so_before_it_starts(tmp_path: Path) -> None:
    many = ("--fail-rate", "800", "--set", "cluster.spare_nodes=120")
    said = seedbed(tmp_path, "simulate", "--gpu", "4096xH100", "--model", "llama3-8b", "--tokens", "100B", *many).stderr
    assert re.search(r"Only \d\d\.\d % of the time counts: something fails every \dm \d\ds, a restart takes", said)
    assert "what would help: a tenth of the failures" in said


def test_a_file_of_the_wrong_kind_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "sim.toml").write_text('[simulate]\nmodel = "tiny"\n[cluster]\ngpus = "8xH100"\n')
    refused = seedbed(tmp_path, "plan", "sim.toml", "--gpu", "8xH100", code=2).stderr
    assert "[simulate] in file sim.toml belongs to a simulate config, not to a train config." in refused
    (tmp_path / "kind.toml").write_text('kind = "simulate"\n[simulate]\nmodel = "tiny"\n')
    assert "the command decides the kind" in seedbed(tmp_path, "simulate", "kind.toml", code=2).stderr


def test_the_help_has_the_defaults(tmp_path: Path) -> None:
    shown = " ".join(seedbed(tmp_path, "simulate", "--help").stdout.split())
    defaults = (SimulateConfig().model, ClusterConfig().gpus, SimulateConfig().seed)
    assert all(f"(default: {value})" in shown for value in defaults)
