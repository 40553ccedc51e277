"""Reads the values of an open metric (one that Seedbed does not know by name) from the event log.

The index of curves has columns only for the values that every step has. An open metric is read from the log when it is
first needed, in 1.5 s for a million steps; columns for all open metrics would make every row of every run larger.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import BinaryIO

import msgspec

from seedbed.events import open_metrics, shown_name
from seedbed.runs.curves.curve_events import CurveEvent, decode_lines
from seedbed.runs.curves.rows import NOTHING, Row, gathered

Five = tuple[float, float, float, float, float]
"""The weight (here the number), the sum, the lowest, the highest and the last of some values, as in a Row."""


class _Line(msgspec.Struct, gc=False):
    """The metrics of a log line in the usual form, in which all of them are numbers; fast to decode."""

    kind: str
    step: int | None = None
    metrics: dict[str, float | None] | None = None


_LINES = msgspec.json.Decoder(_Line)


def value_in(event: CurveEvent, name: str) -> float:
    """The value of the open metric `name` in an event; nan if the event has no number for it."""
    written = bytes(event.metrics)
    if not written:
        return math.nan
    try:
        return open_metrics(msgspec.json.decode(written)).get(name, math.nan)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return math.nan


def values_by_step(log: BinaryIO, row: Row, name: str) -> dict[int, float]:
    """The finite values of the open metric `name` in the steps that `row` summarises, by step. `log`: the open event log."""
    log.seek(row.begin)
    block = log.read(row.end - row.begin)
    first, last = row.first, row.last
    found: dict[int, float] = {}
    try:
        for line in _LINES.decode_lines(block):
            if (
                line.metrics is not None
                and line.kind == "step"
                and line.step is not None
                and first <= line.step <= last
            ):
                value = line.metrics[name] if name in line.metrics else _by_shown_name(line.metrics, name)
                if value is not None:
                    found[line.step] = value
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _values_one_by_one(block, first, last, name)
    return found


def _by_shown_name(metrics: dict[str, float | None], name: str) -> float | None:
    """The value of the metric that is shown with the name `name` (see events.shown_name); None if there is none."""
    return next((value for written, value in metrics.items() if shown_name(written) == name), None)


def _values_one_by_one(block: bytes, first: int, last: int, name: str) -> dict[int, float]:
    """Does the work of `values_by_step` for a block of lines of which some are incomplete, foreign or of an unusual form."""
    found: dict[int, float] = {}
    for event in decode_lines(block[: block.rfind(b"\n") + 1])[0]:
        if event is not None and event.kind == "step" and event.step is not None and first <= event.step <= last:
            value = value_in(event, name)
            if math.isfinite(value):
                found[event.step] = value
    return found


def summarised(values: Sequence[float]) -> Five:
    """The weight (number), sum, lowest, highest and last of the values."""
    return gathered(values) if values else NOTHING
