"""The speed of a session and its remaining time, from the times of its own steps, validations, samples and checkpoints."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from seedbed.events import Step
from seedbed.runs.costs import Costs

SPEED_STEPS = 64
"""The maximum number of last steps from which the speed is computed."""


class Speed(msgspec.Struct, omit_defaults=True):
    """The last steps of a session, in bounded number, and the time that it spent on validations, samples and checkpoints."""

    recent: list[tuple[int, float]] = []
    """(tokens that the session has processed so far, seconds of the step) of each of the last steps."""
    steps: int = 0
    """The number of steps that the session has trained."""
    costs: Costs = msgspec.field(default_factory=Costs)

    def add(self, event: Step, trained_before: int) -> None:
        """Add a step; `trained_before`: trained tokens of the run before it."""
        self.steps += 1
        processed = event.tokens - trained_before if event.processed is None else event.processed
        before = self.recent[-1][0] if self.recent else trained_before
        self.recent.append((before + processed, event.step_s if math.isfinite(event.step_s) else 0.0))
        if len(self.recent) > 2 * SPEED_STEPS:
            del self.recent[:SPEED_STEPS]

    def seconds_per_step(self) -> float | None:
        """The mean seconds per step of the last steps, without validation and saving; None before the first step.

        The first steps of a session include warm-up and compilation, so they count only while there are no others.
        """
        timed = [seconds for _, seconds in self._timed()]
        total = sum(timed)
        return total / len(timed) if timed and total > 0 else None

    def tokens_per_second(self, tokens_per_step: int | None) -> float | None:
        """Processed tokens per second over the last steps; after a single step, computed from `tokens_per_step`.

        None if unknown.
        """
        timed = self._timed()
        seconds = sum(each for _, each in timed[1:])
        if len(timed) > 1 and seconds > 0:
            return (timed[-1][0] - timed[0][0]) / seconds
        step_s = self.seconds_per_step()
        return tokens_per_step / step_s if tokens_per_step and step_s else None

    def remaining_s(
        self, run: dict[str, Any], step: int, phases: list[str], progress: dict[str, Any] | None, *, validated: bool
    ) -> float | None:
        """Estimate the seconds from `step` to the end of the last planned step, never negative; None while unknown.

        Includes steps, validations, samples and checkpoints, each at the time that it took so far. For the arguments
        see Costs.ahead_s.
        """
        step_s = self.seconds_per_step()
        if step_s is None:
            return None
        beside = self.costs.ahead_s(run, step, step_s, phases, progress, validated=validated)
        return max(int(run["steps"]) - step, 0) * step_s + beside

    def _timed(self) -> list[tuple[int, float]]:
        if self.steps == len(self.recent) and self.steps > 8:
            return self.recent[3:][-SPEED_STEPS:]
        return self.recent[-SPEED_STEPS:]
