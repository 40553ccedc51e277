"""Waiting for work that says nothing: its result, its errors, and a stop in the middle of it."""

from __future__ import annotations

import threading

import pytest

from seedbed.data.interruption import run_interruptibly
from seedbed.errors import SeedbedError


class StopError(Exception):
    """What a check raises where the work shall stop."""


def patient() -> None:
    """A check that lets the work go on."""


def fail() -> None:
    raise SeedbedError("It broke.")


def time_out() -> None:
    raise TimeoutError("The work's own.")


def test_the_result_comes_through() -> None:
    assert run_interruptibly(lambda: 7, patient) == 7


def test_an_error_of_the_work_comes_through() -> None:
    with pytest.raises(SeedbedError, match="It broke"):
        run_interruptibly(fail, patient)


def test_a_timeout_of_the_work_is_not_taken_for_waiting() -> None:
    with pytest.raises(TimeoutError, match="own"):
        run_interruptibly(time_out, patient)


def test_the_check_ends_the_wait_while_the_work_goes_on() -> None:
    end = threading.Event()

    def stop() -> None:
        raise StopError

    with pytest.raises(StopError):
        run_interruptibly(lambda: end.wait(60), stop)
    assert not end.is_set()
    end.set()
