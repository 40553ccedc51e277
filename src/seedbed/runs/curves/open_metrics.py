"""The values of one open metric, read out of the event log where the rows of a run's steps lie.

The index of curves has columns for the values that every step has. An open metric is read from the log when somebody
asks for it: some 2 s for a million steps, once, against columns of any number in every row of every run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import BinaryIO

import msgspec

from seedbed.events import open_metrics
from seedbed.runs.curves.entries import Entry, entries
from seedbed.runs.curves.rows import NOTHING, Row, gathered

Five = tuple[float, float, float, float, float]
"""Weight, sum, lowest, highest and last of some values, as in a Row."""
_ABSENT = object()


def value_in(entry: Entry, name: str) -> float:
    """The value of an open metric on a line; nan where it has none that is a finite number."""
    written = bytes(entry.metrics)
    if not written:
        return math.nan
    try:
        found = msgspec.json.decode(written)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return math.nan
    # Most names are as they were written; the others are compared as they are shown.
    value = found.get(name, _ABSENT) if type(found) is dict else _ABSENT
    if type(value) is float and math.isfinite(value):
        return value
    return open_metrics(found).get(name, math.nan)


def values_by_step(log: BinaryIO, row: Row, name: str) -> dict[int, float]:
    """The finite values of a row's steps, by step."""
    log.seek(row.begin)
    block = log.read(row.end - row.begin)
    found: dict[int, float] = {}
    for entry in entries(block[: block.rfind(b"\n") + 1])[0]:
        if (
            entry is not None
            and entry.kind == "step"
            and entry.step is not None
            and row.first <= entry.step <= row.last
        ):
            value = value_in(entry, name)
            if math.isfinite(value):
                found[entry.step] = value
    return found


def summarised(values: Sequence[float]) -> Five:
    """What stands for these values in a row."""
    return gathered(values) if values else NOTHING
