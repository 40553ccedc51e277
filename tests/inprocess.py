"""A `seedbed` command line run in the test's own process: what it prints and returns, without the start of an interpreter.

For tests in which a process is not the point. Signals, terminals, closed streams and start-up need a real one.
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
    """Exit status and output of `seedbed WORDS`, typed in a folder with this environment; streams are pipes in UTF-8."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
    with _standing_in(folder, environment, stdin), redirect_stdout(out), redirect_stderr(err):
        code = main(list(words))
    return subprocess.CompletedProcess(list(words), code, _text(out), _text(err))


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    held = stream.buffer
    assert isinstance(held, io.BytesIO)
    return held.getvalue().decode()


@contextmanager
def _standing_in(folder: Path, environment: Mapping[str, str], stdin: bytes | None) -> Iterator[None]:
    """This process with another working directory, environment and standard input."""
    before, where, given = dict(os.environ), Path.cwd(), sys.stdin
    try:
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        sys.stdin = io.TextIOWrapper(io.BytesIO(stdin or b""), "utf-8")
        yield
    finally:
        sys.stdin = given
        os.chdir(where)
        os.environ.clear()
        os.environ.update(before)
