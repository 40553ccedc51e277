"""Runs a `seedbed` command line in the test's own process and captures its output, without starting an interpreter.

Tests of signals, terminals, closed streams and start-up need a real process instead.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from seedbed.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Iterator


def run(
    words: tuple[str, ...], folder: Path, environment: Mapping[str, str], stdin: bytes | None = None
) -> subprocess.CompletedProcess[str]:
    """Exit status and output of `seedbed WORDS` in this folder and environment; the streams are UTF-8 pipes."""
    done = run_raw(words, folder, environment, stdin)
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def run_raw(
    words: tuple[str, ...], folder: Path, environment: Mapping[str, str], stdin: bytes | None = None
) -> subprocess.CompletedProcess[bytes]:
    """As `run`, with the output as bytes."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
    with _patched_process(folder, environment, stdin), redirect_stdout(out), redirect_stderr(err):
        code = main(list(words))
    return subprocess.CompletedProcess(list(words), code, _bytes(out), _bytes(err))


def _bytes(stream: io.TextIOWrapper) -> bytes:
    stream.flush()
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue()


@contextmanager
def _patched_process(folder: Path, environment: Mapping[str, str], stdin: bytes | None) -> Iterator[None]:
    """Replace this process's working directory, environment and standard input for a while."""
    old_environment, old_folder, old_stdin = dict(os.environ), Path.cwd(), sys.stdin
    try:
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        sys.stdin = io.TextIOWrapper(io.BytesIO(stdin or b""), "utf-8")
        yield
    finally:
        sys.stdin = old_stdin
        os.chdir(old_folder)
        os.environ.clear()
        os.environ.update(old_environment)
