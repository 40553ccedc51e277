"""The command line as a user types it, over jobs that live like real ones but train nothing."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import inprocess
import pacing
import patience
from seedbed.actions import launching
from seedbed.runs.requests import LIVE
from seedbed.runs.status import standing
from seedbed.runs.store import RunDir

DRIVER = Path(__file__).resolve().parents[1] / "fake_seedbed.py"


class Desk:
    """A folder to work in, a store in it, and `seedbed`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
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
        """What a command prints, run in this process (see inprocess.py); jobs and children are processes all the same."""
        raw = stdin.encode() if isinstance(stdin, str) else stdin
        done = inprocess.run(words, self.folder, {**self.environment, **(env or {})}, raw)
        assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
        assert done.returncode == expect, f"exit {done.returncode}, not {expect}\n{done.stdout}\n{done.stderr}"
        return done

    def terminal(
        self, *words: str, keys: str = "", expect: int = 0, env: dict[str, str] | None = None, columns: int = 120
    ) -> str:
        """What a person at a terminal sees who types `keys` once the command has begun; stdin, stdout and stderr are one."""
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
        """A finished run; returns its id."""
        done = self.seedbed("train", "--set", f"train.steps={steps}", "--json", *words, env=env)
        return str(json.loads(done.stdout)["id"])

    def status(self, ref: str = "latest") -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.seedbed("status", ref, "--json").stdout)
        return value

    def wait(self, what: Callable[[], Any], seconds: float = 20) -> None:
        patience.until(what, seconds)

    def let_go(self) -> None:
        """Let the newest run's job go on, which waits where HOLD_AT said."""
        pacing.let_go(max(self.runs.glob("2*")))

    def at_step(self, step: int) -> None:
        """Until the newest run has logged that step."""

        def there() -> bool:
            logs = sorted(self.runs.glob("2*/events.jsonl"))
            return bool(logs) and f'"step":{step},' in logs[-1].read_text()

        self.wait(there)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setattr(launching, "JOBS", (sys.executable, str(DRIVER.with_name("fake_job.py"))))
    made = Desk(tmp_path)
    yield made
    for process in made.started:
        if process.poll() is None:
            process.kill()
        process.wait()
    for path in made.runs.glob("2*"):
        stands = standing(RunDir(path))
        pid = stands.view.run.get("pid")
        if stands.status in LIVE and pid and pid != os.getpid():
            os.kill(pid, signal.SIGKILL)
