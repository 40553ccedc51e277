"""How many steps a run has: from steps, epochs or tokens, and from what was added later. Knows no clock and no file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from seedbed.config.schema import MOST_STEPS, TrainConfig
from seedbed.errors import UsageError


class Segment(NamedTuple):
    """A stretch of steps [start, end) under one learning-rate schedule; a run that is extended has several."""

    start: int
    end: int


def horizon_steps(train: TrainConfig, *, windows_per_epoch: int, tokens_per_window: int) -> int:
    """The step at which a fresh run ends. Epochs round up to whole steps, so that every window is seen; tokens too."""
    if train.steps is not None:
        steps = train.steps
    elif train.epochs is not None:
        steps = epoch_steps(train.epochs, windows_per_epoch=windows_per_epoch, batch_size=train.batch_size)
    elif train.tokens is not None:
        steps = math.ceil(train.tokens / (train.batch_size * tokens_per_window))
    else:
        raise UsageError("Nothing says how long to train.", "Set one of train.steps, train.epochs or train.tokens.")
    if steps < 1:
        raise UsageError(
            f"A horizon of {steps} steps trains nothing.", "Set train.steps, train.epochs or train.tokens above 0."
        )
    if steps > MOST_STEPS:
        raise UsageError(
            f"A horizon of {steps:.3g} steps is longer than any run can be.",
            "Set a smaller train.steps, train.epochs or train.tokens.",
        )
    return steps


def epoch_steps(epochs: float, *, windows_per_epoch: int, batch_size: int) -> int:
    """Steps that cover `epochs` passes over the windows, the last batch reaching into the next pass where it does not fit."""
    windows = epochs * windows_per_epoch
    if not windows / batch_size <= MOST_STEPS:
        raise UsageError(
            f"{epochs:g} epochs are more steps than any run can have.", "Give fewer: train.epochs or --more-epochs."
        )
    return math.ceil(round(windows, 6) / batch_size)


def chain(planned: Sequence[Segment], done: int, added_steps: int | None, fresh_steps: int) -> list[Segment]:
    """The segments in force for a run that stands at `done`.

    `planned` are those of its past, oldest first; `added_steps` is what a resume adds to `done`; `fresh_steps` is the
    config's horizon, for a run without a past. Where all steps are done the run has only its end left to do: the last
    validation, if a stop kept it from that. Raises UsageError for a run that stands beyond its end, or for no steps.
    """
    segments = [segment for segment in planned if segment.end > segment.start]
    if added_steps is not None:
        if added_steps < 1:
            raise UsageError(f"{added_steps} more steps train nothing.", "Give --more-steps or --more-epochs above 0.")
        if added_steps > MOST_STEPS:
            raise UsageError(f"{added_steps:,} more steps are more than any run can have.", "Give fewer --more-steps.")
        kept = [Segment(segment.start, min(segment.end, done)) for segment in segments if segment.start < done]
        return [*kept, Segment(done, done + added_steps)]
    if not segments:
        segments = [Segment(0, fresh_steps)]
    if segments[-1].end < done:
        raise UsageError(
            f"The run was to train {segments[-1].end} steps, and this checkpoint is of step {done}.",
            "Add some: --more-epochs N or --more-steps N.",
        )
    return segments


def segment_at(segments: Sequence[Segment], step: int) -> Segment:
    """The segment that a 0-based step lies in; a step past the end counts to the last."""
    for segment in segments:
        if step < segment.end:
            return segment
    return segments[-1]
