"""Waiting for blocking work: its result, its errors, and a stop while it runs."""

from __future__ import annotations

import threading

import pytest

from seedbed.data.interruption import run_interruptibly
from seedbed.errors import SeedbedError


class StopError(Exception):
    """Raised by a check to stop the work."""


def never_stops() -> None:
    """A check that never stops the work."""


def fail() -> None:
    raise SeedbedError("It broke.")


def time_out() -> None:
    raise TimeoutError("The work's own.")


def test_the_result_of_the_work_is_returned() -> None:
    assert run_interruptibly(lambda: 7, never_stops) == 7


def test_an_error_of_the_work_is_raised() -> None:
    with pytest.raises(SeedbedError, match="It broke"):
        run_interruptibly(fail, never_stops)


def test_a_timeout_error_of_the_work_is_raised() -> None:
    with pytest.raises(TimeoutError, match="own"):
        run_interruptibly(time_out, never_stops)


def test_the_check_ends_the_wait_while_the_work_still_runs() -> None:
    end = threading.Event()

    def stop() -> None:
        raise StopError

    with pytest.raises(StopError):
        run_interruptibly(lambda: end.wait(60), stop)
    assert not end.is_set()
    end.set()
