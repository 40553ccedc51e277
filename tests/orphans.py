"""No process that a test started outlives the tests: jobs do not end with who started them, so somebody has to end them.

Run as `python orphans.py PID MARK` it leaves a process behind that waits until the tests, PID, are gone, also if they were
killed. Then it ends every process that has the mark in its environment, where the children of the tests inherit it. It is
no child of the tests: some of them look whether they have any.
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
        guard.stdout.read()  # it ends when the guard has ended
        guard.stdout.close()


def marked(mark: str) -> list[psutil.Process]:
    """The processes that have the mark; this one has it not."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                found.append(process)
    return found


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def main(parent: int, mark: str) -> None:
    """Wait until the tests are over or gone, and end what they have started."""
    if os.fork():
        os._exit(0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while _lives(parent):
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
