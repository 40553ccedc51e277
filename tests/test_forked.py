"""A forked child behaves as a new interpreter does: each program here runs as both."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

import forked
import orphans
import patience

REPORT = """
import json, os, random, resource, signal, sys, tempfile, threading, time, warnings
print(json.dumps({
    "arguments": sys.argv, "first": sys.path[0], "name": __name__, "orig": sys.orig_argv,
    "environment": {name: value for name, value in os.environ.items() if name not in ("SEEDBED_TEST_FORK", "LC_CTYPE")},
    "folder": os.getcwd(), "umask": os.umask(0), "timezone": time.tzname, "temporary": tempfile.gettempdir(),
    "leads a session": os.getsid(0) == os.getpid(), "leads a group": os.getpgrp() == os.getpid(),
    "limits": [resource.getrlimit(limit) for limit in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE)],
    "handlers": {int(number): str(signal.getsignal(number)) for number in signal.valid_signals()},
    "blocked": sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, []))),
    "streams": [(each.encoding, each.errors, each.line_buffering, each.write_through, each.isatty(), each.mode, each.fileno())
                for each in (sys.stdin, sys.stdout, sys.stderr)],
    "open files": [number for number in range(3, 200) if os.path.exists(f"/proc/self/fd/{number}")],
    "threads": threading.active_count(), "warnings": sys.warnoptions, "first filter": str(warnings.filters[0][:3]),
    "input": sys.stdin.read(),
}))
"""


class Program:
    """A program that can be started as a forked child and as a new interpreter."""

    def __init__(self, script: Path) -> None:
        self.script = script

    def start(self, code: str, *words: str, way: str, **options: object) -> subprocess.Popen[str]:
        self.script.write_text(code)
        environment = {**os.environ, "TMPDIR": str(self.script.parent), "TZ": "Asia/Tokyo", "PYTHONWARNINGS": "ignore"}
        environment[forked.SWITCH] = "1" if way == "forked" else "0"
        started: subprocess.Popen[str] = subprocess.Popen(
            [sys.executable, str(self.script), *words],
            env=environment,
            text=True,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, **options},
        )
        is_child = psutil.Process(started.pid).ppid() == os.getpid()
        assert is_child == (way != "forked")
        return started

    def run(self, code: str, *words: str, way: str, text: str | None = None) -> tuple[int, str, str]:
        process = self.start(code, *words, way=way, **({"stdin": subprocess.PIPE} if text is not None else {}))
        out, err = process.communicate(text, timeout=patience.HANG_S)
        return process.returncode, out, err


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    made = Program(tmp_path / "program.py")
    monkeypatch.setattr(forked, "SCRIPTS", (*forked.SCRIPTS, str(made.script)))
    return made


def test_a_process_finds_what_a_new_interpreter_finds(program: Program, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    before, mask = signal.signal(signal.SIGUSR1, signal.SIG_IGN), os.umask(0o027)
    try:
        found = []
        for way in ("forked", "new"):
            process = program.start(
                REPORT, "a", "é", way=way, cwd=folder, stdin=subprocess.PIPE, start_new_session=True
            )
            found.append(process.communicate("text ü", timeout=patience.HANG_S))
    finally:
        signal.signal(signal.SIGUSR1, before)
        os.umask(mask)
    for name, value in json.loads(found[0][0]).items():
        assert value == json.loads(found[1][0])[name], name
    assert '"umask": 23' in found[0][0]
    assert '"input": "text \\u00fc"' in found[0][0]


ENDINGS = {
    "a status": "print('words'); sys.exit(3)",
    "words": "sys.exit('no luck')",
    "an exception": "raise ValueError('bad')",
    "a signal": "os.kill(os.getpid(), 9)",
    "Ctrl-C": "os.kill(os.getpid(), 2); time.sleep(60)",
    "at the end": "import atexit; atexit.register(print, 'at the end'); print('words')",
    "a thread": "import threading; threading.Thread(target=lambda: (time.sleep(0.1), print('last'))).start()",
    "a closed stream": "os.close(1); print('words')",
    "a closed pipe": "pipe = os.pipe(); os.close(pipe[0]); os.dup2(pipe[1], 1); print('words')",
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_process_ends_as_a_new_interpreter_does(ending: str, program: Program) -> None:
    code = f"import os, sys, time\n{ENDINGS[ending]}\n"
    status, out, err = program.run(code, way="forked")
    last = err.splitlines()[-1:]
    expected = program.run(code, way="new")
    assert (status, out, last) == (expected[0], expected[1], expected[2].splitlines()[-1:])


def test_a_process_can_be_waited_for_signalled_and_found_by_its_id(program: Program) -> None:
    process = program.start("import time; print('begun', flush=True); time.sleep(600)", way="forked")
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    assert os.getpgid(process.pid) == os.getpgrp()  # Ctrl-C reaches both
    assert psutil.Process(process.pid).environ().items() >= {(orphans.MARK, os.environ[orphans.MARK])}
    process.terminate()
    assert process.wait(patience.HANG_S) == process.poll() == -signal.SIGTERM
    process.communicate()


def test_random_numbers_differ(program: Program) -> None:
    code = "import random, numpy, uuid; print(random.random(), numpy.random.random(), uuid.uuid4())"
    first, second = (program.run(code, way="forked")[1].split() for _ in range(2))
    assert not set(first) & set(second)


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "PYTHONPATH", "LC_ALL"])
def test_a_variable_that_is_read_at_the_start_needs_a_new_interpreter(
    name: str, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "3")
    with pytest.raises(AssertionError):
        program.start("", way="forked").communicate()


def test_a_job_starts_its_own_processes_in_the_same_way(program: Program, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "seedbed", "--version"]
    code = f"import subprocess, psutil\np = subprocess.Popen({command})\nprint(p.wait(), type(p).__module__)"
    assert program.run(code, way="forked")[1].splitlines()[-1] == "0 __main__"
    assert program.run(code, way="new")[1].splitlines()[-1] == "0 subprocess"


@pytest.mark.usefixtures("new_interpreters")
def test_a_test_can_ask_for_new_interpreters(program: Program) -> None:
    program.start("", way="forked, if it were possible").communicate()
    with pytest.raises(AssertionError):
        program.start("", way="forked").communicate()
