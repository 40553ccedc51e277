"""Signals that must wait."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def interrupts_wait() -> Iterator[None]:
    """A context in which Ctrl-C and other requests to end wait until it is left; for work of milliseconds.

    An exception that a signal raises while msgspec 0.23 makes a class or reads a type may be lost, and the next use of that
    class then crashes with a segmentation fault. So modules with such classes are imported in this context.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
