"""Commands that show runs, configs and the machine; usage errors, hints and completion."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

import patience
from seedbed.cli.commands import COMMANDS
from seedbed.cli.completers import settings, sources
from seedbed.cli.doctor import describe, gigaflops
from seedbed.cli.main import main
from seedbed.config.keys import keys
from seedbed.config.resolving import resolve
from seedbed.config.roots import TRAIN
from seedbed.runs.store import Store

SLOW = {"FAKE_STEP_S": "0.03"}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    out = capsys.readouterr().out
    assert "examples:" in out
    assert f"seedbed {command}" in out.partition("examples:")[2]
    assert all(len(line) <= 120 for line in out.splitlines())


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out
    assert main([]) == 0
    assert capsys.readouterr().out == listed
    assert all(command in listed for command in COMMANDS)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["trian"], "seedbed train"),
        (["train", "--nope"], "--nope"),
        (["train", "--preset", "nanno"], "nano"),
        (["train", "--set", "optimizer.lrr=1"], "optimizer.lr"),
        (["train", "--set", "train.steps=many"], "train.steps"),
        (["train", "--set", "train.steps=5", "--set", "train.epochs=1"], "give only one of them"),
        (["train", "nowhere.toml"], "nowhere.toml"),
        (["train", "--data", "text:/nowhere/at/all"], "/nowhere/at/all"),
        (["train", "--name", "a/b"], "--name"),
        (["train", "--like", "nothing"], "nothing"),
        (["status", "nothing"], "nothing"),
        (["resume", "--more-steps", "3", "--more-epochs", "3"], "not allowed"),
        (["config"], "VERB"),
        (["config", "check", "--set", "model.context=0"], "model.context"),
        (["completion", "tcsh"], "tcsh"),
    ],
)
def test_usage_errors_exit_2_and_create_no_run(
    words: list[str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEEDBED_RUNS", str(tmp_path / "runs"))
    assert main(words) == 2
    shown = capsys.readouterr()
    assert expected in shown.err
    assert shown.out == ""
    assert "Traceback" not in shown.err
    assert not list(tmp_path.glob("runs/*"))


def test_status_is_shown_as_text_and_as_json(desk: Any) -> None:
    run = desk.train("--name", "alpha")
    out = desk.seedbed("status").stdout
    for part in ("alpha", "completed", "30 of 30", "Fake CPU", "step 30", run):
        assert part in out
    assert "  data        stories\n" in out
    assert "\x1b" not in out
    assert desk.status("alpha") == desk.status(run[:20])


def test_status_of_a_running_run(desk: Any) -> None:
    desk.seedbed("train", "--set", "train.steps=1000000", "--background", env=SLOW)
    desk.at_step(12)
    found = desk.status()
    assert found["status"] == "running"
    left = 1_000_000 - found["step"]
    assert 0.8 * 0.03 * left < found["remaining_s"] < patience.limit(0.03) * left  # a busy machine is slower
    assert found["device"] == "cpu"
    os.kill(found["pid"], 0)
    assert "remaining" in desk.seedbed("status").stdout
    desk.seedbed("stop", "--wait")


def test_status_of_a_failed_run_names_its_traceback_file_and_the_resume_command(desk: Any) -> None:
    desk.seedbed("train", "--name", "alpha", expect=1, env={"FAKE_FAIL": "crash"})
    line = next(line for line in desk.seedbed("status").stdout.splitlines() if "traceback is in" in line)
    assert Path(line.rpartition(" in ")[2].rstrip(".")).is_file()
    desk.seedbed("train", "--name", "beta", "--steps", "30", expect=1, env={"FAKE_FAIL": "kill"})
    assert "`seedbed resume beta` starts it again" in desk.seedbed("status").stdout, "the hint has the long id"


def test_a_file_or_broken_link_in_place_of_the_runs_folder_is_refused(desk: Any) -> None:
    desk.runs.write_text("mine")
    for words in (("train",), ("train", "--background"), ("runs",), ("status",), ("resume",), ("queue",), ("du",)):
        done = desk.seedbed(*words, expect=2)
        assert '"runs" is a file, not a folder of runs.' in done.stderr, words
        assert "--runs DIR" in done.stderr
        assert "healthy" not in done.stderr
    assert desk.runs.read_text() == "mine"
    desk.runs.unlink()
    desk.runs.symlink_to("nowhere")
    assert '"runs" is a broken link' in desk.seedbed("train", expect=2).stderr


def test_colour_on_a_terminal_unless_no_color(desk: Any) -> None:
    desk.train()
    for env, coloured in (
        ({"NO_COLOR": ""}, True),
        ({"NO_COLOR": "1"}, False),
        ({"NO_COLOR": "", "TERM": "dumb"}, False),
    ):
        done = desk.start("status", env={"TERM": "xterm", **env}, stdout=subprocess.PIPE)
        assert "\x1b" not in done.communicate()[0], "colour in a pipe"
        assert ("\x1b[" in on_terminal(desk, "status", env={"TERM": "xterm", **env})) is coloured


def on_terminal(desk: Any, *words: str, env: dict[str, str]) -> str:
    leader, terminal = os.openpty()
    process = desk.start(*words, env=env, stdout=terminal)
    os.close(terminal)
    shown = b""
    while True:
        try:
            block = os.read(leader, 4096)
        except OSError:
            break
        if not block:
            break
        shown += block
    os.close(leader)
    process.wait(timeout=patience.HANG_S)
    return shown.decode()


def test_runs_lists_every_run_including_a_broken_one(desk: Any) -> None:
    assert json.loads(desk.seedbed("runs", "--json").stdout) == []
    assert "seedbed train" in desk.seedbed("runs").stderr
    first, second = desk.train("--name", "alpha"), desk.train()
    broken = desk.runs / "20990101-000000-000-broken"
    broken.mkdir()
    (broken / "meta.json").write_text("{")
    (desk.runs / "notes").mkdir()
    out = desk.seedbed("runs").stdout
    assert [line.split()[0] for line in out.splitlines()[1:]] == [first, second, broken.name]
    assert "nano-stories" in out
    assert [run["status"] for run in json.loads(desk.seedbed("runs", "--json").stdout)] == ["completed"] * 2 + [
        "broken"
    ]
    assert desk.status()["id"] == second, "a broken run is not the latest"


def test_the_runs_folder_is_set_by_an_option_or_the_environment(desk: Any) -> None:
    desk.train("--runs", "elsewhere")
    assert not desk.runs.exists()
    assert len(json.loads(desk.seedbed("runs", "--json", env={"SEEDBED_RUNS": "elsewhere"}).stdout)) == 1
    out = desk.seedbed("train", "--set", "train.steps=10", "--runs", "elsewhere").stdout
    assert f"seedbed generate {desk.folder / 'elsewhere'}" in out, "the next command would not find the run"


def test_background_prints_only_the_id_and_the_job_outlives_its_parent(desk: Any) -> None:
    process = desk.start(
        "train", "--set", "train.steps=60", "--background", env={"HOLD_AT": "40"}, start_new_session=True
    )
    out, _ = process.communicate(timeout=patience.HANG_S)
    assert process.returncode == 0
    run = out.strip()
    assert (desk.runs / run).is_dir()
    os.kill(desk.status(run)["pid"], 0)
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, signal.SIGHUP)
    desk.let_go()
    desk.wait(lambda: desk.status(run)["status"] == "completed")


def test_stop_saves_a_checkpoint_and_ends_the_run(desk: Any) -> None:
    desk.seedbed("stop", expect=2)
    run = desk.seedbed("train", "--set", "train.steps=1000000", "--background", env=SLOW).stdout.strip()
    desk.at_step(3)
    assert "stopped" in desk.seedbed("stop", run, "--wait").stdout
    after = desk.status(run)
    assert after["status"] == "stopped"
    assert after["checkpoint_step"] == after["step"]
    assert "not running" in desk.seedbed("stop", run, expect=1).stderr


def test_resume_chooses_the_interrupted_run_and_refuses_wrong_requests(desk: Any) -> None:
    finished = desk.train(steps=20)
    error = desk.seedbed("resume", finished, expect=2).stderr
    assert "completed" in error
    assert "--more-epochs" in error
    assert "interrupted run" in desk.seedbed("resume", expect=2).stderr
    for amount in ("0", "-3"):
        desk.seedbed("resume", finished, "--more-steps", amount, expect=2)
    desk.seedbed("resume", finished, "--more-epochs", "nan", expect=2)
    desk.seedbed("resume", finished, "--from", "12", expect=2)
    desk.seedbed("train", "--set", "train.steps=30", expect=1, env={"FAKE_FAIL": "kill"})
    desk.seedbed("train", expect=2, env={"FAKE_FAIL": "usage"})
    lost = json.loads(desk.seedbed("runs", "--json").stdout)[1]
    assert lost["status"] == "lost"
    resumed = json.loads(desk.seedbed("resume", "--json").stdout)
    assert resumed["id"] == lost["id"], "resume chose a run that never trained"
    assert resumed["status"] == "completed"
    assert resumed["session"] == 2


def test_resume_says_that_added_steps_replace_the_rest_of_the_plan(desk: Any) -> None:
    run = desk.seedbed("train", "--steps", "1000000", "--background", env=SLOW).stdout.strip()
    desk.at_step(3)
    desk.seedbed("stop", run, "--wait")
    reached = desk.status(run)["step"]
    error = desk.seedbed("resume", run, "--more-steps", "2").stderr
    assert f"the run was to end at step 1000000, and it is at step {reached}" in error
    assert desk.status(run)["steps"] == reached + 2
    assert "replace" not in desk.seedbed("resume", run, "--more-steps", "2").stderr, "nothing planned is dropped"
    refused = desk.seedbed("resume", run, "--more-steps", "0", expect=2).stderr
    assert "replace" not in refused


def test_train_says_that_a_taken_name_was_changed(desk: Any) -> None:
    assert "is named" not in desk.seedbed("train", "--set", "train.steps=2", "--name", "alpha").stderr
    error = desk.seedbed("train", "--set", "train.steps=2", "--name", "alpha").stderr
    assert 'the new run is named "alpha-2"' in error


def test_the_error_for_a_request_to_an_ended_run_names_the_next_command(desk: Any) -> None:
    desk.seedbed("train", "--set", "train.steps=30", "--name", "alpha", expect=1, env={"FAKE_FAIL": "kill"})
    finished = desk.train(steps=2)
    for verb in ("stop", "pause", "save"):
        assert "seedbed resume" in desk.seedbed(verb, "alpha", expect=1).stderr, verb
        error = desk.seedbed(verb, finished, expect=1).stderr
        assert f"seedbed status {finished}" in error, verb
        assert "seedbed resume" not in error, "nothing is left to resume"
    (desk.runs / finished / "meta.json").write_text("{")
    error = desk.seedbed("stop", str(desk.runs / finished), expect=1).stderr
    assert "not running (broken)" in error
    assert "Restore it or" in error, "the hint is not about the broken file"


def test_resume_from_an_earlier_checkpoint(desk: Any) -> None:
    run = desk.train(steps=30)
    desk.seedbed("resume", run, "--from", "10", "--more-steps", "5")
    after = desk.status(run)
    assert (after["step"], after["steps"], after["session"]) == (15, 15, 2)
    assert after["checkpoint_step"] == 15


def test_like_starts_from_an_earlier_config(desk: Any) -> None:
    run = desk.train("--set", "optimizer.lr=0.5", "--name", "alpha")
    desk.seedbed("train", "--like", "alpha", "--set", "model.layers=3", "--name", "beta")
    old = tomllib.loads((desk.runs / run / "config.toml").read_text())
    new = tomllib.loads((Path(desk.status("beta")["path"]) / "config.toml").read_text())
    assert new["optimizer"]["lr"] == 0.5
    assert new["model"].pop("layers") == 3
    assert old["model"].pop("layers") == 4
    assert new == old


def test_config_show_gives_the_origin_of_each_value(desk: Any) -> None:
    (desk.folder / "my.toml").write_text("[train]\nsteps = 77\n")
    words = ("my.toml", "--set", "optimizer.lr=2e-5", "--device", "cpu")
    out = desk.seedbed("config", "show", *words).stdout
    lines = {line.split(" = ")[0]: line for line in out.splitlines() if " = " in line}
    assert "77" in lines["steps"]
    assert "my.toml" in lines["steps"]
    assert "--set" in lines["lr"]
    assert "--device" in lines["device"]
    assert "preset nano" in lines["layers"]
    assert tomllib.loads(out)["optimizer"]["lr"] == 2e-5
    as_json = json.loads(desk.seedbed("config", "show", *words, "--json").stdout)
    assert as_json["config"]["train"]["steps"] == 77
    assert as_json["origins"]["optimizer.lr"] == "--set"


def test_config_check_reports_the_size_and_the_errors_of_a_config(desk: Any) -> None:
    good = json.loads(desk.seedbed("config", "check", "--json").stdout)
    assert good["ok"]
    assert 1_000_000 < good["parameters"] < 1_300_000
    assert "parameters" in desk.seedbed("config", "check").stdout
    cut = desk.seedbed("config", "check", "--set", "train.precision=fp32", "--set", "train.micro_batch=4").stdout
    assert "of memory in fp32, 4 sequences at a time.\n" in cut
    chosen = f"of memory in {good['precision']} (which `train` chooses on this machine).\n"
    assert chosen in desk.seedbed("config", "check").stdout
    bad = json.loads(desk.seedbed("config", "check", "--data", "text:/nowhere", "--json", expect=2).stdout)
    assert not bad["ok"]
    assert "/nowhere" in bad["findings"][-1]["text"]
    # A model that no machine can hold is an error before any work, for memory and for disk.
    large = desk.seedbed("config", "check", "--set", "model.layers=60000", "--device", "cpu", expect=2).stdout
    assert "error: Training needs about" in large
    assert "of memory" in large
    assert "error: Checkpoints need up to" in large
    assert not (desk.folder / "runs").exists()


@pytest.mark.parametrize(
    ("data", "status", "expected"),
    [("storys", 2, "Did you mean stories?"), ("novels", 2, "text:novels"), ("text:empty.txt", 1, "contains no text")],
)
def test_unusable_data_is_refused_and_creates_no_run(desk: Any, data: str, status: int, expected: str) -> None:
    (desk.folder / "novels").mkdir()
    (desk.folder / "empty.txt").write_text("")
    for words in (("train", "--background"), ("train",)):
        done = desk.seedbed(*words, "--data", data, expect=status)
        assert expected in done.stderr
    assert json.loads(desk.seedbed("runs", "--json").stdout) == []
    assert expected in desk.seedbed("config", "check", "--data", data, expect=2).stdout


def test_a_taken_name_gets_a_number(desk: Any) -> None:
    names = [desk.train("--name", "again") for _ in range(2)]
    listed = {each["id"]: each["name"] for each in json.loads(desk.seedbed("runs", "--json").stdout)}
    assert [listed[name] for name in names] == ["again", "again-2"]


def test_an_unknown_option_suggests_the_nearest_option_and_the_commands_help(desk: Any) -> None:
    error = desk.seedbed("generate", "--samples", "2", expect=2).stderr
    assert "--num-samples" in error
    assert "seedbed generate --help" in error


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("train --batch_size 4", "--batch-size"),
        ("train --learning_rate 1e-3", "--lr"),
        ("train --learning-rate=1e-3", "--lr"),
        ("train --max_iters 50", "--steps"),
        ("train --n_layer 4", "`--set model.layers=4`"),
        ("train --warmup_steps 50", "`--set schedule.warmup=VALUE` (Warm-up as a fraction"),
        ("train --hiden 64", "`--set model.hidden=VALUE`"),
        ("train --backgroud", "--background"),
        ("train --output_dir out", "--runs"),
        ("train --dry-run", "`seedbed config check`"),
        ("config show --prest nano", "--preset"),
        ("config check --block_size 3", "--context"),
        ("status --jsn", "--json"),
        ("runs --sort creatd", "created"),
        ("config sho", "show"),
        ("generat", "`seedbed generate`"),
        ("gen", "`seedbed generate`"),
        ("ls", "`seedbed runs`"),
        ("rm x", "`seedbed delete`"),
        ("kill", "`seedbed stop`"),
        ("plot", "`seedbed curve`"),
        ("continue", "`seedbed resume`"),
        ("help", "`seedbed --help`"),
        ("delete -y x", "--yes"),
        ("delete --force x", "--yes"),
        ("runs -a", "--all"),
        ("logs --tail 5", "--lines"),
        ("curve --smoothing 0.9", "--smooth"),
        ("resume --steps 5", "--more-steps"),
        ("resume --lr 1", "`seedbed train --like RUN --lr RATE`"),
        ("--runs x status", "after the command: `seedbed status --help`"),
        ("export latest", "a folder that transformers can open"),
        ("eval latest", "`seedbed evaluate`"),
    ],
)
def test_misspelt_and_foreign_options_and_commands_get_the_right_hint(
    line: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line.split()) == 2
    shown = capsys.readouterr().err
    assert meant in shown.partition("hint:")[2] or f"did you mean {meant}?" in shown, shown


@pytest.mark.parametrize("line", ["train --quux=3", "train -x", "status --lr 1", "xyzzy", "--foo"])
def test_an_unknown_word_without_a_near_match_gets_no_suggestion(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line.split()) == 2
    shown = capsys.readouterr().err
    assert "Did you mean" not in shown, shown


def test_the_most_used_config_keys_have_their_own_options(desk: Any) -> None:
    words = ["--lr", "0.1", "--batch-size", "4", "--context", "64", "--seed", "5"]
    for horizon, value in (("steps", "50"), ("epochs", "2.0"), ("tokens", "1000")):
        out = desk.seedbed("config", "show", *words, f"--{horizon}", value).stdout
        origins = {line.split(" = ")[0]: line.split("# ")[-1] for line in out.splitlines() if " = " in line}
        assert (origins["lr"], origins["batch_size"], origins["context"]) == ("--lr", "--batch-size", "--context")
        assert (origins["seed"], origins[horizon]) == ("--seed", f"--{horizon}")
        found = tomllib.loads(out)
        assert (found["optimizer"]["lr"], found["train"]["batch_size"], found["model"]["context"]) == (0.1, 4, 64)
        assert [key for key in ("steps", "epochs", "tokens") if key in found["train"]] == [horizon]
    run = desk.seedbed("train", "--steps", "12", "--lr", "0.25", "--json").stdout
    assert json.loads(run)["step"] == 12
    kept = tomllib.loads((Path(json.loads(run)["path"]) / "config.toml").read_text())
    assert (kept["train"]["steps"], kept["optimizer"]["lr"]) == (12, 0.25)
    assert "give only one of them" in desk.seedbed("train", "--steps", "5", "--epochs", "1", expect=2).stderr
    assert "train.steps (--steps)" in desk.seedbed("config", "check", "--steps", "many", expect=2).stderr


def test_config_keys_explains_every_key(desk: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "keys", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == list(keys(TRAIN))
    assert all(each["help"] and each["expected"] for each in found.values())
    assert found["train.steps"]["default"] == resolve(TRAIN).config.train.steps
    assert main(["config", "keys", "train.st"]) == 0
    out = capsys.readouterr().out
    assert "train.steps = 1350" in out
    assert "How long to train, in optimizer steps. (A whole number, at least 1" in out
    assert "optimizer.lr" not in out
    assert main(["config", "keys", "lr", "--preset", "tiny"]) == 0
    assert f"optimizer.lr = {resolve(TRAIN, preset='tiny').config.optimizer.lr}" in capsys.readouterr().out
    assert main(["config", "keys", "learning_rate"]) == 2
    assert "optimizer.lr" in capsys.readouterr().err


def test_presets_lists_every_preset_with_its_hardware(desk: Any) -> None:
    assert list(json.loads(desk.seedbed("presets", "--json").stdout)) == ["nano", "tiny", "small", "base"]
    assert "any laptop" in desk.seedbed("presets").stdout


def test_curve_writes_an_svg_file(desk: Any) -> None:
    desk.train("--name", "a b")
    desk.seedbed("curve", "a b", "--svg", "loss.svg")
    root = ET.parse(desk.folder / "loss.svg").getroot()
    text = " ".join(element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text"))
    assert "a b" in text
    assert "validation loss" in text
    assert "training loss" in desk.seedbed("curve").stdout
    Store(desk.runs).create("train", "newer", "", {})
    assert "a b" in desk.seedbed("curve").stdout, "curve chose a newer run without steps"
    assert "nowhere" in desk.seedbed("curve", "--svg", "nowhere/loss.svg", expect=1).stderr


def test_curve_draws_several_runs_in_one_chart(desk: Any) -> None:
    desk.train("--name", "alpha", steps=5)
    second = desk.train("--name", "beta", steps=12)
    Store(desk.runs).create("train", "empty", "", {})
    done = desk.seedbed("curve", "alpha", "beta", "empty")
    assert "⣀1 alpha   ⣀2 beta" in done.stdout
    assert done.stdout.splitlines()[-1].split() == ["1", "5", "10", "12"]
    assert '"empty" has logged no step yet' in done.stderr
    desk.seedbed("curve", "alpha", "beta", "--x", "time", "--smooth", "0.5", "--log", "--svg", "both.svg")
    root = ET.parse(desk.folder / "both.svg").getroot()
    texts = " ".join(element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text"))
    for part in ("training loss", "1 alpha", "2 beta", "seconds of training"):
        assert part in texts
    found = json.loads(desk.seedbed("curve", "alpha", "beta", "--json", "--y", "lr", "--x", "tokens").stdout)
    assert [each["name"] for each in found] == ["alpha", "beta"]
    assert found[1]["id"] == second
    assert found[0]["points"][-1] == {"first_tokens": 2560, "last_tokens": 2560, "lr": 0.01, "low": 0.01, "high": 0.01}
    log = Path(desk.status("alpha")["path"]) / "events.jsonl"
    log.write_bytes(b"".join(line for line in log.read_bytes().splitlines(True) if b'"kind":"eval"' not in line))
    (log.parent / ".series").unlink(missing_ok=True)
    assert "no validation yet" in desk.seedbed("curve", "alpha", "--y", "val_loss", expect=1).stderr
    assert "None of these 2 runs" in desk.seedbed("curve", "alpha", "empty", "--y", "val-loss", expect=1).stderr
    assert "must be below 1" in desk.seedbed("curve", "--smooth", "1", expect=2).stderr
    assert "beta: gradient norm" in desk.seedbed("curve", "beta", "--y", "grad-norm").stdout
    assert "alpha: training loss, along time" in desk.seedbed("curve", "alpha", "--x", "time").stdout


def test_control_characters_in_a_name_are_never_printed(desk: Any) -> None:
    run = desk.train()
    (desk.runs / run / "labels.json").write_text(json.dumps({"name": "x\x1b[31m\u202e\x07[/]"}))
    for words in (("status",), ("runs",), ("curve",), ("status", "x\x1b[31m")):
        done = desk.seedbed(*words, expect=2 if len(words) > 1 else 0)
        assert not {"\x1b", "\u202e", "\x07"} & set(done.stdout + done.stderr), words


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_code_for_each_shell(shell: str, desk: Any) -> None:
    assert "seedbed" in desk.seedbed("completion", shell).stdout


def complete(desk: Any, line: str) -> set[str]:
    out = desk.folder / "completions"
    done = subprocess.run(
        [sys.executable, "-m", "seedbed"],
        cwd=desk.folder,
        env={
            **desk.environment,
            "_ARGCOMPLETE": "1",
            "_ARGCOMPLETE_STDOUT_FILENAME": str(out),
            "_ARGCOMPLETE_IFS": "\n",
            "COMP_LINE": line,
            "COMP_POINT": str(len(line)),
        },
        capture_output=True,
        check=False,
    )
    assert b"Traceback" not in done.stderr, done.stderr
    return {word.strip() for word in out.read_text().split("\n")}


def test_completion_of_commands_options_and_runs(desk: Any) -> None:
    run = desk.train("--name", "alpha")
    assert complete(desk, "seedbed st") == {"stop", "status"}
    assert "--more-epochs" in complete(desk, "seedbed resume --mo")
    assert complete(desk, "seedbed status al") == {"alpha"}
    assert run in complete(desk, "seedbed status 2")
    assert "latest" in complete(desk, "seedbed train --like l")
    assert complete(desk, "seedbed train --after al") == {"alpha"}
    assert complete(desk, f"seedbed delete {run} al") == {"alpha"}
    assert complete(desk, "seedbed tag al") == {"alpha"}


def test_completion_of_values(desk: Any) -> None:
    desk.train("--name", "alpha", steps=20)
    desk.seedbed("tag", "alpha", "novel")
    (desk.folder / "novels").mkdir()
    (desk.folder / "nothing.txt").write_text("x")
    for line, wanted in {
        "train --preset ": {"nano", "tiny", "small", "base"},
        "config show --preset t": {"tiny"},
        "train --data w": {"wikitext-2", "wikitext-103"},
        "train --data te": {"text:"},
        "train --set optimizer.l": {"optimizer.lr="},
        "config check --set optimizer.name=": {"optimizer.name=adamw", "optimizer.name=muon"},
        "generate alpha --checkpoint ": {"latest", "best", "10", "20"},
        "resume alpha --from 2": {"20"},
        "train --precision b": {"bf16"},
        "train --device c": {"cpu", "cuda"},
        "runs --tag n": {"novel"},
        "runs --status running,qu": {"running,queued"},
        "config keys optimizer.gr": {"optimizer.grad_clip"},
    }.items():
        assert complete(desk, f"seedbed {line}") == wanted, line


def test_completion_of_paths_after_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "novels").mkdir()
    (tmp_path / "nothing.txt").write_text("x")
    (tmp_path / ".hidden").write_text("x")
    monkeypatch.chdir(tmp_path)
    assert sources("text:no") == ["text:nothing.txt", "text:novels/"]
    assert sources("text:") == ["text:nothing.txt", "text:novels/"]
    assert sources("text:nowhere/") == []
    assert settings("train.steps=") == [f"train.steps={resolve(TRAIN).config.train.steps}"]


def test_a_full_output_device_gives_an_error_without_a_traceback(desk: Any) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    desk.train()
    with open("/dev/full", "w") as full:
        process = desk.start("status", stdout=full)
        _, err = process.communicate(timeout=patience.HANG_S)
    assert process.returncode == 1
    assert "Traceback" not in err
    assert "No space left" in err


def test_a_slow_rate_is_not_rounded_to_zero_gigaflops() -> None:
    assert [gigaflops(rate) for rate in (4.3e8, 1.06e9, 9.96e9, 1.16e11)] == ["0.43", "1.1", "10", "116"]


@pytest.mark.usefixtures("new_interpreters")
def test_doctor_reports_on_this_machine(desk: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "seedbed", "doctor", "--device", "cpu", "--json"],
        cwd=desk.folder,
        env=desk.environment,
        capture_output=True,
        check=False,
    )
    assert b"Traceback" not in done.stderr
    found = json.loads(done.stdout)
    assert done.returncode == (1 if any(each["level"] == "error" for each in found["problems"]) else 0)
    text = "\n".join(describe(found))
    assert found["torch"]["version"] in text
    assert "trains on cpu" in text
    broken = {**found, "problems": [{"level": "error", "what": "No \x1bdisk.", "why": "", "fix": "buy one"}]}
    assert "error: No disk." in "\n".join(describe(broken))


@pytest.mark.parametrize(
    ("words", "problem", "hint"),
    [
        (("--for", "0"), "The unit is missing", "90s, 20m, 8h"),
        (("--for", "-3m"), "A time must be above 0: train.time = -3m (--for)", "90s, 20m, 8h"),
        (("--for", "2 parsecs"), "Unknown unit of time 'parsecs'", "90s, 20m, 8h"),
        (("--for", "1s"), "The shortest is 30s", "train.steps"),
        (("--for", "20m", "--steps", "5"), "train.steps and train.time are both given", "only one"),
        (("--for", "20m", "--set", "schedule.kind=cosine"), "schedule.kind = cosine", "wsd"),
    ],
)
def test_a_time_that_cannot_work_is_refused_before_a_run_exists(
    desk: Any, words: tuple[str, ...], problem: str, hint: str
) -> None:
    done = desk.seedbed("train", *words, expect=2)
    assert problem in done.stderr
    assert hint in done.stderr
    assert not desk.runs.exists() or not list(desk.runs.iterdir())


def test_config_check_says_that_the_size_is_chosen_for_a_time(desk: Any) -> None:
    shown = desk.seedbed("config", "check", "--for", "20m").stdout
    assert "chosen when the run starts" in shown
    assert "20m 00s" in shown
