"""Every command of the README, in order and unchanged, with real jobs of a small model."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

import pacing
import patience
from prepared import repository

README = Path(__file__).resolve().parents[2] / "README.md"
NOT_RUN_HERE = ("git", "make", "pip", "$")
"""Starts of blocks that this test does not run: the installation and the output of the quickstart."""
SMALL = (
    "model.layers=1",
    "model.hidden=32",
    "model.heads=2",
    "model.kv_heads=1",
    "model.head_dim=16",
    "model.ffn=64",
    "model.context=32",
    "tokenizer.vocab_size=300",
    "train.batch_size=4",
    "train.micro_batch=0",
    "train.precision=fp32",
    "train.compile=off",
    "train.eval_every=10",
    "train.eval_tokens=200",
    "train.checkpoint_every=5",
    "train.sample_tokens=5",
)
"""Settings that make the README's models small enough to train in a moment; else its commands are unchanged."""


def blocks(kind: str = "") -> list[str]:
    """The contents of the fenced blocks of a kind."""
    fenced = README.read_text(encoding="utf-8").split("\n```")[1:]
    return [block.removeprefix(kind).strip() for block in fenced[::2] if block.startswith(f"{kind}\n")]


def commands(block: str) -> list[list[str]]:
    lines = [line.partition("  #")[0].strip() for line in block.splitlines()]
    return [shlex.split(each) for line in lines if line for each in line.split("&&")]


@pytest.mark.slow
@pytest.mark.usefixtures("new_interpreters")
def test_every_command_of_the_readme_works(workspace: Any) -> None:
    (workspace.folder / "novels").mkdir()
    (workspace.folder / "novels" / "one.txt").write_text("It was a dark night. The wind was cold.\n\n" * 150)
    repository(workspace.folder / "src" / "app", 0)
    logs = Path(__file__).resolve().parents[1] / "curation" / "logs" / "fixtures" / "claude-code" / "v2"
    shutil.copytree(logs, workspace.folder / ".claude" / "projects")
    workspace.environment["HOME"] = str(workspace.folder)
    [config] = blocks("toml")
    for name in ("my", "a", "b"):
        (workspace.folder / f"{name}.toml").write_text(config)
    found = [words for block in blocks() if not block.startswith(NOT_RUN_HERE) for words in commands(block)]
    assert len(found) >= 15
    workspace.hold_at()
    for words in found:
        assert words[0] == "seedbed"
        # A run that the README stops or pauses later must not have ended before.
        workspace.environment["HOLD_AT"] = "20" if {"--background", "a.toml"} & set(words) else ""
        if "--for" in words:
            words[words.index("--for") + 1] = "30s"  # the shortest
        if words[1] == "train":
            words += [word for each in SMALL for word in ("--set", each)]
            if "data/full" in words:
                words += ["--context", "4096", "--batch-size", "1"]  # its rows are longer than the other texts
        elif words[1] == "generate":
            patience.until(lambda: workspace.status()["checkpoint"] is not None, 60)
        workspace.seedbed(*words[1:])
        if words[1] == "resume":
            for run in workspace.runs.glob("2*"):
                pacing.let_go(run)
    runs = workspace.seedbed("runs", "--json").stdout
    assert runs.count('"status": "completed"') >= 4, runs
    assert '"status": "failed"' not in runs
