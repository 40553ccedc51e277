"""The `desk` fixture: runs `seedbed` as a user types it; its fake jobs write runs as real jobs do, but train nothing."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

import inprocess
import pacing
import patience
from seedbed.actions import launching
from seedbed.runs.requests import LIVE
from seedbed.runs.status import current_status
from seedbed.runs.store import RunDir

DRIVER = Path(__file__).resolve().parents[1] / "fake_seedbed.py"


class Desk:
    """A working folder with a store, in which a test runs `seedbed`."""

    trained: ClassVar[dict[tuple[Any, ...], Path]] = {}
    """Stores with one finished run, by how it was trained."""

    def __init__(self, folder: Path, kept: Path) -> None:
        self.folder = folder
        self.kept = kept
        self.runs = folder / "runs"
        self.environment = {**os.environ, "SEEDBED_CACHE": str(folder / "cache"), "NO_COLOR": "1"}
        self.environment.pop("SEEDBED_RUNS", None)
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *words: str, env: dict[str, str] | None = None, **options: Any) -> subprocess.Popen[str]:
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
        process = subprocess.Popen(
            [sys.executable, str(DRIVER), *words], cwd=self.folder, env={**self.environment, **(env or {})}, **options
        )
        self.started.append(process)
        return process

    def seedbed(
        self, *words: str, expect: int = 0, env: dict[str, str] | None = None, stdin: str | bytes | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in this process (see inprocess.py); the jobs and children that it starts are processes."""
        raw = stdin.encode() if isinstance(stdin, str) else stdin
        done = inprocess.run(words, self.folder, {**self.environment, **(env or {})}, raw)
        assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
        assert done.returncode == expect, f"exit {done.returncode}, not {expect}\n{done.stdout}\n{done.stderr}"
        return done

    def terminal(
        self, *words: str, keys: str = "", expect: int = 0, env: dict[str, str] | None = None, columns: int = 120
    ) -> str:
        """What a command shows on a terminal, with `keys` typed at its start; stdin, stdout and stderr are the terminal."""
        leader, terminal = os.openpty()
        size = {"COLUMNS": str(columns), "TERM": "xterm"}
        process = self.start(*words, env={**size, **(env or {})}, stdin=terminal, stdout=terminal, stderr=terminal)
        os.close(terminal)
        os.write(leader, keys.encode())
        shown = b""
        with contextlib.suppress(OSError):
            while select.select([leader], [], [], patience.HANG_S)[0] and (block := os.read(leader, 4096)):
                shown += block
        os.close(leader)
        assert process.wait(timeout=patience.HANG_S) == expect, shown.decode()
        assert b"Traceback" not in shown, shown.decode()
        return shown.decode().replace("\r\n", "\n")

    def train(self, *words: str, env: dict[str, str] | None = None, steps: int = 30) -> str:
        """Train a run to its end; return its id. A first run like that of an earlier test is a copy of it."""
        key = (words, tuple(sorted((env or {}).items())), steps)
        is_first = not self.runs.exists() and "--runs" not in words
        if is_first and key in self.trained:
            shutil.copytree(self.trained[key], self.runs)
            return next(self.runs.glob("2*")).name
        trained = self._train(*words, env=env, steps=steps)
        if is_first:
            self.trained[key] = self.kept / str(len(self.trained))
            shutil.copytree(self.runs, self.trained[key])
        return trained

    def _train(self, *words: str, env: dict[str, str] | None, steps: int) -> str:
        done = self.seedbed("train", "--set", f"train.steps={steps}", "--json", *words, env=env)
        return str(json.loads(done.stdout)["id"])

    def status(self, ref: str = "latest") -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.seedbed("status", ref, "--json").stdout)
        return value

    def wait(self, what: Callable[[], Any], seconds: float = 20) -> None:
        patience.until(what, seconds)

    def let_go(self) -> None:
        """Let the newest run's job continue, which waits at a step named in HOLD_AT."""
        pacing.let_go(max(self.runs.glob("2*")))

    def at_step(self, step: int) -> None:
        """Wait until the newest run has logged that step."""

        def logged() -> bool:
            logs = sorted(self.runs.glob("2*/events.jsonl"))
            return bool(logs) and f'"step":{step},' in logs[-1].read_text()

        self.wait(logged)


@pytest.fixture(scope="session")
def kept_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def desk(tmp_path: Path, kept_runs: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setattr(launching, "JOBS", (sys.executable, str(DRIVER.with_name("fake_job.py"))))
    made = Desk(tmp_path, kept_runs)
    yield made
    for process in made.started:
        if process.poll() is None:
            process.kill()
        process.wait()
    for path in made.runs.glob("2*"):
        found = current_status(RunDir(path))
        pid = found.view.run.get("pid")
        if found.status in LIVE and pid and pid != os.getpid():
            with contextlib.suppress(ProcessLookupError):  # it may have ended since
                os.kill(pid, signal.SIGKILL)
