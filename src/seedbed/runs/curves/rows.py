"""A run's steps 64 at a time: one row of figures stands for them wherever a picture has no room for single steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

STEPS_A_ROW = 64
STEPS, VALIDATION, SAVED, RESTART, BACK = range(1, 6)
"""Kinds of rows: steps, a validation, a checkpoint, a session that goes on from a step, and steps that went back."""


class StepValues(msgspec.Struct, frozen=True, gc=False):
    """A step that was logged. `tokens` and `time` (seconds at work) are those of the run after it; nan is no number."""

    step: int
    tokens: int
    time: float
    new_tokens: int
    """Tokens that it trained on; -1 where the step before it is not in force or not there."""
    loss: float
    lr: float
    grad_norm: float
    seconds: float


class Row(NamedTuple):
    """What became of some lines of a log. Of a mark (anything but STEPS) `first` and `last` are its step.

    Five numbers stand for each kind of value: the weight and the sum of those that are finite, the lowest and the highest
    (inf and -inf where there is none, so that they never win), and the last (nan where there is none).
    """

    kind: int
    begin: int
    """Byte of the log at which the first line begins."""
    end: int
    """Byte after the last line; of BACK `begin`, since the step that went back is still to come."""
    first: int
    last: int
    session: int
    simulated: int
    """1 where the times are those of the run's own clock, else 0."""
    num: int
    """Steps; of a mark: 1 if it is the best one, and 2 more if it is a validation over all of the text."""
    num_odd: int
    """Steps whose loss is no finite number."""
    before: int
    """Trained tokens of the run before the first step; -1 where they are not known."""
    tokens0: int
    """Trained tokens after the first step."""
    tokens: int
    """Trained tokens after the last step; of a mark -1 where they are not known."""
    clock0: float
    """Seconds that the run had been at work by the first step, gaps between sessions left out."""
    clock: float
    """The same by the last step."""
    t: float
    """Unix seconds of the last line."""
    num_losses: float
    loss_sum: float
    loss_low: float
    loss_high: float
    loss: float
    """Of the mark, or of the last step that has one."""
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
    """Seconds of the steps whose new tokens are known, which weigh the tokens per second."""
    timed_tokens: float
    rate_low: float
    rate_high: float
    rate: float


WHOLE_WORDS = Row._fields.index("clock0")
"""The first of the words of a row are whole numbers, the others floating point."""
WORDS = len(Row._fields)
NAN = math.nan
NOTHING = (0.0, 0.0, math.inf, -math.inf, NAN)
"""The five numbers of values of which none is finite."""


def summarise(
    steps: Sequence[StepValues], place: tuple[int, int], session: int, before: int, t: float, simulated: int
) -> Row:
    """The row of some steps (at least one) that lie from byte to byte; the other arguments as in Row."""
    first, last = steps[0], steps[-1]
    timed = [step for step in steps if step.new_tokens >= 0 and 0 < step.seconds < math.inf]
    rates = [step.new_tokens / step.seconds for step in timed]
    rate = (min(rates), max(rates), rates[-1]) if rates else NOTHING[2:]
    losses = gathered([step.loss for step in steps])
    return Row(
        STEPS,
        *place,
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
    """Weight, sum, lowest, highest and last of those that are finite, each of the weight 1."""
    known = values if math.isfinite(sum(values)) else [value for value in values if math.isfinite(value)]
    return (float(len(known)), sum(known), min(known), max(known), known[-1]) if known else NOTHING
