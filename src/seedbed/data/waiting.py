"""Wait for work that says nothing of itself, and ask meanwhile whether to stop. Refuses to know what the work is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYetError
from typing import TypeVar

from seedbed.files import Lock

T = TypeVar("T")
Check = Callable[[], None]
"""Called several times a second by whoever waits. It raises to stop the work, and returns late to pause it."""

POLL_S = 0.1


def unheeding() -> None:
    """The check of a caller that nobody can stop."""


def result_of(work: Callable[[], T], check: Check) -> T:
    """What `work` returns or raises. It runs in a thread; where `check` raises it is left alone and its result unused.

    For work that only reads: it may go on until the process ends.
    """
    if check is unheeding:
        return work()
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # it belongs to the caller
            future.set_exception(error)

    threading.Thread(target=run, name="preparation", daemon=True).start()
    return awaited(future, check)


def awaited(future: Future[T], check: Check) -> T:
    """The result of a future that somebody else fills; `check` may raise meanwhile."""
    while True:
        try:
            return future.result(POLL_S)
        except NotYetError:
            if future.done():
                return future.result()  # the work itself raised a TimeoutError
            check()


def take(lock: Lock, check: Check) -> None:
    """Take a lock that another process holds, when it lets go."""
    while not lock.acquire():
        check()
        time.sleep(POLL_S)
