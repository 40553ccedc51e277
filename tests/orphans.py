"""Kills the processes that tests started. Jobs outlive the process that starts them, so a guard process kills them.

`python orphans.py PID MARK` starts the guard in the background. The guard waits until the test process PID ends, also if it
is killed. Then it kills every process that has the mark in its environment, which child processes inherit. The guard is not
a child of the test process, because some tests check whether that has children.
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
"""The environment variable with the mark, in every process that a test starts."""
_POLL_S = 0.5
_ROUNDS = 20
"""How often to search: the processes that were found may have started others meanwhile."""


@contextmanager
def cleanup() -> Iterator[None]:
    """Kill every process that is started within this context, at its end or when this process dies."""
    mark = f"{os.getpid()}-{time.time_ns()}"
    before = os.environ.get(MARK)
    command = [sys.executable, __file__, str(os.getpid()), mark]
    guard = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    guard.wait()
    os.environ[MARK] = mark
    try:
        yield
    finally:
        if before is None:
            del os.environ[MARK]
        else:
            os.environ[MARK] = before
        assert guard.stdin is not None
        assert guard.stdout is not None
        guard.stdin.close()
        guard.stdout.read()  # returns when the guard has ended
        guard.stdout.close()


def marked(mark: str) -> list[psutil.Process]:
    """The processes that have the mark, except this one."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                found.append(process)
    return found


def is_alive(pid: int) -> bool:
    """Whether the process exists and is no zombie. It may end at any time, also between two looks at it."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def main(parent: int, mark: str) -> None:
    """Wait until the test process ends, then kill the processes that it started."""
    if os.fork():
        os._exit(0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while is_alive(parent):
        if select.select([0], [], [], _POLL_S)[0]:
            break
    for _ in range(_ROUNDS):
        found = marked(mark)
        if not found:
            return
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(found, timeout=_POLL_S)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
