"""Computes how many steps a run has, from train.steps, train.epochs or train.tokens, and from steps that resumes add."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from seedbed.config.schema import MOST_STEPS, TrainConfig
from seedbed.errors import UsageError


class Segment(NamedTuple):
    """A segment of a run: the steps from `start` to before `end`, under one learning-rate schedule.

    A run to which a resume added steps has several segments. `warmup_steps` is set only under a time budget
    (`train.time`): then `end` is where the segment ends at the current speed, until the decay begins at `decay_from`.
    """

    start: int
    end: int
    warmup_steps: int | None = None
    decay_from: int | None = None

    @property
    def is_timed(self) -> bool:
        """Whether a time budget decides when the segment ends."""
        return self.warmup_steps is not None


def horizon_steps(train: TrainConfig, *, windows_per_epoch: int, tokens_per_window: int) -> int:
    """The number of steps that the config plans, without steps added later. Epochs and tokens are rounded up to whole steps.

    A window is one training sequence.
    """
    if train.steps is not None:
        steps = train.steps
    elif train.epochs is not None:
        steps = epoch_steps(train.epochs, windows_per_epoch=windows_per_epoch, batch_size=train.batch_size)
    elif train.tokens is not None:
        steps = math.ceil(train.tokens / (train.batch_size * tokens_per_window))
    else:
        raise UsageError(
            "The length of the training is not set.", "Set one of train.steps, train.epochs or train.tokens."
        )
    if steps < 1:
        raise UsageError(f"{steps} steps train nothing.", "Set train.steps, train.epochs or train.tokens above 0.")
    if steps > MOST_STEPS:
        raise UsageError(
            f"{steps:.3g} steps are more than the maximum of a run, {MOST_STEPS:.0e}.",
            "Set a smaller train.steps, train.epochs or train.tokens.",
        )
    return steps


def epoch_steps(epochs: float, *, windows_per_epoch: int, batch_size: int) -> int:
    """The number of steps that cover `epochs` passes over the windows (training sequences).

    The last batch may reach into the next pass.
    """
    windows = epochs * windows_per_epoch
    if not windows / batch_size <= MOST_STEPS:
        raise UsageError(
            f"{epochs:g} epochs take more than {MOST_STEPS:.0e} steps, the maximum of a run.",
            "Lower train.epochs or --more-epochs.",
        )
    return math.ceil(round(windows, 6) / batch_size)


def planned_segments(planned: Sequence[Segment], done: int, added_steps: int | None, fresh_steps: int) -> list[Segment]:
    """The segments (steps under one learning-rate schedule each) of a run that has done `done` steps.

    `planned` are its earlier segments, oldest first; `added_steps` is what a resume adds after `done`; `fresh_steps` is
    the length from the config, for a run without earlier segments. If all steps are done, at most the last validation
    is left to do. Raises UsageError if `done` is beyond the last segment, or if `added_steps` is not positive or too
    large.
    """
    segments = [segment for segment in planned if segment.end > segment.start]
    if added_steps is not None:
        if added_steps < 1:
            raise UsageError(
                f"{added_steps} additional steps train nothing.", "Set --more-steps or --more-epochs above 0."
            )
        if added_steps > MOST_STEPS:
            raise UsageError(f"{added_steps:,} additional steps are more than a run can have.", "Lower --more-steps.")
        kept = [segment._replace(end=min(segment.end, done)) for segment in segments if segment.start < done]
        return [*kept, Segment(done, done + added_steps)]
    if not segments:
        segments = [Segment(0, fresh_steps)]
    if segments[-1].end < done:
        raise UsageError(
            f"Nothing is left to train: the run ends at step {segments[-1].end}, and this checkpoint is from step {done}.",
            "Add steps with --more-epochs N or --more-steps N.",
        )
    return segments


def segment_at(segments: Sequence[Segment], step: int) -> Segment:
    """The segment that contains the step with the 0-based number `step`; for a step past the end, the last segment."""
    for segment in segments:
        if step < segment.end:
            return segment
    return segments[-1]
