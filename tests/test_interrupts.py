"""Signals that must wait."""

from __future__ import annotations

import signal

import pytest

from seedbed.interrupts import interrupts_wait


def test_ctrl_c_waits_until_the_work_is_done() -> None:
    done = []
    ignored = signal.signal(signal.SIGINT, signal.default_int_handler)  # where tests run side by side, it is ignored
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())

    def work() -> None:
        with interrupts_wait():
            signal.raise_signal(signal.SIGINT)
            done.append("work")

    try:
        with pytest.raises(KeyboardInterrupt):
            work()
    finally:
        signal.signal(signal.SIGINT, ignored)
    assert done == ["work"]
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def test_an_error_passes_and_signals_are_heard_again() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with pytest.raises(ValueError, match="wrong"), interrupts_wait():
        raise ValueError("wrong")
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
