"""Reads the values of every current step (not superseded) of a run, one after the other, in bounded memory.

The log is read twice: first to find where a session or a step goes back and so supersedes others, then for the steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

import msgspec

from seedbed.append_log import read_block
from seedbed.events import open_metrics
from seedbed.runs.curves.curve_events import CurveEvent, decode_lines
from seedbed.runs.curves.row_builder import LARGEST, RowBuilder
from seedbed.runs.curves.rows import BACK, RESTART, Row
from seedbed.runs.store import RunDir

_BLOCK = 4 << 20


class Metric(NamedTuple):
    """The values of one training step; None if unknown or not finite."""

    step: int
    tokens: int | None
    """The run's trained tokens up to this step."""
    time: float
    """The time at the end of the step, in unix seconds."""
    loss: float | None
    lr: float | None
    grad_norm: float | None
    step_s: float | None
    val_loss: float | None
    """The loss of the validation after this step, if there was one."""
    tokens_per_s: float | None
    open: dict[str, float]
    """The requested open metrics (values that Seedbed does not know by name) that are finite, by name."""


FIGURES = Metric._fields[:-1]
"""The names of the values that every step has; open metrics come after them."""


def metrics(
    run: RunDir, damaged: Callable[[int], None] = lambda offset: None, names: Collection[str] = ()
) -> Iterator[Metric]:
    """Yield the steps of a run that are not superseded, in ascending order. Raises SeedbedError if the log cannot be read.

    `names`: the open metrics (values that Seedbed does not know by name) to read; View.metrics has all of a run.
    val_NAME is the metric NAME of the validation after a step. `damaged` is called with the byte offset of each
    complete line that cannot be decoded; the line is skipped.
    """
    go_backs, end = _go_backs(run)
    pending: Metric | None = None
    partial = False
    for event in _current_events(run, go_backs, end, damaged):
        step = event.step
        if step is None:
            continue
        if event.kind == "step":
            if pending is not None:
                yield pending
            before = pending if pending is not None and pending.step == step - 1 else None
            pending = _metric(step, event, before, _open(event, names, ""))
        elif event.full and partial:
            continue  # over all of the text, so not comparable with validations over a part
        elif pending is not None and pending.step == step:
            partial = not event.full
            validated = _open(event, names, "val_")
            pending = pending._replace(val_loss=_finite(event.loss), open=pending.open | validated)
    if pending is not None:
        yield pending


class _GoBack(NamedTuple):
    """A point where the log goes back: steps after `step` that were logged before byte `offset` are superseded."""

    offset: int
    step: int


def _go_backs(run: RunDir) -> tuple[list[_GoBack], int]:
    """Find the points where the log goes back, ascending by offset and by step, and the offset up to which it was read.

    A point is dropped once a later point goes back to the same step or an earlier one, so the list stays short.
    """
    go_backs: list[_GoBack] = []

    def take(row: Row) -> None:
        if row.kind in (RESTART, BACK):
            while go_backs and go_backs[-1].step >= row.first:
                go_backs.pop()
            go_backs.append(_GoBack(row.begin, row.first))

    builder = RowBuilder(take)
    while True:
        block, offset = read_block(run.events, builder.offset, _BLOCK)
        if not block or offset - len(block) != builder.offset:
            return go_backs, builder.offset
        builder.add(block)


def _current_events(
    run: RunDir, go_backs: list[_GoBack], end: int, damaged: Callable[[int], None]
) -> Iterator[CurveEvent]:
    """Yield the steps and validations that begin before byte `end` of the log and are not superseded."""
    offset, following = 0, iter(go_backs)
    go_back = next(following, None)
    while offset < end:
        block, after = read_block(run.events, offset, min(_BLOCK, end - offset))
        if not block or after - len(block) != offset:
            return
        found, lengths = decode_lines(block)
        for event, length in zip(found, lengths, strict=True):
            while go_back is not None and go_back.offset <= offset:
                go_back = next(following, None)
            if event is None and length > 1:
                damaged(offset)
            offset += length
            if event is None or event.step is None or event.kind not in ("step", "eval"):
                continue
            if 0 <= event.step < LARGEST and (go_back is None or event.step <= go_back.step):
                yield event


def _metric(step: int, event: CurveEvent, before: Metric | None, named: dict[str, float]) -> Metric:
    tokens, seconds = event.tokens, _finite(event.step_s)
    known = 0 if step == 1 else before.tokens if before is not None else None
    processed = event.processed
    if processed is None and tokens is not None and known is not None:
        processed = tokens - known
    rate = processed / seconds if processed is not None and seconds else None
    figures = (_finite(event.loss), _finite(event.lr), _finite(event.grad_norm), seconds)
    return Metric(step, tokens, event.t, *figures, None, rate if rate is None or rate >= 0 else None, named)


def _open(event: CurveEvent, names: Collection[str], prefix: str) -> dict[str, float]:
    """The open metrics of an event whose names, after `prefix` ("" or `val_`), are in `names`."""
    written = bytes(event.metrics) if names else b""
    if not written:
        return {}
    found = {prefix + name: value for name, value in open_metrics(msgspec.json.decode(written)).items()}
    return {name: value for name, value in found.items() if name in names and math.isfinite(value)}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
