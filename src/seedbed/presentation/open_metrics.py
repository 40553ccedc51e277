"""Names and values of open metrics for people. The log, --json and --csv have their raw names."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from seedbed import text


class Known(NamedTuple):
    """An open metric whose meaning is known: those that simulated runs log."""

    name: str
    """Its name in a line of text, with its unit."""
    heading: str
    """Its name as the heading of a column."""
    plot: str
    """Its name beside a curve."""
    value: Callable[[float], str]


def _share(value: float) -> str:
    return f"{value:.1%}"


def _number(value: float) -> str:
    return f"{value:.4g}"


def _count(value: float) -> str:
    return f"{value:,.0f}"


KNOWN = {
    "mfu": Known("MFU", "MFU", "MFU", _share),
    "goodput": Known("goodput", "GOODPUT", "goodput", _share),
    "samples_per_s": Known("samples/s", "SAMPLES/S", "samples per second", _number),
    "tokens_per_s_per_gpu": Known("tokens/s per GPU", "TOKENS/S/GPU", "tokens per second and GPU", text.count),
    "interruptions": Known("interruptions", "INTERRUPTIONS", "interruptions", _count),
}
"""Raw name -> what is known. In other runs, a metric of the same name may mean something else: its value is shown as it is."""


def known(name: str, *, simulated: bool) -> Known:
    """What is known about an open metric. One of a run that is not simulated keeps its own name."""
    return KNOWN[name] if simulated and name in KNOWN else Known(name, name, name, _number)
