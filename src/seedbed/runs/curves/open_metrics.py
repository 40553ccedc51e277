"""The values of one open metric, read out of the event log where the rows of a run's steps lie.

The index of curves has columns for the values that every step has. An open metric is read from the log when somebody
asks for it: some 1.5 s for a million steps, once, against columns of any number in every row of every run.
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
"""Weight, sum, lowest, highest and last of some values, as in a Row."""


class _Line(msgspec.Struct, gc=False):
    """A line as most runs write it: every step with a number for the metric."""

    kind: str
    step: int | None = None
    metrics: dict[str, float | None] | None = None


_LINES = msgspec.json.Decoder(_Line)


def value_in(event: CurveEvent, name: str) -> float:
    """The value of an open metric on a line; nan where it has none that is a finite number."""
    written = bytes(event.metrics)
    if not written:
        return math.nan
    try:
        return open_metrics(msgspec.json.decode(written)).get(name, math.nan)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return math.nan


def values_by_step(log: BinaryIO, row: Row, name: str) -> dict[int, float]:
    """The finite values of a row's steps, by step."""
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
                value = line.metrics[name] if name in line.metrics else _spelled_otherwise(line.metrics, name)
                if value is not None:
                    found[line.step] = value
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _slowly(block, first, last, name)
    return found


def _spelled_otherwise(metrics: dict[str, float | None], name: str) -> float | None:
    """The value of a metric whose name is shown as `name`, but written in another way."""
    return next((value for written, value in metrics.items() if shown_name(written) == name), None)


def _slowly(block: bytes, first: int, last: int, name: str) -> dict[int, float]:
    """The same of lines among which some are torn, foreign or of another shape."""
    found: dict[int, float] = {}
    for event in decode_lines(block[: block.rfind(b"\n") + 1])[0]:
        if event is not None and event.kind == "step" and event.step is not None and first <= event.step <= last:
            value = value_in(event, name)
            if math.isfinite(value):
                found[event.step] = value
    return found


def summarised(values: Sequence[float]) -> Five:
    """What stands for these values in a row."""
    return gathered(values) if values else NOTHING
