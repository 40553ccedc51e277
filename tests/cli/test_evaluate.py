"""`seedbed evaluate` with real jobs: the table, JSON and CSV; stopped, killed and resumed; what is refused."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import inprocess
import patience
from evaluated import saved_model, write_text
from seedbed.actions import launching

SMALL_BATCHES = ("--set", "evaluate.batch_tokens=64", "--set", "evaluate.threads=1")
TESTS = Path(__file__).resolve().parents[1]


class Desk:
    """A folder with two models and a text, in which `seedbed` runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "SEEDBED_CACHE": str(folder / "cache"), "NO_COLOR": "1", "COLUMNS": "80"}
        self.environment.pop("SEEDBED_RUNS", None)
        saved_model(folder / "words")
        saved_model(folder / "characters", "char", 2)
        write_text(folder / "texts")

    def seedbed(self, *words: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        done = inprocess.run(words, self.folder, self.environment)
        assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
        assert done.returncode == expect, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def status(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.seedbed("status", name, "--json").stdout)
        return found


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk(tmp_path_factory.mktemp("desk"))


@pytest.fixture(scope="module")
def measured(desk: Desk) -> dict[str, Any]:
    """The results of a finished evaluation of both models."""
    done = desk.seedbed(
        "evaluate", "./words/step-00000001", "./characters/step-00000001", "--data", "text:texts", "--json"
    )
    found: dict[str, Any] = json.loads(done.stdout)
    assert "evaluating" in done.stderr, "progress is not shown"
    return found


def test_results_are_printed_as_json_csv_and_a_table(desk: Desk, measured: dict[str, Any]) -> None:
    assert [model["bytes"] for model in measured["models"]] == [measured["data"]["bytes"]] * 2
    assert json.loads((desk.folder / "runs" / ".evaluations" / "evaluate-texts.json").read_text()) == measured
    rows = list(csv.DictReader(io.StringIO(desk.seedbed("evaluate", "--show", "latest", "--csv").stdout)))
    assert [float(row["bits_per_byte"]) for row in rows] == [each["bits_per_byte"] for each in measured["models"]]
    shown = desk.seedbed("evaluate", "--show", "evaluate-texts").stdout
    assert max(map(len, shown.splitlines())) <= 80
    for model in measured["models"]:
        assert f"{model['loss']:.4f}" in shown
        assert f"{model['bits_per_byte']:.4f} ±" in shown
    assert "(all): 40 documents" in shown
    file = "runs/.evaluations/evaluate-texts.json"
    assert desk.seedbed("evaluate", "--show", file).stdout == shown
    assert json.loads(desk.seedbed("evaluate", "--show", file, "--json").stdout) == measured
    (desk.folder / "other.json").write_text("{}")
    refused = desk.seedbed("evaluate", "--show", "other.json", expect=2).stderr
    assert "does not have the results of an evaluation" in refused
    for option, message in (("./nope.json", "There is no file"), ("nope.json", "There is no evaluation")):
        assert f'{message} "{option}"' in desk.seedbed("evaluate", "--show", option, expect=2).stderr
    assert not list((desk.folder / "texts").glob(".*")), "files were written beside the text"


def test_an_evaluation_like_another_changes_only_what_is_given(desk: Desk) -> None:
    words = ("./words/step-00000001", "./characters/step-00000001", "--data", "text:texts", "--name", "sample")
    desk.seedbed("evaluate", *words, "--max-documents", "7", "--context", "16", "--seed", "3", "--background")
    patience.until(lambda: desk.status("sample")["status"] == "completed")
    first = json.loads(desk.seedbed("evaluate", "--show", "sample", "--json").stdout)
    again = json.loads(desk.seedbed("evaluate", "--like", "sample", "--json").stdout)
    for key in ("name", "path", "nats", "context", "bits_per_byte_low"):
        assert [each[key] for each in again["models"]] == [each[key] for each in first["models"]], key
    assert again["data"] == first["data"]
    one = json.loads(
        desk.seedbed("evaluate", "./words/step-00000001", "--like", "sample", "--context", "12", "--json").stdout
    )
    assert [(each["name"], each["context"]) for each in one["models"]] == [("step-00000001", 12)]
    assert one["data"] == first["data"]


def test_a_finished_evaluation_is_a_task_in_the_lists(desk: Desk, measured: dict[str, Any]) -> None:
    found = desk.status("evaluate-texts")
    assert (found["kind"], found["status"]) == ("evaluate", "completed")
    assert found["data"] == f"text:{desk.folder / 'texts'}"
    assert "evaluate-texts" in desk.seedbed("runs", "--all").stdout
    assert "bits per byte" in desk.seedbed("logs", "evaluate-texts").stdout
    assert "nothing is left to do" in desk.seedbed("resume", "evaluate-texts", expect=2).stderr


def test_a_killed_evaluation_continues_to_the_same_results(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ("evaluate", "./words/step-00000001", "--data", "text:texts", *SMALL_BATCHES)
    whole = json.loads(desk.seedbed(*command, "--json").stdout)
    with monkeypatch.context() as held:
        held.setattr(launching, "JOBS", (sys.executable, str(TESTS / "paced_job.py")))
        held.setitem(desk.environment, "HOLD_SHARE", "0.4")
        desk.seedbed(*command, "--background", "--name", "killed")
    patience.until(lambda: share_done(desk, "killed") >= 0.4)
    os.kill(desk.status("killed")["pid"], signal.SIGKILL)
    patience.until(lambda: desk.status("killed")["status"] == "lost")
    assert "BITS PER BYTE" in desk.seedbed("resume", "killed").stdout
    again = json.loads(desk.seedbed("evaluate", "--show", "killed", "--json").stdout)
    for key in ("nats", "tokens", "bytes", "loss_low", "bits_per_byte_high"):
        assert again["models"][0][key] == whole["models"][0][key], key


def test_ctrl_c_stops_the_evaluation_and_says_how_to_resume(desk: Desk) -> None:
    words = ["evaluate", "./words/step-00000001", "--data", "text:texts", "--name", "interrupted", *SMALL_BATCHES]
    process = subprocess.Popen(
        [sys.executable, str(TESTS / "paced_seedbed.py"), *words],
        cwd=desk.folder,
        env={**desk.environment, "HOLD_SHARE": "0.4"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        patience.until(lambda: share_done(desk, "interrupted") >= 0.4)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=patience.HANG_S)
    finally:
        process.kill()
    assert process.returncode == 130, out + err
    assert "keeps what is done" in out
    assert "seedbed resume interrupted" in out


def share_done(desk: Desk, name: str) -> float:
    """How much of the evaluation is done, from 0 to 1; 0 before it exists."""
    if not (desk.folder / "runs" / ".tasks").is_dir():
        return 0.0
    for each in json.loads(desk.seedbed("runs", "--all", "--json").stdout):
        progress = each["progress"] or {}
        if each["name"] == name and progress.get("total"):
            return float(progress["done"] / progress["total"])
    return 0.0


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("./nowhere", "--data", "text:texts"), 2, "There is no model folder and no run at"),
        (("./words/step-00000001",), 2, "Give a text, such as --data"),
        (("./words/step-00000001", "--data", "text:nowhere"), 2, "nowhere"),
        (("./words/step-00000001", "--data", "text:texts", "--context", "25"), 2, "Use --context 24 or less"),
        (("./words/step-00000001", "--data", "text:texts", "--precision", "int4"), 2, "evaluate.precision"),
        (("./words/step-00000001", "--data", "text:texts", "--device", "nope"), 2, "Use auto, cpu, gpu"),
        (("--show", "latest", "words"), 2, "--show takes no models"),
        (("--like", "latest"), 2, "There are no evaluations"),
        (("./words/step-00000001", "--data", "text:texts", "--max-tokens", "0"), 2, "Leave it out for no limit"),
        (("./words/step-00000001", "--data", "text:texts", "--max-documents", "0"), 2, "Leave it out for no limit"),
        (
            ("./words/step-00000001", "--data", "text:texts", "--set", "evaluate.limit_tokens=0"),
            2,
            "evaluate.limit_tokens (--set) is 0",
        ),
        (
            ("./words/step-00000001", "--data", "text:texts", "--stride", "5000"),
            2,
            "evaluate.context = the model's own context, at most 2048 (default)",
        ),
        (("./words/step-00000001", "--data", "text:texts", "--output", "./new/../texts"), 2, "is a folder"),
        (("./words/step-00000001", "--data", "text:texts", "--output", "~nobody-here/x"), 2, "does not exist"),
        ((), 2, "There are no runs"),
    ],
)
def test_wrong_requests_are_refused_before_any_work(
    desk: Desk, words: tuple[str, ...], code: int, message: str
) -> None:
    done = inprocess.run(("evaluate", *words), desk.folder, {**desk.environment, "SEEDBED_RUNS": "./other"})
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert not (desk.folder / "other").exists()


@pytest.mark.parametrize(
    ("words", "lacks"),
    [
        ("generate evaluate-texts hi", "model"),
        ("models evaluate-texts", "model"),
        ("train --from evaluate-texts --data text:texts", "model"),
        ("evaluate evaluate-texts --data text:texts", "model"),
        ("curve evaluate-texts", "curve"),
        ("metrics evaluate-texts", "steps"),
    ],
)
def test_an_evaluation_is_not_a_run(desk: Desk, measured: dict[str, Any], words: str, lacks: str) -> None:
    refused = desk.seedbed(*words.split(), expect=2).stderr
    assert f"evaluate-texts is an evaluation, not a run, so it has no {lacks}." in refused
    assert "resume" not in refused


def test_an_evaluation_that_is_unknown_is_called_an_evaluation(desk: Desk, measured: dict[str, Any]) -> None:
    for option in ("--like", "--show"):
        refused = desk.seedbed("evaluate", option, "evaluate-text", expect=2)
        assert 'There is no evaluation "evaluate-text"' in refused.stderr
        assert "Did you mean evaluate-texts?" in refused.stderr


def test_latest_shows_the_newest_completed_evaluation(desk: Desk, tmp_path: Path) -> None:
    runs = {**desk.environment, "SEEDBED_RUNS": str(tmp_path / "runs")}
    command = ("evaluate", "./words/step-00000001", "--data", "text:texts", "--max-documents", "20")
    fails = (*command, "--precision", "fp16", "--device", "cpu", "--name", "second")
    assert inprocess.run(fails, desk.folder, runs).returncode == 1
    none = inprocess.run(("evaluate", "--show", "latest"), desk.folder, runs)
    assert none.returncode == 1
    assert "No evaluation is completed" in none.stderr
    failed = json.loads(inprocess.run(("status", "second", "--json"), desk.folder, runs).stdout)["id"]
    assert f"seedbed logs {failed}" in none.stderr
    assert inprocess.run((*command, "--name", "first"), desk.folder, runs).returncode == 0
    assert inprocess.run(fails, desk.folder, runs).returncode == 1
    shown = inprocess.run(("evaluate", "--show", "latest", "--json"), desk.folder, runs)
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)["evaluation"].endswith("-first")
    assert "second-2, failed" in shown.stderr


@pytest.mark.usefixtures("new_interpreters")
def test_results_are_printed_once_and_logged(desk: Desk) -> None:
    done = desk.seedbed("evaluate", "./words/step-00000001", "--data", "text:texts", "--name", "once")
    bits = (
        f"{json.loads(desk.seedbed('evaluate', '--show', 'once', '--json').stdout)['models'][0]['bits_per_byte']:.4f}"
    )
    assert (done.stdout + done.stderr).count(bits) == 1
    assert bits in desk.seedbed("logs", "once").stdout


def test_an_output_that_cannot_be_written_is_named_as_it_was_typed(desk: Desk) -> None:
    command = ("evaluate", "./words/step-00000001", "--data", "text:texts", "--output", "texts/000.txt/x.json")
    refused = desk.seedbed(*command, expect=2)
    assert '--output "texts/000.txt/x.json" is impossible' in refused.stderr
    assert '000.txt" is a file' in refused.stderr
    assert ".seedbed" not in refused.stderr


def test_the_output_is_shown_as_a_plain_path(desk: Desk) -> None:
    done = desk.seedbed(
        *("evaluate", "./texts/../words/step-00000001", "--data", "text:texts", "--max-documents", "3"),
        *("--output", "./texts/../made/./out.json", "--name", "plain"),
    )
    made = desk.folder / "made" / "out.json"
    assert f"The result is in {made}\n" in done.stdout
    assert json.loads(made.read_text())["models"][0]["path"] == str(desk.folder / "words" / "step-00000001")
    status = desk.status("plain")
    assert (status["output"], status["path"]) == (str(made), str(made.parent / ".seedbed" / status["id"]))


def test_a_job_that_fails_says_why(desk: Desk) -> None:
    done = desk.seedbed(
        "evaluate", "./words/step-00000001", "--data", "text:texts", "--precision", "fp16", "--device", "cpu", expect=1
    )
    assert "fp16 needs a GPU" in done.stderr
    assert "--precision fp32" in done.stderr
