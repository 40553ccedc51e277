"""Every step in force of a run, one after the other, in bounded memory.

The log is read twice: first for the places where a later session, or a step, goes back and makes steps void; then for
the steps themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

import msgspec

from seedbed.events import open_metrics
from seedbed.files import read_block
from seedbed.runs.curves.curve_events import CurveEvent, decode_lines
from seedbed.runs.curves.fold import LARGEST, Fold
from seedbed.runs.curves.rows import BACK, RESTART, Row
from seedbed.runs.store import RunDir

_BLOCK = 4 << 20


class Metric(NamedTuple):
    """One step. A value that is unknown or no finite number is None."""

    step: int
    tokens: int | None
    """Trained tokens of the run so far."""
    time: float
    """Unix seconds at which the step was done."""
    loss: float | None
    lr: float | None
    grad_norm: float | None
    step_s: float | None
    val_loss: float | None
    """Of the validation after this step, if there was one."""
    tokens_per_s: float | None
    open: dict[str, float]
    """The open metrics that were asked for and are finite numbers."""


FIGURES = Metric._fields[:-1]
"""What every step has, by the names of the table's columns; open metrics come after them."""


def metrics(
    run: RunDir, damaged: Callable[[int], None] = lambda place: None, names: Collection[str] = ()
) -> Iterator[Metric]:
    """The steps in force, by step, as far as they are logged now. Raises SeedbedError where the log cannot be read.

    `names` are the open metrics to read (View.metrics has those of a run); val_NAME is the metric NAME of the validation
    after a step. `damaged` is called with the byte at which a whole line begins that cannot be read; it is left out.
    """
    turns, end = _turns(run)
    held: Metric | None = None
    partial = False
    for event in _in_force(run, turns, end, damaged):
        step = event.step
        if step is None:
            continue
        if event.kind == "step":
            if held is not None:
                yield held
            before = held if held is not None and held.step == step - 1 else None
            held = _metric(step, event, before, _open(event, names, ""))
        elif event.full and partial:
            continue  # over all of the text, where others scored a part: not to be compared with them
        elif held is not None and held.step == step:
            partial = not event.full
            validated = _open(event, names, "val_")
            held = held._replace(val_loss=_finite(event.loss), open=held.open | validated)
    if held is not None:
        yield held


class _Turn(NamedTuple):
    """Where the log goes back: steps beyond `step` that were logged before byte `place` are void."""

    place: int
    step: int


def _turns(run: RunDir) -> tuple[list[_Turn], int]:
    """The turns of the log, both places and steps ascending, and the byte up to which the log was read.

    A turn that a later one goes back behind says nothing, so few are kept.
    """
    turns: list[_Turn] = []

    def take(row: Row) -> None:
        if row.kind in (RESTART, BACK):
            while turns and turns[-1].step >= row.first:
                turns.pop()
            turns.append(_Turn(row.begin, row.first))

    fold = Fold(take)
    while True:
        block, place = read_block(run.events, fold.place, _BLOCK)
        if not block or place - len(block) != fold.place:
            return turns, fold.place
        fold.add(block)


def _in_force(run: RunDir, turns: list[_Turn], end: int, damaged: Callable[[int], None]) -> Iterator[CurveEvent]:
    """Steps and validations before byte `end` that no later turn makes void."""
    place, following = 0, iter(turns)
    turn = next(following, None)
    while place < end:
        block, after = read_block(run.events, place, min(_BLOCK, end - place))
        if not block or after - len(block) != place:
            return
        found, lengths = decode_lines(block)
        for event, length in zip(found, lengths, strict=True):
            while turn is not None and turn.place <= place:
                turn = next(following, None)
            if event is None and length > 1:
                damaged(place)
            place += length
            if event is None or event.step is None or event.kind not in ("step", "eval"):
                continue
            if 0 <= event.step < LARGEST and (turn is None or event.step <= turn.step):
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
    """The open metrics on a line that were asked for."""
    written = bytes(event.metrics) if names else b""
    if not written:
        return {}
    found = {prefix + name: value for name, value in open_metrics(msgspec.json.decode(written)).items()}
    return {name: value for name, value in found.items() if name in names and math.isfinite(value)}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
