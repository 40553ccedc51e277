"""How fast a session trains, and how long it still has to go, out of what its own steps and pauses took."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from seedbed.events import Step
from seedbed.runs.costs import Costs

SPEED_STEPS = 64
"""Steps out of which the speed is taken."""


class Speed(msgspec.Struct, omit_defaults=True):
    """The last steps of a session, in bounded number, and what it spent beside its steps."""

    recent: list[tuple[int, float]] = []
    """(processed tokens so far, seconds of the step) of the last steps."""
    steps: int = 0
    """Steps that the session has trained."""
    costs: Costs = msgspec.field(default_factory=Costs)

    def add(self, event: Step, trained_before: int) -> None:
        """Take in a step; `trained_before`: trained tokens of the run before it."""
        self.steps += 1
        processed = event.tokens - trained_before if event.processed is None else event.processed
        before = self.recent[-1][0] if self.recent else trained_before
        self.recent.append((before + processed, event.step_s if math.isfinite(event.step_s) else 0.0))
        if len(self.recent) > 2 * SPEED_STEPS:
            del self.recent[:SPEED_STEPS]

    def seconds_per_step(self) -> float | None:
        """Mean time of the last steps, validation and saving left out; None before there are any.

        The first steps of a session carry warm-up and compilation, so they count only while there is nothing else.
        """
        timed = [seconds for _, seconds in self._timed()]
        total = sum(timed)
        return total / len(timed) if timed and total > 0 else None

    def tokens_per_second(self, tokens_per_step: int | None) -> float | None:
        """Processed tokens per second over the same steps; of a single step by the tokens that a step is said to have."""
        timed = self._timed()
        seconds = sum(each for _, each in timed[1:])
        if len(timed) > 1 and seconds > 0:
            return (timed[-1][0] - timed[0][0]) / seconds
        step_s = self.seconds_per_step()
        return tokens_per_step / step_s if tokens_per_step and step_s else None

    def remaining_s(
        self, said: dict[str, Any], step: int, phases: list[str], progress: dict[str, Any] | None, *, validated: bool
    ) -> float | None:
        """Seconds from `step` to the horizon, never negative; None while that is unknown.

        Steps, validations, samples and checkpoints count, each by what it took before. For the arguments see
        Costs.ahead_s.
        """
        step_s = self.seconds_per_step()
        if step_s is None:
            return None
        beside = self.costs.ahead_s(said, step, step_s, phases, progress, validated=validated)
        return max(int(said["steps"]) - step, 0) * step_s + beside

    def _timed(self) -> list[tuple[int, float]]:
        if self.steps == len(self.recent) and self.steps > 8:
            return self.recent[3:][-SPEED_STEPS:]
        return self.recent[-SPEED_STEPS:]
