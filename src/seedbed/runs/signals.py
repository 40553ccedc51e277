"""The signal handlers of a job: which request each signal makes, and how forked workers drop the handlers."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol

from seedbed.runs.control import PAUSE, RESUME, SAVE, STOP

SIGNALS = {
    signal.SIGINT: STOP,
    signal.SIGTERM: STOP,
    signal.SIGUSR1: SAVE,
    signal.SIGTSTP: PAUSE,
    signal.SIGCONT: RESUME,
}
"""The request that each signal makes. Batch systems send SIGUSR1 or SIGTERM before they kill a job.

SIGHUP is ignored: a job continues when the terminal that it was started from is closed.
"""


class Handlers:
    """The signal handlers of a job during its session. Only the main thread of a process can install them."""

    def __init__(self, request: Callable[[str, str], None]) -> None:
        """`request(verb, signal_name)` is called for each signal; it may neither wait nor write."""
        self._request = request
        self._before: dict[int, Any] = {}

    def install(self) -> None:
        """Install the signal handlers; does nothing outside the main thread."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in SIGNALS:
            self._before[number] = signal.signal(number, self._on_signal)
        self._before[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def restore(self) -> None:
        """Restore the signal handlers that were installed before `install` was called."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def reset_in_child(self) -> None:
        """Restore the default signal handlers. To be called in a forked worker, which its pool terminates with SIGTERM."""
        for number in self._before.keys() - {signal.SIGHUP}:
            signal.signal(number, signal.SIG_DFL)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._request(SIGNALS[signal.Signals(number)], signal.Signals(number).name)


class SignalOwner(Protocol):
    """A session that has installed signal handlers."""

    def release_in_child(self) -> None:
        """Called in a forked child: release the lock, and restore the default handlers."""
        ...


# Between a fork and the child's hooks the child still has these handlers, and Python loses the signals that arrive then.
# So signals are blocked until the child has dropped the handlers.
OWNERS: set[SignalOwner] = set()
"""The sessions in this process that hold a lock, which forked children have to release."""
_MASKS = threading.local()


def _before_fork() -> None:
    if OWNERS:
        _MASKS.old = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def _after_fork() -> None:
    old = _MASKS.__dict__.pop("old", None)
    if old is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)


def _after_fork_in_child() -> None:
    while OWNERS:
        OWNERS.pop().release_in_child()
    _after_fork()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)
