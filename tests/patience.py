"""Waiting in tests: a condition with a limit, and limits that grow with how slow and busy the machine is.

A limit is written for a fast, idle machine. It is multiplied by the time that a fixed piece of reference work takes here,
compared with what it takes there, so that a test never fails only because the machine is slow or does other work.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

HANG_S = 900.0
"""A process that takes longer than this hangs, even on a slow machine."""
_REFERENCE_S = 0.06
"""How long the reference work takes on a fast, idle machine."""
_REFERENCE = "import asyncio, decimal, email.message, json, unittest\nsum(i * i for i in range(200_000))"
_MARGIN = 4.0
"""The machine may get busier after it was measured."""
_MOST = 60.0
_MEASURED_AGAIN_AFTER_S = 20.0

_measured = (float("-inf"), 1.0)


def slowness() -> float:
    """How many times longer the reference work takes here and now than on a fast, idle machine; at least 1.

    Measured again when the last measurement is old.
    """
    global _measured
    at, factor = _measured
    if time.monotonic() - at > _MEASURED_AGAIN_AFTER_S:
        begun = time.monotonic()
        subprocess.run([sys.executable, "-I", "-c", _REFERENCE], check=True)
        factor = min(max((time.monotonic() - begun) / _REFERENCE_S, 1.0), _MOST)
        _measured = (time.monotonic(), factor)
    return factor


def limit(seconds: float) -> float:
    """The limit on this machine for something that takes at most `seconds` on a fast, idle machine."""
    return seconds * _MARGIN * slowness()


def assert_linear_time(work: Callable[[int], object], size: int) -> None:
    """Assert that four times the size takes about four times the processor time; a quadratic `work` would take 16 times.

    The least of several measurements counts: other work on the machine can make one longer, and none shorter.
    """
    small = large = float("inf")
    for _ in range(5):
        small, large = min(small, _processor_s(work, size)), min(large, _processor_s(work, 4 * size))
        if large < 8 * small + 0.2:
            return
    raise AssertionError(f"{size} take {small:.2f} s of processor time, and {4 * size} take {large:.2f} s")


def _processor_s(work: Callable[[int], object], size: int) -> float:
    begun = time.process_time()
    work(size)
    return time.process_time() - begun


def until(what: Callable[[], T], seconds: float = 20.0, told: Callable[[], object] = lambda: "") -> T:
    """Wait until `what()` is true and return its value.

    `seconds` is the limit for a fast, idle machine. Where it is exceeded the test fails with what `told()` returns.
    """
    begun = time.monotonic()
    allowed = limit(seconds)
    while not (found := what()):
        if time.monotonic() - begun > allowed:
            allowed = limit(seconds)
            if time.monotonic() - begun > allowed:
                raise AssertionError(f"waited {time.monotonic() - begun:.0f} s; the condition is still false. {told()}")
        time.sleep(0.01)
    return found
