"""What the signals of a job ask for, and how forked helpers let go of them."""

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
"""What each signal asks for; batch systems send SIGUSR1 or SIGTERM before they take the machine away.

SIGHUP asks for nothing: a job outlives the terminal that it was started from.
"""


class Handlers:
    """The signal handlers of a job, while it has its directory. Only the main thread of a process can have them."""

    def __init__(self, request: Callable[[str, str], None]) -> None:
        """`request` is given what a signal asks for, and the signal's name; it may neither wait nor write."""
        self._request = request
        self._before: dict[int, Any] = {}

    def take(self) -> None:
        """Handle the signals from here on."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in SIGNALS:
            self._before[number] = signal.signal(number, self._on_signal)
        self._before[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def give_back(self) -> None:
        """Leave the signals to the handlers that they had before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def reset_in_child(self) -> None:
        """In a forked helper, which must die of a SIGTERM as its pool expects."""
        for number in self._before.keys() - {signal.SIGHUP}:
            signal.signal(number, signal.SIG_DFL)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._request(SIGNALS[signal.Signals(number)], signal.Signals(number).name)


class HasHandlers(Protocol):
    """The owner of a directory."""

    def release_in_child(self) -> None:
        """Called in a forked child: release the lock and the handlers."""
        ...


# Between a fork and the child's own hooks the child still has our handlers, and Python forgets what they heard in that time.
# So signals wait until the child has let go of them.
OWNERS: set[HasHandlers] = set()
"""Owners of directories in this process, which forked children have to let go."""
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
