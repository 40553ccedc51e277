"""Output that is closed, full or in another encoding: the exit status is right, and no traceback appears."""

from __future__ import annotations

import io
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import patience
from seedbed.cli.streams import ERRORS

DRIVER = Path(__file__).resolve().parents[1] / "fake_seedbed.py"


def shell(desk: Any, line: str, redirections: str) -> tuple[int, str]:
    """The exit status and the captured output of a command with redirections, or with a variable set as NAME=value."""
    variable, _, _ = redirections.partition("=")
    before, after = (redirections, "") if variable.isupper() else ("", redirections)
    command = f"{before} {shlex.quote(sys.executable)} {shlex.quote(str(DRIVER))} {line} {after}"
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=desk.folder,
        env={**desk.environment, "PYTHONUNBUFFERED": ""},  # buffered, as in an ordinary shell
        capture_output=True,
        timeout=patience.HANG_S,
        check=False,
    )
    return done.returncode, (done.stdout + done.stderr).decode()


@pytest.mark.parametrize("line", ["status", "runs", "du", "metrics --csv", "logs", "curve", "--help", "nope"])
def test_closed_and_full_streams_set_the_exit_status_without_a_traceback(desk: Any, line: str) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    desk.train("--name", "alpha", steps=3)
    usual = 2 if line == "nope" else 0
    for redirections in (">&-", "2>&-", "<&-", "2>/dev/full", ">&- 2>&- <&-"):
        status, output = shell(desk, line, redirections)
        assert status == usual, (redirections, output)
        assert "Error" not in output, redirections
        assert "Exception ignored" not in output, redirections
    status, output = shell(desk, line, ">/dev/full")
    assert "Traceback" not in output
    assert "Exception ignored" not in output
    assert status == (2 if line == "nope" else 1)
    assert line == "nope" or "No space left" in output


def test_a_run_started_with_closed_streams_has_no_output_in_its_files(desk: Any) -> None:
    status, output = shell(desk, "train --steps 12", ">&- 2>&- <&-")
    assert (status, output) == (0, "")
    found = desk.status()
    assert (found["status"], found["step"]) == ("completed", 12)
    folder = Path(found["path"])
    assert all(json.loads(line)["kind"] for line in (folder / "events.jsonl").read_bytes().splitlines())
    assert (folder / "job.log").read_bytes() == b""


@pytest.mark.parametrize(("encoding", "written"), [("ascii", b"a? ... -|-"), ("latin-1", b"a\xe9 ... -|-")])
def test_characters_that_an_encoding_lacks_are_replaced(encoding: str, written: bytes) -> None:
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding=encoding, errors=ERRORS)
    stream.write("a\u00e9 \u2026 \u2500\u2502\u2013")
    stream.flush()
    assert buffer.getvalue() == written


def test_errors_in_another_encoding_contain_no_unicode_escapes(desk: Any) -> None:
    status, output = shell(desk, f"status {'x' * 200}", "PYTHONIOENCODING=ascii")
    assert status == 2
    assert 'xxx..."' in output
    assert "\\u" not in output


def test_a_dumb_terminal_gets_no_escape_sequences(desk: Any) -> None:
    desk.train("--name", "alpha", steps=12)
    for words in (
        ("status",),
        ("runs",),
        ("curve",),
        ("logs",),
        ("generate", "--prompt", "x"),
        ("train", "--steps", "3"),
    ):
        assert "\x1b" not in desk.terminal(*words, env={"TERM": "dumb", "NO_COLOR": ""}), words
    assert "\x1b" not in desk.terminal("status", "nothing", expect=2, env={"TERM": "dumb", "NO_COLOR": ""})


def test_warnings_and_errors_fit_the_terminal_and_are_single_lines_elsewhere(desk: Any) -> None:
    desk.train()
    warning = "The text is short. Few words. Add some."
    assert warning in desk.seedbed("status").stdout
    shown = desk.terminal("status", columns=30)
    assert warning not in shown
    assert warning in " ".join(shown.split())
    words = ("status", "no-run-of-this-name")
    refused = desk.terminal(*words, expect=2, columns=40).removeprefix("\r\x1b[K")
    assert max(map(len, refused.splitlines())) <= 40
    assert " ".join(refused.split()) == " ".join(desk.seedbed(*words, expect=2).stderr.split())
    assert len(desk.seedbed(*words, expect=2).stderr.splitlines()) == 2
