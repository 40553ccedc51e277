"""What interrupts a simulated run, one incident at a time: failures that stop it at once, and others that wait for a step."""

from __future__ import annotations

import heapq
import math
from typing import NamedTuple

from seedbed.simulate.counter_random import Stream
from seedbed.simulate.failures import Arrivals, Failure, Failures, Reliability

SLOW, SLOW_FOUND, MAINTENANCE, CORRUPTION = "slow", "slow-found", "maintenance", "corruption"


class Mild(NamedTuple):
    """An incident that lets the step in progress end: a node becomes slow, or this is found; maintenance; corruption."""

    t: float
    order: int
    kind: str
    slot: int
    failure: Failure | None = None
    """The failure that corrupts the run's numbers."""


class Incidents:
    """The incidents of a run in the order of their times."""

    def __init__(self, reliability: Reliability, nodes: int, seed: int) -> None:
        self._reliability = reliability
        self._failures = Failures(reliability, nodes, seed)
        self._delay = Stream(seed, "delays")
        self._mild: list[Mild] = []
        self._order = 0
        self._arrivals = {
            SLOW: Arrivals(SLOW, reliability.slow_rate, nodes, seed),
            MAINTENANCE: Arrivals(MAINTENANCE, reliability.maintenance_rate, nodes, seed),
        }
        for kind in self._arrivals:
            self._arrive(kind)
        self.failure: Failure | None = None
        """The next failure that stops training."""
        self.take_failure()

    def take_failure(self) -> Failure | None:
        """Return the next failure that stops training, and draw the one after it."""
        taken = self.failure
        while (found := self._failures.next()) is not None and found.component.shows == "save":
            self._push(found.t, CORRUPTION, found.slot, found)
        self.failure = found
        return taken

    def failing_until(self, t: float) -> list[Failure]:
        """Take all failures up to `t`."""
        found = []
        while self.failure is not None and self.failure.t <= t:
            found.append(self.failure)
            self.take_failure()
        return found

    @property
    def mild_t(self) -> float:
        """When the next mild incident happens; infinite if there is none."""
        return self._mild[0].t if self._mild else math.inf

    @property
    def next_t(self) -> float:
        """When the next incident of any kind happens; infinite if there is none."""
        return min(self.mild_t, self.failure.t if self.failure is not None else math.inf)

    def take_mild(self) -> Mild:
        """Return the next mild incident; the one of its kind after it is drawn."""
        taken = heapq.heappop(self._mild)
        if taken.kind in self._arrivals:
            self._arrive(taken.kind)
        if taken.kind == SLOW:
            delay_s = self._reliability.slow_found_s * self._delay.exponential(2 * taken.order)
            self._push(taken.t + delay_s, SLOW_FOUND, taken.slot)
        return taken

    def take_corruption(self, t: float) -> Mild | None:
        """Take the corruptions up to `t`, and return the first."""
        found = sorted(each for each in self._mild if each.kind == CORRUPTION and each.t <= t)
        self._mild = [each for each in self._mild if each not in found]
        heapq.heapify(self._mild)
        return found[0] if found else None

    def postpone(self, mild: Mild, t: float) -> None:
        """Let an incident happen again at `t`."""
        self._push(t, mild.kind, mild.slot)

    def repair_s(self, number: int) -> float:
        """Seconds until the node of failure `number` of the run is repaired."""
        return self._reliability.repair_s * self._delay.exponential(2 * number + 1)

    def _arrive(self, kind: str) -> None:
        arrival = self._arrivals[kind].next()
        if arrival is not None:
            self._push(arrival[0], kind, arrival[1])

    def _push(self, t: float, kind: str, slot: int, failure: Failure | None = None) -> None:
        self._order += 1
        heapq.heappush(self._mild, Mild(t, self._order, kind, slot, failure))
