"""Completion in a real shell: the command line after Tab."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import patience

SCRIPT = """\
#!{python} -P
import json, os, sys
if "_ARGCOMPLETE" in os.environ or sys.argv[1:2] == ["completion"]:
    from seedbed.cli.main import main
    sys.exit(main())
print("WORDS" + json.dumps(sys.argv[1:]) + "END")
"""
"""A `seedbed` that completes as the real one does, and otherwise prints the words that it was given."""
SETUP = {
    "bash": (["--norc", "--noprofile", "-i"], 'eval "$(seedbed completion bash)"'),
    "zsh": (["-f", "-i"], 'autoload -Uz compinit; compinit -u -D; eval "$(seedbed completion zsh)"'),
}


class Shell:
    """An interactive shell in a terminal of its own."""

    def __init__(self, name: str, folder: Path, environment: dict[str, str]) -> None:
        program = shutil.which(name)
        if program is None:
            pytest.skip(f"{name} is not installed")
        options, setup = SETUP[name]
        self._leader, terminal = pty.openpty()
        self._process = subprocess.Popen(
            [program, *options],
            cwd=folder,
            env=environment,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        )
        os.close(terminal)
        self._shown = b""
        self._send(f"{setup}; echo rea''dy\n", b"ready\r")

    def words_of(self, line: str) -> list[str]:
        """The arguments that the command gets after the line, Tab and Enter were typed."""
        shown = self._send(f"{line}\t\n", b"END\r")
        found: list[str] = json.loads(shown.rpartition(b"WORDS")[2].partition(b"END\r")[0])
        return found

    def _send(self, keys: str, awaited: bytes) -> bytes:
        """Type the keys, and return the output up to the awaited text."""
        os.write(self._leader, keys.encode())
        end = time.monotonic() + patience.HANG_S
        while awaited not in self._shown:
            assert time.monotonic() < end, self._shown.decode(errors="replace")
            if select.select([self._leader], [], [], 1)[0]:
                self._shown += os.read(self._leader, 1 << 16)
        before, found, self._shown = self._shown.partition(awaited)
        return before + found

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._leader)


@pytest.fixture
def open_shell(desk: Any) -> Iterator[Callable[[str], Shell]]:
    """Opens a shell in the desk's folder, with `seedbed` on its PATH."""
    programs = desk.folder / "bin"
    programs.mkdir()
    program = programs / "seedbed"
    program.write_text(SCRIPT.format(python=sys.executable))
    program.chmod(0o755)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    environment = {**desk.environment, "PATH": path, "TERM": "dumb", "HOME": str(desk.folder), "PS1": "> "}
    opened: list[Shell] = []

    def shell(name: str) -> Shell:
        opened.append(Shell(name, desk.folder, environment))
        return opened[-1]

    yield shell
    for each in opened:
        with contextlib.suppress(OSError):
            each.close()


@pytest.mark.parametrize("name", SETUP)
def test_tab_completes_the_word_in_a_real_shell(name: str, desk: Any, open_shell: Callable[[str], Shell]) -> None:
    """Also where a colon, an equals sign or a space would split the word."""
    shell = open_shell(name)
    desk.train("--name", "my first run")
    (desk.folder / "novels").mkdir()
    (desk.folder / "novels" / "emma.txt").touch()
    (desk.folder / "other texts").mkdir()
    for line, words in {
        "train --data te": ["--data", "text:"],
        "train --data text:no": ["--data", "text:novels/"],
        "train --data text:novels/": ["--data", "text:novels/emma.txt"],
        "train --data text:oth": ["--data", "text:other texts/"],
        "train --data=text:no": ["--data=text:novels/"],
        "train --data-path no": ["--data-path", "novels/"],
        "train --preset ti": ["--preset", "tiny"],
        "train --set train.ste": ["--set", "train.steps="],
        "train --set optimizer.name=m": ["--set", "optimizer.name=muon"],
        "train --set data.source=text:no": ["--set", "data.source=text:novels/"],
        "generate --checkpoint 1": ["--checkpoint", "10"],
        "generate my": ["my first run"],
        r"resume my\ first\ run --from 2": [r"my first run", "--from", "20"],
        **({"generate 'my fi": ["my first run"], 'generate "my fi': ["my first run"]} if name == "bash" else {}),
    }.items():
        assert shell.words_of(f"seedbed {line}")[1:] == words, line
