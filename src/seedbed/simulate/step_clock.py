"""The training time of every step, and which steps of a long run are logged. Both have random access."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from seedbed.simulate.counter_random import Stream
from seedbed.simulate.failures import DAY_S
from seedbed.simulate.loss import Spike

_LOG_SHARE = 200
"""A logged step is followed by the next after at most 1/200 of its number."""
_BEFORE_SPIKE, _AFTER_SPIKE = 6, 30


class StepClock:
    """Seconds of training after each step of a healthy cluster: step time, noise and a daily wave, in closed form.

    The noise of neighbouring steps is that of two differences, so the sum over any span needs no loop.
    """

    def __init__(self, seed: int, step_s: float, noise: float, day_wave: float) -> None:
        self._step_s = step_s
        self._noise = min(noise, 0.05) / math.sqrt(2)
        self._stream = Stream(seed, "step time")
        self._turn = 2 * math.pi * step_s / DAY_S
        self._wave = day_wave / self._turn if self._turn < 1 else 0.0
        self._phase = 2 * math.pi * Stream(seed, "time of day").uniform(0)
        self.at = lru_cache(256)(self._at)
        """Seconds of training after a number of steps."""

    def _at(self, step: int) -> float:
        if step == 0:
            return 0.0
        wave = self._wave * (math.sin(self._turn * step + self._phase) - math.sin(self._phase))
        return self._step_s * (step + wave + self._noise * self._stream.normal(step))


class Span(NamedTuple):
    """Training from a step on under constant conditions: when each later step ends."""

    clock: StepClock
    t: float
    """When the span begins, in seconds of the run."""
    step: int
    """The last step that is trained when the span begins."""
    factor: float = 1.0
    """By which every step is longer than on a healthy cluster."""
    extra_s: float = 0.0
    """By which the first step is longer, after a start."""

    def ends(self, step: int) -> float:
        """When a step ends, in seconds of the run; for the step before the span, when the span begins."""
        if step == self.step:
            return self.t
        return self.t + self.extra_s + self.factor * (self.clock.at(step) - self.clock.at(self.step))

    def last_by(self, t: float, stop: int) -> int:
        """The last step up to `stop` that ends at `t` or before."""
        low, high = self.step, stop
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.ends(middle) <= t else (low, middle - 1)
        return low


class LoggedSteps:
    """The steps of a long run that are always logged: ever fewer in the beginning, then at equal distances, and all spikes.

    The last step is always among them.
    """

    def __init__(self, steps: int, points: int, spikes: Iterable[Spike]) -> None:
        widest = max(math.ceil(steps / points), 1)
        kept, step = [], 1
        while step < steps:
            kept.append(step)
            step += max(1, min(step // _LOG_SHARE, widest))
        wanted = {*kept, steps}
        for spike in spikes:
            wanted.update(range(max(spike.step - _BEFORE_SPIKE, 1), min(spike.step + _AFTER_SPIKE, steps)))
        self._steps = sorted(wanted)

    def between(self, after: int, last: int) -> list[int]:
        """The logged steps after `after` up to `last`."""
        return self._steps[bisect_right(self._steps, after) : bisect_right(self._steps, last)]

    def __len__(self) -> int:
        return len(self._steps)
