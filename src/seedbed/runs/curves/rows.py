"""Rows of up to 64 steps: the totals of their values, for plots that cannot show single steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

STEPS_A_ROW = 64
STEPS, VALIDATION, SAVED, RESTART, BACK = range(1, 6)
"""Kinds of rows: some steps, a validation, a checkpoint, the beginning of a session, and a step that goes back (that
does not come after the last logged step)."""


class StepValues(msgspec.Struct, frozen=True, gc=False):
    """The values of a logged step; nan if unknown.

    `tokens` and `time` (seconds of work) are the run's totals after the step.
    """

    step: int
    tokens: int
    time: float
    new_tokens: int
    """The tokens of this step; -1 if unknown, since the step before it is missing or superseded."""
    loss: float
    lr: float
    grad_norm: float
    seconds: float


class Row(NamedTuple):
    """A summary of some lines of a log: up to 64 steps, or one mark (any other kind, such as a validation).

    For a mark, `first` and `last` are its step.

    Each value has five numbers: the weight and the sum of the finite values, the lowest and the highest (inf and -inf
    if there are none), and the last (nan if there is none).
    """

    kind: int
    begin: int
    """The offset in the log at which the first line begins."""
    end: int
    """The offset in the log after the last line; for BACK equal to `begin`, since the step that goes back is not in
    this row."""
    first: int
    last: int
    session: int
    simulated: int
    """1 if the times are simulated (seconds on the run's own clock, see events.Run.simulated), else 0."""
    num: int
    """The number of steps. For a mark: 1 if it is the best so far, plus 2 if it is a validation over all of the text."""
    num_odd: int
    """The number of steps whose loss is not finite."""
    before: int
    """The run's trained tokens before the first step; -1 if unknown."""
    tokens0: int
    """The run's trained tokens after the first step."""
    tokens: int
    """The run's trained tokens after the last step; for a mark -1 if unknown."""
    clock0: float
    """The run's working time in seconds at the first step, without gaps between sessions."""
    clock: float
    """The run's working time in seconds at the last step, without gaps between sessions."""
    t: float
    """The time of the last line, in unix seconds."""
    num_losses: float
    loss_sum: float
    loss_low: float
    loss_high: float
    loss: float
    """The loss of the mark, or of the last step that has one."""
    num_lrs: float
    lr_sum: float
    lr_low: float
    lr_high: float
    lr: float
    num_grads: float
    grad_sum: float
    grad_low: float
    grad_high: float
    grad: float
    timed_s: float
    """The duration in seconds of the steps whose new tokens are known: the weight of the tokens per second."""
    timed_tokens: float
    rate_low: float
    rate_high: float
    rate: float


WHOLE_WORDS = Row._fields.index("clock0")
"""The number of fields at the beginning of a row that are stored as int64; the others are stored as float64."""
WORDS = len(Row._fields)
NAN = math.nan
NOTHING = (0.0, 0.0, math.inf, -math.inf, NAN)
"""The weight, sum, lowest, highest and last of no values."""


def summarise(
    steps: Sequence[StepValues], span: tuple[int, int], session: int, before: int, t: float, simulated: int
) -> Row:
    """Summarise one or more steps as a row. `span`: `begin` and `end` of the row; the other arguments are as in Row."""
    first, last = steps[0], steps[-1]
    timed = [step for step in steps if step.new_tokens >= 0 and 0 < step.seconds < math.inf]
    rates = [step.new_tokens / step.seconds for step in timed]
    rate = (min(rates), max(rates), rates[-1]) if rates else NOTHING[2:]
    losses = gathered([step.loss for step in steps])
    return Row(
        STEPS,
        *span,
        first.step,
        last.step,
        session,
        simulated,
        len(steps),
        len(steps) - int(losses[0]),
        before,
        first.tokens,
        last.tokens,
        first.time,
        last.time,
        t,
        *losses,
        *gathered([step.lr for step in steps]),
        *gathered([step.grad_norm for step in steps]),
        sum([step.seconds for step in timed]),
        float(sum([step.new_tokens for step in timed])),
        *rate,
    )


def gathered(values: Sequence[float]) -> tuple[float, float, float, float, float]:
    """The weight, sum, lowest, highest and last of the finite values; each value has weight 1."""
    known = values if math.isfinite(sum(values)) else [value for value in values if math.isfinite(value)]
    return (float(len(known)), sum(known), min(known), max(known), known[-1]) if known else NOTHING
