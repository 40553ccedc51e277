"""Runs that lose much of their time: how much counts, why, and what would help."""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec

from seedbed import text
from seedbed.simulate.failures import DAY_S, Reliability
from seedbed.simulate.goodput import effective_share, recovered_s
from seedbed.simulate.scenario import Scenario

LOW = 0.5
"""A plan says why if less than this share of the time is expected to count."""
_BETTER = 1.2
"""Something helps if it makes the share so many times as large."""
_WORTH_SAYING = 0.05
"""Nothing helps if less than this share of the time counts then."""
_FEWER_FAILURES = 0.1
"""Share of the failures that is left in the comparison with a more reliable cluster."""
_MUCH_WAITING = 0.05


class Progress(NamedTuple):
    """What is expected of a run."""

    share: float
    """Share of the time that is training which counts."""
    cause: str
    """Why it is not more: how often something fails, and what a failure costs."""
    helps: tuple[str, ...]
    """What would make it larger, with the share then."""


def expected_share(scenario: Scenario) -> float:
    """The expected share of the run's time that is training which counts."""
    scenario = _at_mean_rates(scenario)
    return effective_share(scenario.interval_steps() * scenario.step_s, scenario.checkpointing())


def _at_mean_rates(scenario: Scenario) -> Scenario:
    """The scenario with the mean failure rates of its training, if new hardware fails more often at first."""
    rates, days = scenario.reliability, scenario.steps * scenario.step_s / DAY_S
    if rates.early_life_factor == 1 or not days:
        return scenario
    mean = 1 + min(rates.early_life_days / days, 1.0) * (rates.early_life_factor - 1)
    return msgspec.structs.replace(
        scenario, reliability=_times_as_many(rates, mean), checkpoint_every=scenario.interval_steps()
    )


def _times_as_many(rates: Reliability, factor: float) -> Reliability:
    """Rates with so many times as many failures of nodes, the same from the beginning on."""
    return msgspec.structs.replace(
        rates,
        node_rate=factor * rates.node_rate,
        component_rates={name: factor * rate for name, rate in rates.component_rates.items()},
        early_life_factor=1.0,
    )


def fails_much(scenario: Scenario) -> bool:
    """Whether something is expected to fail before the end, and little of the time counts."""
    scenario = _at_mean_rates(scenario)
    share = expected_share(scenario)
    return share < LOW and share * scenario.checkpointing().mtbf_s < scenario.steps * scenario.step_s


def progress_of(scenario: Scenario) -> Progress:
    """The expected share of the time that counts, why it is not more, and what would help."""
    scenario = _at_mean_rates(scenario)
    share = expected_share(scenario)
    return Progress(share, _cause(scenario), tuple(_helps(scenario, share)))


def _cause(scenario: Scenario) -> str:
    given, every = scenario.checkpointing(), scenario.interval_steps()
    restart_s = recovered_s(given)
    costs = []
    if scenario.step_s > given.mtbf_s:
        costs.append(f"a step takes {_time(scenario.step_s)}")
    else:
        if restart_s > given.mtbf_s / 10:
            again = "with the failures meanwhile" if restart_s > 1.1 * given.recovery_s else "on average"
            costs.append(f"a restart takes {_time(restart_s)} {again}")
        interval = f"{text.plural(every, 'step', f'{every:,}')} ({_time(every * scenario.step_s)})"
        costs.append(f"a checkpoint is saved every {interval}")
    if given.waiting > _MUCH_WAITING:
        costs.append(f"the job waits for nodes {100 * given.waiting:.0f} % of the time")
    said = [f"something fails every {_time(given.mtbf_s)}", *costs]
    return f"{', '.join(said[:-1])}, and {said[-1]}"


def _helps(scenario: Scenario, share: float) -> list[str]:
    better = max(_BETTER * share, _WORTH_SAYING)
    found = []

    def consider(change: str, changed: Scenario) -> None:
        then = expected_share(changed)
        if then >= better:
            found.append(f"{change} ({share_text(then)})")

    if scenario.step_s > scenario.checkpointing().mtbf_s:
        return ["a smaller global batch"]
    every = scenario.recommended_every()
    if every != scenario.interval_steps():
        consider(f"a checkpoint every {every:,} steps", msgspec.structs.replace(scenario, checkpoint_every=every))
    rates = scenario.reliability
    if rates.failures_per_s(scenario.nodes):
        rarer = msgspec.structs.replace(
            _times_as_many(rates, _FEWER_FAILURES), job_rate=_FEWER_FAILURES * rates.job_rate
        )
        consider("a tenth of the failures", msgspec.structs.replace(scenario, reliability=rarer, checkpoint_every=0))
    if scenario.waiting() > _MUCH_WAITING:
        spares = math.ceil(2 * rates.mean_away(scenario.nodes))
        consider(f"{spares:,} spare nodes", msgspec.structs.replace(scenario, spare_nodes=spares))
    fewer = _fewer_nodes(scenario)
    if fewer is not None:
        consider(f"about {fewer.gpus:,} GPUs", fewer)
    return found or ["fewer failures, fewer GPUs, more spare nodes and more frequent checkpoints together"]


def _fewer_nodes(scenario: Scenario) -> Scenario | None:
    """The same training on the largest half, quarter, ... of the nodes on which half of the time counts; None if on none."""
    nodes = scenario.nodes // 2
    while nodes:
        share = nodes / scenario.nodes
        fewer = msgspec.structs.replace(
            scenario,
            nodes=nodes,
            spare_nodes=math.ceil(share * scenario.spare_nodes),
            step_s=scenario.step_s / share,
            checkpoint_blocking_s=scenario.checkpoint_blocking_s / share,
            checkpoint_every=0,
        )
        if expected_share(fewer) >= LOW:
            return fewer
        nodes //= 2
    return None


def share_text(share: float) -> str:
    """A share of the time in words: `12.7 %`, `less than 0.1 %`."""
    return "less than 0.1 %" if share < 0.001 else f"{100 * share:.3g} %"


def _time(seconds: float) -> str:
    if math.isinf(seconds) or seconds > 1e10:
        return "for ever"
    return f"{seconds:.2g} s" if seconds < 9.95 else text.duration(seconds)
