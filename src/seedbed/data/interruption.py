"""Run or wait for slow work while a callback, `check`, can stop or pause the caller."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYetError
from typing import TypeVar

from seedbed.locks import Lock

T = TypeVar("T")
Check = Callable[[], None]
"""A function called several times a second while a caller waits. It raises to stop the caller, and blocks to pause it."""

POLL_S = 0.1


def never_stop() -> None:
    """The `check` of callers that cannot be stopped: does nothing."""


def run_interruptibly(work: Callable[[], T], check: Check) -> T:
    """Run `work` in a thread and return its result or raise its error. If `check` raises, the result is discarded.

    Only for work without side effects: after an interruption the thread may run until the process exits.
    """
    if check is never_stop:
        return work()
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # raised again in the caller
            future.set_exception(error)

    threading.Thread(target=run, name="preparation", daemon=True).start()
    return wait_for(future, check)


def wait_for(future: Future[T], check: Check) -> T:
    """Wait for a future and return its result. `check` is called at least once; an exception from it ends the wait."""
    while True:
        check()
        try:
            return future.result(POLL_S)
        except NotYetError:
            if future.done():
                return future.result()  # the work itself raised TimeoutError


def wait_for_lock(lock: Lock, check: Check) -> None:
    """Acquire a lock; wait while another process holds it. An exception from `check` ends the wait."""
    while not lock.acquire():
        check()
        time.sleep(POLL_S)
