"""What fails in a cluster, how often, how it is noticed, and how long recovery takes. Figures: facts/failures.json.

Failures arrive as a Poisson process of the whole cluster. Only the next one is drawn, from the total rate, and then its
component and node, so the cost grows with the number of failures, not of GPUs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from seedbed.config.spelling import did_you_mean, nearest
from seedbed.errors import UsageError
from seedbed.simulate.counter_random import Stream

_FACTS = Path(__file__).parent / "facts" / "failures.json"
DAY_S, HOUR_S = 86_400.0, 3600.0
NODE_DAYS = 1000.0
"""Rates are per this many node-days."""
JOB = "job"
"""The component of a failure of the whole job: a user error or a configuration."""

Shows = Literal["crash", "timeout", "save"]


class Component(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a node that fails: its share of all failures of nodes, and how a failure shows.

    `shows`: `crash`: the processes end; `timeout`: collectives hang until NCCL gives up; `save`: training goes on with
    wrong numbers until the check before the next checkpoint.
    """

    name: str
    title: str
    rate: float
    """Failures per 1,000 node-days as measured by the source (facts/failures.json)."""
    shows: Shows
    replaces_node: bool


class Reliability(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often a cluster fails and how long it takes to recover. The facts file has the source of each default."""

    node_rate: float = 4.0
    """Failures of nodes per 1,000 node-days, of all components together."""
    job_rate: float = 0.005
    """Failures of the whole job per hour."""
    early_life_factor: float = 1.0
    early_life_days: float = 14.0
    """The node rate is multiplied by the factor during the first days of the run (new hardware)."""
    component_rates: Mapping[str, float] = {}
    """Failures per 1,000 node-days of single components, in place of their share of `node_rate`."""
    maintenance_rate: float = 0.425
    slow_rate: float = 0.1
    slow_factor: float = 1.06
    slow_found_s: float = 4 * HOUR_S
    crash_from_s: float = 5.0
    crash_to_s: float = 30.0
    timeout_s: float = 600.0
    evict_s: float = 60.0
    repair_s: float = 4 * HOUR_S
    maintenance_s: float = 2 * HOUR_S
    init_1024_s: float = 30.0
    init_fixed_s: float = 10.0
    measured: tuple[Component, ...] = ()
    """The components with their measured rates; none: those of the facts file. A run in progress keeps its own."""

    def init_s(self, gpus: int) -> float:
        """Seconds to start the processes and NCCL on a number of GPUs."""
        return self.init_fixed_s + self.init_1024_s * math.sqrt(gpus / 1024)

    def components(self) -> tuple[Component, ...]:
        """The components with their rates per 1,000 node-days. Raises UsageError for an unknown component."""
        known = self.measured or published_components()
        names = [each.name for each in known]
        for name in self.component_rates:
            if name not in names:
                hint = did_you_mean(nearest(name, names)) or f"Components: {', '.join(names)}. "
                raise UsageError(f'Unknown component "{name}" in the failure rates.', hint.strip())
        scale = self.node_rate / sum(each.rate for each in known)
        return tuple(
            msgspec.structs.replace(each, rate=self.component_rates.get(each.name, each.rate * scale)) for each in known
        )

    def total_rate(self) -> float:
        """Failures of nodes per 1,000 node-days, of all components, after the early life."""
        return math.fsum(each.rate for each in self.components())

    def failures_per_s(self, nodes: int) -> float:
        """Expected unplanned interruptions per second of a job on a number of nodes, after the early life."""
        return nodes * self.total_rate() / NODE_DAYS / DAY_S + self.job_rate / HOUR_S

    def expected_failures(self, nodes: int, days: float) -> float:
        """Expected unplanned interruptions of a job on a number of nodes that begins with its hardware."""
        early = min(days, self.early_life_days) * (self.early_life_factor - 1)
        return nodes * self.total_rate() / NODE_DAYS * (days + early) + self.job_rate * days * 24

    def detection_s(self, shows: Shows) -> float:
        """Mean seconds from a failure to its detection; of one that shows at the next save, 0: training goes on."""
        return {"crash": (self.crash_from_s + self.crash_to_s) / 2, "timeout": self.timeout_s, "save": 0.0}[shows]

    def recovery_s(self, nodes: int, gpus: int, load_s: float) -> float:
        """Mean seconds from a failure until training continues: detection, replacement, start, reading a checkpoint.

        Assumes that a spare node is free; `mean_away` says how often none is.
        """
        crash = (self.job_rate / HOUR_S) * self.detection_s("crash")
        weights = self.job_rate / HOUR_S
        for each in self.components():
            rate = nodes * each.rate / NODE_DAYS / DAY_S
            weights += rate
            crash += rate * (self.detection_s(each.shows) + (self.evict_s if each.replaces_node else 0.0))
        return (crash / weights if weights else 0.0) + self.init_s(gpus) + load_s

    def mean_away(self, nodes: int) -> float:
        """The mean number of nodes that are repaired or maintained at a time, after the early life."""
        failing = math.fsum(each.rate for each in self.components() if each.replaces_node) + self.slow_rate
        per_node = failing * self.repair_s + self.maintenance_rate * self.maintenance_s
        return nodes * per_node / NODE_DAYS / DAY_S


class Failure(NamedTuple):
    """One failure: when it happens (seconds of the run), of what, and in which of the job's nodes (0 .. nodes - 1)."""

    t: float
    component: Component
    slot: int
    detection_s: float


_JOB_FAILURE = Component(JOB, "the job (user error or configuration)", 0.0, "crash", replaces_node=False)


class Failures:
    """The failures of a run in the order of their times, one at a time; a pure function of the seed."""

    def __init__(self, reliability: Reliability, nodes: int, seed: int) -> None:
        self._reliability, self._nodes = reliability, nodes
        self._components = reliability.components()
        self._cumulative = list(accumulate(each.rate for each in self._components)) or [0.0]
        self._node_rate = nodes * self._cumulative[-1] / NODE_DAYS / DAY_S
        self._job_rate = reliability.job_rate / HOUR_S
        self._gap, self._which = Stream(seed, "failure time"), Stream(seed, "failure component")
        self._slot, self._detection = Stream(seed, "failure node"), Stream(seed, "failure detection")
        self._t, self._number = 0.0, 0

    def next(self) -> Failure | None:
        """Draw the next failure; None if nothing ever fails."""
        number, self._number = self._number, self._number + 1
        at = self._later(self._gap.exponential(number))
        if at is None:
            return None
        self._t = at
        early = at < self._reliability.early_life_days * DAY_S
        node_rate = self._node_rate * (self._reliability.early_life_factor if early else 1.0)
        of_node = self._which.uniform(2 * number) * (node_rate + self._job_rate) < node_rate
        component = _JOB_FAILURE
        if of_node:
            component = self._components[self._which.choose(2 * number + 1, self._cumulative)]
        return Failure(at, component, self._slot.below(number, self._nodes), self._seen_after(component, number))

    def _seen_after(self, component: Component, number: int) -> float:
        rates = self._reliability
        if component.shows == "crash":
            return rates.crash_from_s + (rates.crash_to_s - rates.crash_from_s) * self._detection.uniform(number)
        return rates.detection_s(component.shows)

    def _later(self, amount: float) -> float | None:
        """The time at which the expected number of failures since the last one is `amount`."""
        end = self._reliability.early_life_days * DAY_S
        early = self._node_rate * self._reliability.early_life_factor + self._job_rate
        if self._t < end:
            within = early * (end - self._t)
            if amount < within:
                return self._t + amount / early
            amount, start = amount - within, end
        else:
            start = self._t
        late = self._node_rate + self._job_rate
        return start + amount / late if late > 0 else None


class Arrivals:
    """The times of a Poisson process of the cluster (slow nodes, maintenance) and the node of each."""

    def __init__(self, purpose: str, rate: float, nodes: int, seed: int) -> None:
        self._per_s = nodes * rate / NODE_DAYS / DAY_S
        self._gap, self._slot = Stream(seed, f"{purpose} time"), Stream(seed, f"{purpose} node")
        self._nodes, self._number, self._t = nodes, 0, 0.0

    def next(self) -> tuple[float, int] | None:
        """The time of the next arrival in seconds of the run, and its node; None if there is none."""
        if self._per_s <= 0:
            return None
        number, self._number = self._number, self._number + 1
        self._t += self._gap.exponential(number) / self._per_s
        return self._t, self._slot.below(number, self._nodes)


@cache
def facts() -> dict[str, Any]:
    """The content of facts/failures.json."""
    found: dict[str, Any] = msgspec.json.decode(_FACTS.read_bytes())
    return found


@cache
def published_components() -> tuple[Component, ...]:
    """Every component with its measured rate per 1,000 node-days: counts of Llama 3's table over its node-days."""
    window = facts()["window"]
    node_days = window["nodes"] * window["days"] / NODE_DAYS
    return tuple(
        Component(row["component"], row["title"], row["count"] / node_days, row["shows"], row["replaces_node"])
        for row in facts()["counts"]
    )
