"""No process that a test started outlives the tests: jobs do not end with who started them, so somebody has to end them.

Run as `python orphans.py PID MARK` it is a process that waits until its parent, the tests, is gone, also one that was
killed. Then it ends every process that has the mark in its environment, where the children of the tests inherit it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

MARK = "STARTED_BY_TESTS"
"""The variable that processes which tests start have in their environment."""
_LOOK_S = 0.5
_ROUNDS = 20
"""How often to look again for what was started meanwhile by those that were found."""


@contextmanager
def ended_with_the_tests() -> Iterator[None]:
    """Processes that are started within this are ended after it, or when this process is gone."""
    mark = f"{os.getpid()}-{time.time_ns()}"
    before = os.environ.get(MARK)
    command = [sys.executable, __file__, str(os.getpid()), mark]
    undertaker = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    os.environ[MARK] = mark
    try:
        yield
    finally:
        if before is None:
            del os.environ[MARK]
        else:
            os.environ[MARK] = before
        undertaker.communicate(b"end")


def marked(mark: str) -> list[psutil.Process]:
    """The processes that have the mark; this one has it not."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                found.append(process)
    return found


def main(parent: int, mark: str) -> None:
    """Wait for the parent's end, or its word, and end what it has started."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while os.getppid() == parent:
        if select.select([0], [], [], _LOOK_S)[0]:
            break
    for _ in range(_ROUNDS):
        found = marked(mark)
        if not found:
            return
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(found, timeout=_LOOK_S)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
