"""Ends a run at a deadline: decides, from the measured speed, when the learning rate decays and at which step the run ends.

While the learning rate is constant, the number of steps is settled again after every step. When the time left is only
enough for the decay, the decay begins, and its steps are frozen: a resume repeats them at another speed, too. Only if the
machine is so slow in the decay, also after a resume, that the run would end over 10 % late, it ends with what it has.
"""

from __future__ import annotations

import heapq
import math
import time
from collections import deque
from collections.abc import Callable

from seedbed.config.time_budget import steps_within
from seedbed.train.loop import Progress

_RECENT_SHARE, _LEAST_RECENT_S, _MOST_RECENT_S = 1 / 8, 30.0, 120.0
"""The speed is that of the steps in the last so much of the time: shared machines change their speed every few seconds."""
_OUTLIERS = 0.02
"""This share of the recent steps, the slowest, does not count, and at least one step: a pause of the machine is not its speed."""
_FEWEST_STEPS = 5
"""The number of timed steps before the plan follows a lower speed than was expected: the first steps of a process are slow."""
_LATEST = 1.08
"""A run ends, even within its decay, before a step that would make it take more of its time: 10 % with the end of the process."""

Clock = Callable[[], float]


class Costs:
    """Seconds of the work around training steps: estimates at first, then what was measured."""

    def __init__(self, *, eval_s: float, final_s: float, save_s: float) -> None:
        """`eval_s`: one validation during training; `final_s`: the last validations and samples; `save_s`: the last save."""
        self.eval_s, self.final_s, self.save_s = eval_s, final_s, save_s

    @property
    def closing_s(self) -> float:
        """The seconds from the last training step to the end of the work."""
        return self.final_s + self.save_s


class Deadline:
    """The plan of a run that must end after `total_s` seconds, of which `used_s` are over when this object is made.

    `settle` is called after each step. `step_s`: the expected seconds of a step, None if unknown. `decay_share`: the share
    of the decay in all steps (0: no decay). `eval_every`: the steps between two validations (0: none). `decay_from` and
    `end` are set once the decay has begun. `clock` counts seconds of work: it stands still in pauses.
    """

    def __init__(
        self,
        total_s: float,
        used_s: float,
        *,
        decay_share: float,
        step_s: float | None,
        costs: Costs,
        eval_every: int = 0,
        decay_from: int | None = None,
        end: int | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self.total_s, self.costs = total_s, costs
        self._recent_s = min(max(_RECENT_SHARE * total_s, _LEAST_RECENT_S), _MOST_RECENT_S)
        self.decay_from, self.end = decay_from, end
        self._clock, self._began = clock, clock() - used_s
        self._decay_share, self._eval_every = decay_share, eval_every
        self._step_s = step_s
        self._recent: deque[tuple[float, float]] = deque()
        self._step_began: float | None = None

    @property
    def used_s(self) -> float:
        """The seconds of work that the run has used up."""
        return self._clock() - self._began

    @property
    def left_s(self) -> float:
        """The seconds until the deadline; negative after it."""
        return self.total_s - self.used_s

    @property
    def step_s(self) -> float | None:
        """The seconds of a training step at the recent speed: the mean without outliers. None if unknown.

        After few steps it is what was expected, or less: an expectation from a busy moment would end the run too early.
        """
        durations = [duration for _, duration in self._recent]
        if len(durations) < _FEWEST_STEPS:
            measured_s = sum(durations) / len(durations) if durations else math.inf
            return self._step_s and min(self._step_s, measured_s)
        slowest = heapq.nlargest(math.ceil(_OUTLIERS * len(durations)), durations)
        return (sum(durations) - sum(slowest)) / (len(durations) - len(slowest))

    def begin_step(self) -> None:
        """Note that a training step begins now."""
        self._step_began = self._clock()

    def end_step(self) -> None:
        """Note that a training step ended."""
        now = self._clock()
        if self._step_began is not None:
            self._recent.append((now, now - self._step_began))
            self._step_began = None
        while len(self._recent) > _FEWEST_STEPS and self._recent[0][0] < now - self._recent_s:
            self._recent.popleft()

    def steps_left(self) -> int | None:
        """The number of steps for which the time is enough at the recent speed, with validations and the last save.

        None if the speed is not known yet.
        """
        step_s = self.step_s
        if step_s is None:
            return None
        return steps_within(
            self.left_s,
            self.total_s,
            closing_s=self.costs.closing_s,
            step_s=step_s,
            eval_s=self.costs.eval_s,
            eval_every=self._eval_every,
        )

    def settle(self, step: int) -> int:
        """The step after which the run ends, as it looks after `step` steps. Begins the decay when it is time for it."""
        if self.end is not None:
            if self.used_s + (self.step_s or 0.0) + self.costs.closing_s > _LATEST * self.total_s:
                self.end = min(self.end, step)
            return self.end
        left = self.steps_left()
        if left is None:
            return step + 1
        decay = round(self._decay_share * (step + left))
        if left <= decay or left == 0:
            self.decay_from, self.end = step, step + left
            return self.end
        return step + left


class DeadlineHook:
    """The first hook of a timed run (after the one that stops it): settles the number of steps.

    `on_plan(total, decay_from)` is called after every change.
    """

    def __init__(self, deadline: Deadline, on_plan: Callable[[int, int | None], None]) -> None:
        self._deadline, self._on_plan = deadline, on_plan
        self._last: tuple[int, int | None] | None = None

    def __call__(self, progress: Progress) -> None:
        self._deadline.end_step()
        if progress.stop is not None:
            return
        progress.total = self._deadline.settle(progress.step)
        plan = (progress.total, self._deadline.decay_from)
        if plan != self._last:
            self._last = plan
            self._on_plan(*plan)


class StepBeginHook:
    """The last hook of a timed run: the next training step begins after it."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline

    def __call__(self, progress: Progress) -> None:
        self._deadline.begin_step()
