"""Fixtures for tests that run whole processes: a workspace with its own store, and the commands of a user."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pacing
import patience
from seedbed.runs.status import status
from seedbed.runs.store import Store

TINY = """
preset = "nano"
[model]
layers = 2
hidden = 32
heads = 2
kv_heads = 1
head_dim = 16
ffn = 64
context = 32
[tokenizer]
kind = "bpe"
vocab_size = 400
[data]
stories = 400
[schedule]
warmup = 0.1
[train]
steps = 60
batch_size = 4
seed = 11
precision = "fp32"
compile = "off"
threads = 1
eval_every = 20
eval_tokens = 2000
checkpoint_every = 7
keep_last = 3
sample_tokens = 5
"""


PACED = Path(__file__).resolve().parents[1] / "paced_seedbed.py"


class Workspace:
    """A folder with its own store and cache, and the commands that a user types there."""

    command: tuple[str, ...] = (sys.executable, "-m", "seedbed")

    def __init__(self, folder: Path, cache: Path, runs: Path | None = None) -> None:
        self.folder = folder
        self.runs = runs or folder / "runs"
        self.environment = {
            **os.environ,
            "SEEDBED_RUNS": str(self.runs),
            "SEEDBED_CACHE": str(cache),
            "NO_COLOR": "1",
            "PYTHONWARNINGS": "ignore",
        }

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self.command, *arguments],
            cwd=self.folder,
            env=self.environment,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options},
        )

    def seedbed(self, *arguments: str, expect: int = 0, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*self.command, *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            input=stdin,
            timeout=patience.HANG_S,
        )
        assert done.returncode == expect, f"exit {done.returncode}, not {expect}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr + done.stdout
        return done

    def config(self, text: str = TINY, name: str = "tiny.toml") -> str:
        (self.folder / name).write_text(text)
        return name

    def status(self, run: str = "latest") -> dict[str, Any]:
        """The output of `seedbed status --json`, computed in this process because tests poll it."""
        found: dict[str, Any] = json.loads(json.dumps(status(Store(self.runs).find(run))))
        return found

    def run_dir(self, run: str = "latest") -> Path:
        return self.runs / self.status(run)["id"]

    def wait(self, condition: Any, timeout_s: float = 60.0) -> None:
        """Wait until `condition()` is true."""
        patience.until(condition, timeout_s)

    def events(self, run_dir: Path) -> list[dict[str, Any]]:
        found = []
        for line in (run_dir / "events.jsonl").read_bytes().splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found

    def hold_at(self, *steps: int) -> None:
        """From now on, real jobs wait after each of these steps until `release`, or until a stop or pause request."""
        self.command = (sys.executable, str(PACED))
        self.environment["HOLD_AT"] = ",".join(map(str, steps))

    def release(self, run_dir: Path) -> None:
        """Let the run's job continue, now and at every later step."""
        self.environment.pop("HOLD_AT", None)
        pacing.let_go(run_dir)

    def steps(self, run_dir: Path) -> list[tuple[Any, ...]]:
        """(step, loss, lr, grad_norm, tokens) of the run, without steps that a later session made void."""
        folded: dict[int, tuple[Any, ...]] = {}
        for event in self.events(run_dir):
            if event["kind"] == "run" and event["status"] == "running" and "steps" in event:
                folded = {step: row for step, row in folded.items() if step <= event.get("step", 0)}
            elif event["kind"] == "step":
                folded[event["step"]] = tuple(event[key] for key in ("step", "loss", "lr", "grad_norm", "tokens"))
        return [folded[step] for step in sorted(folded)]

    def weights(self, run_dir: Path) -> str:
        last = max((run_dir / "checkpoints").glob("step-*"))
        return last.name + hashlib.sha256((last / "model.safetensors").read_bytes()).hexdigest()

    def kill(self, pid: int) -> None:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def open_workspace(shared_cache: Path) -> Callable[..., Workspace]:
    return lambda folder, runs=None: Workspace(folder, shared_cache, runs)


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> tuple[list[tuple[Any, ...]], str]:
    """Steps and weights of the tiny run without an interruption."""
    workspace = Workspace(tmp_path_factory.mktemp("uninterrupted"), shared_cache)
    workspace.seedbed("train", workspace.config())
    run = workspace.run_dir()
    steps = workspace.steps(run)
    assert [row[0] for row in steps] == list(range(1, 61))
    return steps, workspace.weights(run)


@pytest.fixture
def workspace(tmp_path: Path, shared_cache: Path) -> Workspace:
    return Workspace(tmp_path, shared_cache)
