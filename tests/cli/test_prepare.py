"""`seedbed prepare` and `seedbed data` with real jobs: from repositories and logs to a dataset, and what is refused."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import inprocess
from evaluated import saved_model
from prepared import KEY, repository, write_messages
from seedbed.curation.report import wording
from seedbed.presentation import dataset
from trained_bases import save_tokenizer


class Desk:
    """A folder with three repositories, a log and a tokenizer, in which `seedbed` runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "SEEDBED_CACHE": str(folder / "cache"), "NO_COLOR": "1", "COLUMNS": "80"}
        self.environment.pop("SEEDBED_RUNS", None)
        for number in range(3):
            repository(folder / "src" / f"app{number}", 1000 * number)
        write_messages(folder / "chats.jsonl")
        saved_model(folder / "model")
        (folder / "plain-model").mkdir()
        save_tokenizer(folder / "plain-model")
        (folder / "empty").mkdir()
        (folder / "empty.jsonl").touch()

    def seedbed(self, *words: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        done = inprocess.run(words, self.folder, self.environment)
        assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
        assert done.returncode == expect, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *words: str) -> Any:
        return json.loads(self.seedbed(*words, "--json").stdout)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    desk = Desk(tmp_path_factory.mktemp("desk"))
    code = desk.json("prepare", "harvest", "src", "--out", "data/code", "--edits", "1")
    assert code["files"]["records.jsonl"]["rows"] > 20
    chats = desk.seedbed("prepare", "logs", "chats.jsonl", "--out", "data/chats", "--yes")
    assert "chats: 30 rows" in chats.stdout + chats.stderr
    merged = desk.json("data", "merge", "data/code", "data/chats", "--out", "data/full", "--eval-frac", "0.2")
    assert merged["facts"]["leakage"]["rate"] <= 0.01
    return desk


def model(desk: Desk) -> str:
    return str(next((desk.folder / "model").glob("step-*")).relative_to(desk.folder))


def test_the_report_says_what_is_in_a_dataset(desk: Desk) -> None:
    shown = desk.seedbed("data", "report", "data/full").stdout
    for repository_name in ("app0", "app1", "app2"):
        assert repository_name in shown
    assert "Make it again" in shown
    assert re.search(r"How gaps were chosen(?s:.*?)\n  edit ", shown)
    assert max(map(len, shown.splitlines())) <= 80
    page = (desk.folder / "data" / "full" / "report.html").read_text()
    assert "app1" in page
    assert KEY not in page


def test_a_report_of_a_dataset_that_was_changed_by_hand_says_so(desk: Desk) -> None:
    shutil.copytree(desk.folder / "data" / "full", desk.folder / "edited")
    assert "has changed" not in desk.seedbed("data", "report", "edited").stderr
    (desk.folder / "edited" / "eval.jsonl").write_text("")
    said = " ".join(desk.seedbed("data", "report", "edited").stderr.split())
    assert '"edited/eval.jsonl" has changed since the dataset was made' in said


def test_a_report_with_a_model_measures_tokens_and_keeps_them_in_the_card(desk: Desk) -> None:
    folder = desk.folder / "data" / "full"
    shown = desk.seedbed("data", "report", "data/full", "--model", model(desk), "--context", "64").stdout
    assert "at a context of 64 tokens" in shown
    assert "chat template (default)" in shown
    stored = desk.json("data", "report", "data/full")["tokens"]
    assert stored["fitted"]["context"] == 64
    rows = sum(len((folder / name).read_text().splitlines()) for name in ("train.jsonl", "eval.jsonl"))
    assert stored["fitted"]["rows"] == rows
    assert "Rows at a context of 64 tokens" in (folder / "report.html").read_text()
    desk.json("data", "check", "data/full")  # its files are as they were


def test_how_tokens_are_measured_needs_a_model(desk: Desk) -> None:
    refused = desk.seedbed("data", "report", "data/full", "--context", "64", expect=2).stderr
    assert "--context says how tokens are measured, and no model is given." in refused


def test_a_check_counts_leaks_and_fails_if_rows_are_in_both_parts(desk: Desk) -> None:
    found = desk.json("data", "check", "data/full")
    assert found["rows_in_both"] == 0
    assert found["groups_in_both"] == 0
    assert found["leaked"] <= 0.01 * found["answers"]
    desk.seedbed("data", "merge", "data/chats", "--out", "data/spoilt")
    folder = desk.folder / "data" / "spoilt"
    described = json.loads((folder / "dataset.json").read_text())
    import hashlib

    for name in ("train.jsonl", "eval.jsonl"):
        (folder / name).write_bytes((folder / "train.jsonl").read_bytes())
        content = (folder / name).read_bytes()
        described["files"][name] = {
            "rows": content.count(b"\n"),
            "size_bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
    (folder / "dataset.json").write_text(json.dumps(described))
    assert "in the training part, too" in desk.seedbed("data", "check", "data/spoilt", expect=1).stdout


def test_lengths_peek_and_clip_use_the_tokenizer_of_a_model(desk: Desk) -> None:
    found = desk.json("data", "lengths", "data/full", "--model", model(desk))
    assert found["lengths"]["train.jsonl"]["text"]["max"] > 100
    assert {"chat", "text", "fim"} <= found["lengths"]["train.jsonl"].keys()
    gaps = found["lengths"]["train.jsonl"]["fim"]
    assert gaps["trained_tokens"] == gaps["tokens"], "as a training counts them by default"
    gaps = desk.json("data", "lengths", "data/full", "--model", model(desk), "--loss", "targets")["lengths"][
        "train.jsonl"
    ]["fim"]
    assert gaps["trained_tokens"] < gaps["tokens"]
    shown = desk.seedbed("data", "peek", "data/full", "--model", model(desk), "--kind", "text", "--rows", "1").stdout
    assert "⟦" in shown
    words = ("data", "clip", "data/full", "--model", model(desk), "--max-tokens", "64", "--out", "data/short")
    refused = desk.seedbed(*words[:6], "5", *words[7:], expect=2).stderr
    assert "Rows of 5 tokens are too short" in refused
    assert "--max-tokens 32 or more" in refused
    assert "every row fits with --context 64" in desk.seedbed(*words).stdout
    short = desk.json("data", "lengths", "data/short", "--model", model(desk))
    assert short["lengths"]["train.jsonl"]["all"]["max"] <= 64
    assert not desk.json("data", "check", "data/short")["rows_in_both"]


def test_peek_shows_rows_of_every_kind_by_default(desk: Desk) -> None:
    words = ("data", "peek", "data/full", "--model", model(desk))
    assert len(desk.json(*words)) == 3
    assert {row["kind"] for row in desk.json(*words, "--rows", "10000")} == {"chat", "text", "fim"}


def test_peek_takes_the_kinds_as_files_and_as_reports_name_them(desk: Desk) -> None:
    words = ("data", "peek", "data/full", "--model", model(desk), "--rows", "1", "--kind")
    for kind, name in (*wording.KINDS.items(), *dataset._KINDS.items()):
        if kind != "all":
            assert [row["kind"] for row in desk.json(*words, name)] == [kind]
    refused = desk.seedbed(*words, "code", expect=2).stderr
    assert '"code" is not one of chat (conversation), text, fim (gap to fill)' in refused


def test_the_check_of_a_dataset_that_is_not_split_passes(desk: Desk) -> None:
    assert "It is not split" in desk.seedbed("data", "check", "data/code").stdout


def test_the_difference_of_two_versions_names_what_was_left_out(desk: Desk) -> None:
    shown = desk.seedbed("data", "diff", "data/code", "data/full").stdout
    assert "code -> full" in shown
    assert "added" in shown


def test_a_dataset_is_never_replaced_without_force(desk: Desk) -> None:
    before = (desk.folder / "data" / "chats" / "dataset.json").read_bytes()
    refused = desk.seedbed("prepare", "logs", "chats.jsonl", "--out", "data/chats", "--yes", expect=2)
    assert "--force" in refused.stderr
    assert (desk.folder / "data" / "chats" / "dataset.json").read_bytes() == before
    desk.seedbed("prepare", "logs", "chats.jsonl", "--out", "data/chats", "--yes", "--force")
    refused = desk.seedbed("data", "merge", "data/chats", "--out", "src", "--force", expect=2)
    assert "not a dataset" in refused.stderr


def test_logs_are_not_read_without_the_users_word(desk: Desk) -> None:
    refused = desk.seedbed("prepare", "logs", "chats.jsonl", "--out", "data/other", expect=2)
    assert "--yes" in refused.stderr
    assert not (desk.folder / "data" / "other").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("prepare", "fim", "missing", "--out", "x"), "does not exist"),
        (("prepare", "fim", "src/app0", "--out", "x", "--for", "qwn2.5-coder"), "qwen2.5-coder"),
        (("prepare", "fim", "src/app0", "--out", "x", "--context", "repository"), "--for"),
        (("prepare", "fim", "src/app0", "--out", "x", "--tokenizer", "src"), "tokenizer.json"),
        (("prepare", "fim", "src/app0", "--out", "x", "--tokenizer", "/nope"), "does not exist"),
        (("prepare", "fim", "src/app0", "--out", "x", "--max-tokens", "3"), "--max-tokens 64 or more"),
        (("prepare", "fim", "empty", "--out", "x"), "is an empty folder"),
        (("prepare", "fim", "chats.jsonl", "--out", "x"), "is a file, not a folder"),
        (("prepare", "fim", "data", "--out", "x"), "Nothing of the input can be used"),
        (("prepare", "logs", "empty/../empty.jsonl", "--out", "x", "--yes"), "is an empty file"),
        (("prepare", "commits", "empty", "--out", "x"), "is an empty folder"),
        (("prepare", "fim", "src/app0", "--out", "x", "--fim-rate", "2"), "fim.rate"),
        (("prepare", "fim", "src/app0", "--out", "x", "--licences", "MIT License!"), "SPDX"),
        (("prepare", "fim", "src/app0", "--out", "x", "--since", "2025-01-01"), "none without --edits"),
        (("prepare", "fim", "src/app0", "--out", "x", "--edits", "some"), "fim.edits"),
        (("prepare", "commits", "chats.jsonl", "--out", "x"), "repository"),
        (("prepare", "commits", "src/app0", "--out", "x", "--branch", "nowhere"), "nowhere"),
        (("prepare", "harvest", "src", "--out", "x", "--branch", "nowhere"), "Branches: main"),
        (("prepare", "harvest", "src", "--out", "x", "--branch", "mian"), "Did you mean main?"),
        (("prepare", "harvest", "file://{here}/src/app0", "--out", "x", "--branch", "mian"), "Did you mean main?"),
        (("prepare", "harvest", "src", "--out", "x", "--since", "last tuesday"), "2026-11-01"),
        (("prepare", "commits", "src/app0", "--out", "x", "--since", "2026-13-01"), "90 days"),
        (("prepare", "fim", "src/app0", "--out", "x", "--set", "quality.max_line=50"), "quality.filters=true"),
        (("data", "merge", "data/full", "--out", "x", "--set", "quality.min_words=5"), "quality.filters=true"),
        (("prepare", "commits", "https://example.com/a/b", "--out", "x"), "prepare harvest"),
        (("prepare", "harvest", "https://me:hush-hush@example.com/a/b", "--out", "x"), "user name or password"),
        (("prepare", "harvest", "empty.jsonl", "--out", "x"), "not a folder"),
        (("prepare", "logs", "src", "--out", "x", "--yes"), "No logs of a known format"),
        (("prepare", "logs", "chats.jsonl", "--out", "x", "--yes", "--executor", "none.toml"), "none.toml"),
        (("prepare", "logs", "chats.jsonl", "--out", "chats.jsonl/x", "--yes"), "is a file"),
        (("prepare", "fim", "src", "--out", "x"), "prepare harvest"),
        (("prepare", "commits", "src", "--out", "x"), "prepare harvest"),
        (("prepare", "fim", "src/app0", "--out", "x", "--tokenizer", "plain-model", "--for", "starcoder2"), "no token"),
        (("prepare", "logs", "data/full", "--out", "x", "--yes"), "data merge"),
        (("data", "merge", "src", "--out", "x"), "not a dataset"),
        (("evaluate", "data/full"), "is a dataset, not a model folder"),
        (("generate", "data/full", "--prompt", "x"), "is a dataset, not a model folder"),
        (("data", "merge", "data/full"), "--out"),
        (("data", "merge", "data/full", "--out", "data/full", "--force"), "is an input"),
        (("data", "merge", "data/full", "--out", "x", "--eval-frac", "1.5"), "eval_fraction"),
        (("data", "merge", "data/full", "--out", "x", "--ledger", "src"), "is a folder, not a file"),
        (("data", "merge", "data/full", "--out", "x", "--ledger", "chats.jsonl"), "chats.jsonl"),
        (("data", "merge", "data/full", "--out", "x", "--ledger", "chats.jsonl/ledger"), "is a file, not a folder"),
        (("prepare", "harvest", "file://{here}/no%20where.git", "--out", "x"), 'no%20where.git" does not exist'),
        (("data", "merge", "data/full", "--out", "x", "--against", "empty.jsonl"), "no items"),
        (("data", "report", "src"), "not a dataset"),
        (("data", "lengths", "data/full", "--model", "./src"), "model folder"),
    ],
)
def test_what_cannot_work_is_refused_with_what_to_do(desk: Desk, words: tuple[str, ...], said: str) -> None:
    words = tuple(word.replace("{here}", str(desk.folder)) for word in words)
    done = inprocess.run(words, desk.folder, desk.environment)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "hush-hush" not in done.stdout + done.stderr
    assert said in done.stderr.replace("\n", " ")
    assert "hint:" in done.stderr
    assert (
        inprocess.run((*words, "--json"), desk.folder, desk.environment).stdout == ""
    )  # no status of a task that is gone
    assert not (desk.folder / "x").exists()
    assert "-x" not in desk.seedbed("runs", "--all").stdout  # nor a task that failed


def test_a_dataset_that_is_given_twice_is_said_and_read_once(desk: Desk) -> None:
    shutil.copytree(desk.folder / "data" / "chats", desk.folder / "copy")
    (desk.folder / "link").symlink_to(desk.folder / "data" / "chats")
    words = ("data", "merge", "data/chats", "data/chats", "./data/chats/", "link", "copy", "--out", "twice")
    said = " ".join(desk.seedbed(*words).stderr.split())
    assert '"data/chats" is given twice; it is read once.' in said
    assert '"./data/chats/" is given twice; it is read once.' in said
    assert '"link" is "data/chats", which is given twice; it is read once.' in said
    assert '"copy" has the same rows as "data/chats"' in said
    described = json.loads((desk.folder / "twice" / "dataset.json").read_text())
    assert len(described["inputs"]) == 2


def test_a_pattern_that_names_all_in_the_folder_merges_its_datasets(desk: Desk) -> None:
    """From the second merge on, the ledger is there, too."""
    place = desk.folder / "all"
    shutil.copytree(desk.folder / "data" / "chats", place / "chats")
    (place / "notes.txt").write_text("todo")
    desk.seedbed("data", "merge", "all/chats", "--out", "all/full")
    names = sorted(f"all/{each.name}" for each in place.iterdir() if not each.name.startswith("."))
    assert "all/eval-ledger.jsonl" in names
    said = " ".join(desk.seedbed("data", "merge", *names, "--out", "all/full", "--force").stderr.split())
    assert '"all/notes.txt" is not a dataset, so it is left out.' in said
    assert "eval-ledger" not in said
    described = json.loads((place / "full" / "dataset.json").read_text())
    assert [each["name"] for each in described["inputs"]] == ["chats"]


def test_a_merge_into_another_folder_says_that_the_ledger_of_its_inputs_does_not_count(desk: Desk) -> None:
    ledger = desk.folder / "data" / "eval-ledger.jsonl"
    words = ("data", "merge", "data/chats", "--out", "elsewhere/full")
    said = " ".join(desk.seedbed(*words).stderr.split())
    assert f'"{ledger}" is of another folder, so it is not used' in said
    assert f"--ledger {ledger}" in said
    said = desk.seedbed(*words, "--force", "--ledger", str(ledger)).stderr
    assert "not used" not in said
    said = desk.seedbed("data", "merge", "data/chats", "--out", "data/once-more").stderr
    assert "not used" not in said


def test_a_task_is_listed_and_its_status_is_shown(desk: Desk) -> None:
    listed = desk.seedbed("runs", "--all").stdout
    assert "merge-full" in listed
    assert "tasks that ended, which --all lists" in desk.seedbed("runs").stderr
    status = desk.json("status", "merge-full")
    assert status["status"] == "completed"


def test_a_dataset_within_its_input_is_not_read_again(desk: Desk) -> None:
    plain = desk.folder / "plain"
    plain.mkdir()
    (plain / "a.py").write_text((desk.folder / "src" / "app0" / "src" / "part_1.py").read_text())
    first = desk.json("prepare", "fim", "plain", "--out", "plain/ds")
    again = desk.json("prepare", "fim", "plain", "--out", "plain/ds2")
    assert again["files"] == first["files"]
    assert again["drops"]["counts"] == first["drops"]["counts"]


def test_an_empty_path_is_not_the_working_folder(desk: Desk) -> None:
    refused = desk.seedbed("prepare", "fim", "", "--out", "x", expect=2)
    assert "empty" in refused.stderr


def test_a_wrong_executor_is_refused_before_a_task_exists(desk: Desk) -> None:
    (desk.folder / "executor.toml").write_text('kind = "slurm"\ntasks = 4\n')
    refused = desk.seedbed("prepare", "fim", "src/app0", "--out", "x", "--executor", "executor.toml", expect=2)
    assert "partition" in refused.stderr
