"""Makes pools of worker processes that never outlive the process that started them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from typing import Any


def worker_pool(workers: int, setup: Callable[[Any], None] | None = None, given: Any = None) -> ProcessPoolExecutor:
    """A pool of processes, started by `spawn`: rensa computes in threads, which a process made by `fork` lacks, so that it hangs.

    Ctrl-C in a terminal reaches the starting process alone, which ends the pool. `setup(given)` is called in each process.
    """
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_prepare, initargs=(setup, given))


def _prepare(setup: Callable[[Any], None] | None, given: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if setup is not None:
        setup(given)


def _end_with_parent() -> None:
    """End this process when its parent was killed; a worker of concurrent.futures would wait for work forever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
