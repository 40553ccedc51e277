"""Converts the lines of an event log to rows of steps and to marks (validations, checkpoints, beginnings of sessions)."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

from seedbed.runs.clock import worked_s
from seedbed.runs.curves.curve_events import CurveEvent, decode_lines
from seedbed.runs.curves.rows import (
    BACK,
    NAN,
    NOTHING,
    RESTART,
    SAVED,
    STEPS_A_ROW,
    VALIDATION,
    Row,
    StepValues,
    summarise,
)
from seedbed.runs.statuses import IDLE
from seedbed.runs.superseded import begins_at, goes_back_to

LARGEST = 1 << 53
"""Numbers of steps and tokens must be below this, so that a float64 represents them exactly."""


class RowBuilder:
    """Converts the lines of a log to rows that each summarise 64 steps, one block of lines at a time.

    `take` is called with each row, also with those of marks (validations, checkpoints, beginnings of sessions). A mark
    comes before the steps that were not yet in a row when it was logged. `after`: the row after which to continue (see
    index_file.can_continue_after).
    """

    def __init__(self, take: Callable[[Row], None], after: Row | None = None) -> None:
        self._take = take
        self.open: list[StepValues] = []
        """The last steps, which are not in a row yet."""
        self.offset = after.end if after else 0
        """The offset in the log up to which lines were read."""
        self._most = STEPS_A_ROW
        self._session = after.session if after else 0
        self._step = after.last if after else -1
        self._tokens = after.tokens if after else 0
        self._clock = after.clock if after else 0.0
        self._t: float | None = after.t if after else None
        self._idle = False
        self._simulated = bool(after.simulated) if after else False
        # For the steps in `open`: where their lines begin and end, the tokens before them, and the time of the last step.
        self._begin = self._end = self.offset
        self._before = -1
        self._last_t = 0.0

    def add(self, block: bytes) -> None:
        """Convert a block of complete lines of the log, which must follow the previous block."""
        for event, length in zip(*decode_lines(block), strict=True):
            begin = self.offset
            self.offset += length
            if event is None:
                continue
            kind = event.kind
            if kind == "run":
                self._change_clock(event)
            self._clock += worked_s(self._t, event.t, self._idle, self._simulated)
            self._t = event.t
            self._idle = event.status in IDLE if kind in ("run", "step") else self._idle
            if kind == "step":
                self._add_step(event, begin)
            elif kind == "run":
                self._run(event, begin)
            elif kind in ("eval", "checkpoint"):
                self._mark(event, begin)

    def go_back_to(self, row: Row) -> None:
        """Set the state to that before the first line of `row`, a row of steps, to read its single steps again into `open`."""
        self._most = sys.maxsize
        self._session, self._step, self._tokens, self._clock = row.session, row.first - 1, row.before, row.clock0
        self._simulated = bool(row.simulated)

    def row(self) -> Row | None:
        """Summarise the steps that are not in a row yet as a row; None if there are none."""
        if not self.open:
            return None
        span = self._begin, self._end
        return summarise(self.open, span, self._session, self._before, self._last_t, int(self._simulated))

    def _change_clock(self, event: CurveEvent) -> None:
        """Restart the measurement of working time if `event` begins a session or declares that its times are simulated."""
        another = event.session is not None and event.session != self._session
        if not another and not (event.simulated and not self._simulated):
            return
        self._close()  # a row belongs to one session and one clock
        self._t = None
        self._simulated = bool(event.simulated)

    def _add_step(self, event: CurveEvent, begin: int) -> None:
        step, tokens = event.step, event.tokens
        if step is None or not 0 <= step < LARGEST:
            return
        back = goes_back_to(step, self._step)
        if back is not None:
            self._restart(BACK, back, begin)
        before, new = self._tokens if step == self._step + 1 else -1, -1
        if tokens is not None and 0 <= tokens < LARGEST:
            self._tokens = tokens
            if 0 <= before <= tokens:
                new = tokens - before
        if event.processed is not None and 0 <= event.processed < LARGEST:
            new = event.processed
        if not self.open:
            self._begin, self._before = begin, before
        values = event.loss, event.lr, event.grad_norm, event.step_s
        numbers = [NAN if value is None else value for value in values] if None in values else values
        self.open.append(StepValues(step, max(self._tokens, 0), self._clock, new, *numbers))
        self._step, self._end, self._last_t = step, self.offset, event.t
        if len(self.open) >= self._most:
            self._close()

    def _close(self) -> None:
        row = self.row()
        if row is not None:
            self.open = []
            self._take(row)

    def _run(self, event: CurveEvent, begin: int) -> None:
        begins = begins_at(event)
        if begins is not None:
            self._restart(RESTART, min(begins, LARGEST), begin, event.session)
        elif event.session is not None and 0 <= event.session < LARGEST:
            self._session = event.session

    def _restart(self, kind: int, step: int, begin: int, session: int | None = None) -> None:
        """Record that the steps after `step` are superseded.

        `kind`: RESTART if a new session begins at `step`, BACK if a step was logged that does not come after the last
        one.
        """
        self._close()
        if session is not None and 0 <= session < LARGEST:
            self._session = session
        if step != self._step:
            self._tokens = 0 if step <= 0 else -1
        self._step = step
        self._take(self._marked(kind, begin, self.offset if kind == RESTART else begin, step))

    def _mark(self, event: CurveEvent, begin: int) -> None:
        if event.step is None or not 0 <= event.step < LARGEST:
            return
        loss = math.nan if event.loss is None else event.loss
        kind = SAVED if event.kind == "checkpoint" else VALIDATION
        if kind == SAVED or math.isfinite(loss):
            self._take(self._marked(kind, begin, self.offset, event.step, loss, event.best + 2 * event.full))

    def _marked(self, kind: int, begin: int, end: int, step: int, loss: float = math.nan, num: int = 0) -> Row:
        position, tokens = (begin, end, step, step, self._session, int(self._simulated)), (self._tokens,) * 3
        now = (self._clock, self._clock, self._t or 0.0)
        return Row(kind, *position, num, 0, *tokens, *now, *NOTHING[:-1], loss, *NOTHING * 3)


def decode_steps(row: Row, block: bytes) -> list[StepValues]:
    """Decode the single steps that a row summarises. `block`: the lines of the log that start at the row's `begin`."""
    builder = RowBuilder(lambda _: None)
    builder.go_back_to(row)
    builder.add(block)
    return [step for step in builder.open if step.step <= row.last]
