"""Runs Python code in processes of their own that need not import slow libraries again.

`python preloaded.py MODULE...` is a server with a single thread: it imports the modules once, and forks a child for each
program that it is asked to run. The child has the environment, folder and output that a new interpreter would have. So code
that reads its environment when it is imported can be tested cheaply, if that code is not among the modules.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import patience

HUB_CLIENT = ("httpx2", "yaml", "filelock", "tqdm", "typer", "asyncio", "seedbed.actions.model_references")
"""Slow modules below huggingface_hub, which reads its environment when it is imported."""
DATASETS_CLIENT = (*HUB_CLIENT, "pandas", "pyarrow.parquet", "pyarrow.compute", "fsspec.compression", "multiprocess")
"""Slow modules below the library datasets."""


class Server:
    """A process that has imported modules, and runs programs in children of its own. A missing module is left out.

    `environment` has variables for it that are read when a process starts; a program gets all others for itself.
    """

    def __init__(self, modules: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def run(
        self, code: str, *arguments: str, environment: Mapping[str, str], folder: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program: as `python -c CODE ARGUMENTS` in this environment and folder."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with tempfile.TemporaryDirectory() as place:
            out, err = Path(place, "out"), Path(place, "err")
            request = {
                "code": code,
                "arguments": ["-c", *arguments],
                "environment": dict(environment),
                "folder": str(folder or Path.cwd()),
                "out": str(out),
                "err": str(err),
                "limit_s": int(patience.HANG_S),
            }
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            status = int(self._process.stdout.readline())
            return subprocess.CompletedProcess(arguments, status, out.read_text(), err.read_text())


@cache
def server(modules: tuple[str, ...]) -> Server:
    """The server with these modules of this test process; it ends when the test process ends."""
    return Server(modules)


def _run(request: Mapping[str, Any]) -> None:
    """Run a program in this process and end it."""
    signal.alarm(request["limit_s"])  # a child that hangs is killed
    for number, name in ((1, "out"), (2, "err")):
        handle = os.open(request[name], os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(handle, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.argv = request["arguments"]
    status = 0
    try:
        exec(compile(request["code"], "<string>", "exec"), {"__name__": "__main__"})
    except SystemExit as exited:
        status = exited.code if isinstance(exited.code, int) else int(bool(exited.code))
    except BaseException:
        traceback.print_exc()
        status = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main(modules: Sequence[str]) -> None:
    for name in modules:
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            _run(request)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.path.pop(0)  # this folder, which a new interpreter would not have
    main(sys.argv[1:])
