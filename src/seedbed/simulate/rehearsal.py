"""Shrinks the incidents of a simulated cluster run to a small real run, and predicts what they will cost there.

Order, kind and position between two checkpoints of every incident are kept; the distances between incidents are not.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, get_args

from seedbed.errors import UsageError
from seedbed.events import Step
from seedbed.simulate.cluster_run import ClusterRun
from seedbed.simulate.failures import JOB, Component, Failure, Reliability
from seedbed.simulate.incidents import MAINTENANCE, Incidents
from seedbed.simulate.scenario import Scenario
from seedbed.simulate.trace import Interruption
from seedbed.text import plural

Fault = Literal["kill", "hang", "stall", "full-disk", "slow-writes", "stop"]
FAULTS: tuple[Fault, ...] = get_args(Fault)
_OF_COMPONENT: dict[str, Fault] = {"ssd": "full-disk", "storage": "slow-writes"}
"""A component whose failure is not injected as `_OF_HAPPENING` says: these two are about storage."""
_OF_HAPPENING: dict[str, Fault] = {
    "crash": "kill",
    "timeout": "hang",
    "save": "kill",
    "slow": "stall",
    "replacement": "stop",
    "maintenance": "stop",
}
_INTERVALS: dict[Fault, int] = {"slow-writes": 3}
"""Checkpoint intervals from an incident to the next one, if not one: a slow write delays the checkpoint after it, too."""
LEAST_INTERVAL = 4
"""The smallest number of steps between checkpoints of the real run, so that the position of an incident means something."""
MOST_INCIDENTS = 6

HANG_S = 3.0
"""Seconds for which a hanging job is left alone: the time-out of NCCL in small."""
STALL_S = 2.0
FULL_DISK_S = 3.0
_NOTICED_S = 0.5
"""Mean seconds until the end of a full disk is noticed: a job that waits for space looks for it once a second."""
_SLOW_WRITE_INTERVALS = 1.5
"""How much longer a slow write takes, in intervals between checkpoints: the next save must wait for it."""
_SLOW_WRITE_FROM_S, _SLOW_WRITE_TO_S = 1.0, 60.0


class Injection(NamedTuple):
    """A fault that is injected when the real run has logged `step`. `incident`: the simulated one; None: it was asked for."""

    fault: Fault
    step: int
    incident: Interruption | None = None


class Shrunk(NamedTuple):
    """The real run: its number of steps, the steps between its checkpoints, and what is injected."""

    steps: int
    every: int
    injections: tuple[Injection, ...]


class Measured(NamedTuple):
    """Seconds that this machine took in an undisturbed run: `start_s` from the start of a job to its first step, and `end_s`
    from the last step to the end of the job."""

    step_s: float
    stall_s: float
    write_s: float
    start_s: float
    end_s: float


class Cost(NamedTuple):
    """What an incident costs: steps that must be trained again, and seconds in all."""

    lost_steps: int
    lost_s: float


class Prediction(NamedTuple):
    """The predicted costs of the incidents, and the predicted seconds of the run with them."""

    costs: tuple[Cost, ...]
    elapsed_s: float


def simulated(scenario: Scenario) -> ClusterRun:
    """Simulate a scenario to its end; the result has its trace, its time and its account."""
    run = ClusterRun(scenario)
    for _ in run.events():
        pass
    return run


def fault_of(incident: Interruption) -> Fault:
    """How a simulated incident is injected into a real run."""
    return _OF_COMPONENT.get(incident.component) or _OF_HAPPENING[incident.happening]


def shrink(
    trace: Sequence[Interruption],
    scenario: Scenario,
    steps: int,
    *,
    most: int | None = None,
    also: Sequence[Fault] = (),
) -> Shrunk:
    """Choose at most `most` incidents of a trace, and place them in a real run of `steps` steps.

    Every fault that the trace has is chosen at least once if there is room. `also`: faults that are injected even if the
    trace has none. Without `most`, as many of MOST_INCIDENTS as fit into the steps, but all of `also`. Raises UsageError if
    there is nothing to inject, if `also` has more than `most` faults, or if there are too few steps.
    """
    asked = len(set(also))
    if most is not None and asked > most:
        raise UsageError(
            f"--inject names {plural(asked, 'fault')}, but --incidents allows {most}.",
            f"Raise --incidents to {asked}, leave it out, or name fewer faults.",
        )
    fewest = max(asked, 1)
    for number in [most] if most is not None else range(max(MOST_INCIDENTS, asked), fewest - 1, -1):
        chosen = _choose(trace, number, also)
        if not chosen:
            raise UsageError(
                "Nothing interrupts this simulated run, so there is nothing to rehearse.",
                "Simulate more GPUs or tokens, raise --fail-rate, or name what to inject: --inject kill,full-disk.",
            )
        gaps = [_INTERVALS.get(fault, 1) for fault, _, _ in chosen]
        intervals = 2 * sum(gaps) + 1
        if steps // intervals >= LEAST_INTERVAL:
            return _placed(chosen, gaps, scenario, steps, intervals)
    fewer = f" or fewer incidents ({'--inject' if len(chosen) == asked else '--incidents'})" if len(chosen) > 1 else ""
    raise UsageError(
        f"{steps} steps are too few for {plural(len(chosen), 'incident')}: they need {intervals * LEAST_INTERVAL}.",
        f"Set more steps (--rehearse-steps){fewer}.",
    )


def _placed(chosen: Sequence[_Chosen], gaps: Sequence[int], scenario: Scenario, steps: int, intervals: int) -> Shrunk:
    """The real run with these incidents. It has `intervals` intervals between checkpoints."""
    total, every = scenario.steps, min(scenario.interval_steps(), scenario.steps)
    real_every = steps // intervals
    places = [_place(incident, share, total, every, intervals) for _, share, incident in chosen]
    slots = _spread([place[0] for place in places], gaps, intervals)
    injections = []
    for (fault, _, incident), (_, part), slot in zip(chosen, places, slots, strict=True):
        # At the step of a checkpoint, that checkpoint is still being written: a slow write would delay it and the next.
        first = 1 if fault == "slow-writes" or slot == 0 else 0
        offset = max(min(int(part * real_every), real_every - 1), first)
        injections.append(Injection(fault, slot * real_every + offset, incident))
    return Shrunk(steps, real_every, tuple(injections))


_Chosen = tuple[Fault, float, Interruption | None]
"""A fault, its position in the trace as a share, and its incident."""


def _choose(trace: Sequence[Interruption], most: int, also: Sequence[Fault]) -> list[_Chosen]:
    """The incidents to rehearse, in their order; those that are only asked for are spread among them."""
    usable = [each for number, each in enumerate(trace) if each.step > 0 and not _is_part(trace, number)]
    count = Counter(fault_of(each) for each in usable)
    added = [fault for fault in dict.fromkeys(also) if fault not in count]
    rare_first = sorted(count, key=lambda fault: (fault not in also, count[fault], fault))
    numbers: set[int] = set()
    for k in range(min(most - len(added), len(usable))):
        wanted = rare_first[k] if k < len(rare_first) else None
        left = [n for n, each in enumerate(usable) if n not in numbers and wanted in (None, fault_of(each))]
        numbers.add(_farthest(left, numbers))
    found: list[_Chosen] = [(fault_of(usable[n]), (n + 1) / (len(usable) + 1), usable[n]) for n in sorted(numbers)]
    found += [(fault, (k + 0.5) / len(added), None) for k, fault in enumerate(added)]
    return sorted(found, key=lambda each: each[1])


def _farthest(numbers: Sequence[int], chosen: set[int]) -> int:
    """The number that is farthest from all that were chosen, so that incidents of the whole run are rehearsed."""
    if not chosen:
        return numbers[len(numbers) // 2]
    return max(numbers, key=lambda number: min(abs(number - other) for other in chosen))


def _is_part(trace: Sequence[Interruption], number: int) -> bool:
    """Whether an incident happened during the recovery from the one before it."""
    return number > 0 and trace[number].step == trace[number - 1].step


def _place(incident: Interruption | None, share: float, total: int, every: int, intervals: int) -> tuple[int, float]:
    """The checkpoint interval of the real run in which an incident belongs, and its position there from 0 to 1."""
    if incident is None:
        return max(int(share * intervals), 1), 0.5
    part = 1.0 if incident.happening == "save" else incident.step % every / every
    done = (incident.step - (incident.happening == "save")) // every
    return max(int(incident.step / total * intervals), min(done, 1)), part


def _spread(slots: Sequence[int], gaps: Sequence[int], intervals: int) -> list[int]:
    """Move incidents so that they stay in order, have the intervals that they need, and end before the run does."""
    found: list[int] = []
    for slot in slots:
        found.append(max(slot, found[-1] + gaps[len(found) - 1]) if found else slot)
    latest = intervals - 1
    for number in reversed(range(len(found))):
        latest = min(found[number], latest - gaps[number])
        found[number] = latest
    return found


def slow_write_s(measured: Measured, every: int) -> float:
    """By how many seconds a slow write is lengthened."""
    wanted = _SLOW_WRITE_INTERVALS * every * measured.step_s
    return min(max(wanted, _SLOW_WRITE_FROM_S), _SLOW_WRITE_TO_S)


def predict(shrunk: Shrunk, measured: Measured) -> Prediction:
    """Predict the cost of each injection with the simulator, from the times that this machine needs without them.

    What stops the job is simulated; what only holds it up (a stall, a full disk, a slow write) costs the seconds for which
    it does so.
    """
    timed: list[Failure | float] = []
    costs: list[Cost] = []
    before, extra_s = _simulate(shrunk, measured, timed), 0.0
    for injection in shrunk.injections:
        held_s = _held_s(injection.fault, measured, shrunk.every)
        if held_s is not None:
            costs.append(Cost(0, held_s))
            extra_s += held_s
            continue
        timed.append(_timed(injection, before.ended[injection.step], measured))
        after = _simulate(shrunk, measured, timed)
        costs.append(Cost(after.lost_steps - before.lost_steps, after.elapsed_s - before.elapsed_s))
        before = after
    return Prediction(tuple(costs), before.elapsed_s + extra_s)


def _held_s(fault: Fault, measured: Measured, every: int) -> float | None:
    """For how many seconds a fault holds the job up; None if it ends the job."""
    if fault == "slow-writes":
        between_s = every * measured.step_s + measured.stall_s
        return max(measured.write_s + slow_write_s(measured, every) - between_s, 0.0)
    return {"stall": STALL_S, "full-disk": FULL_DISK_S + _NOTICED_S}.get(fault)


def _timed(injection: Injection, ended_s: float, measured: Measured) -> Failure | float:
    """A failure just after the step that ended at `ended_s`; for a planned stop, a time within that step."""
    if injection.fault == "stop":
        return ended_s - 0.5 * measured.step_s
    shows: Literal["timeout", "crash"] = "timeout" if injection.fault == "hang" else "crash"
    component = Component(JOB, injection.fault, 0.0, shows, replaces_node=False)
    return Failure(ended_s + 1e-6, component, 0, HANG_S if injection.fault == "hang" else 0.0)


class _Simulated(NamedTuple):
    ended: dict[int, float]
    """When each step ended, the last time it was trained."""
    lost_steps: int
    elapsed_s: float


def _simulate(shrunk: Shrunk, measured: Measured, timed: Sequence[Failure | float]) -> _Simulated:
    scenario = Scenario(
        parameters=1_000_000,  # the losses of this simulation are not used
        vocab=256,
        steps=shrunk.steps,
        tokens_per_step=256,
        sequences_per_step=1,
        step_s=measured.step_s,
        step_noise=0.0,
        day_wave=0.0,
        nodes=1,
        gpus_per_node=1,
        spare_nodes=len(timed) + 1,
        checkpoint_every=shrunk.every,
        checkpoint_blocking_s=measured.stall_s,
        checkpoint_write_s=measured.write_s,
        load_s=0.0,
        eval_s=max(measured.end_s - measured.write_s, 0.0),
        spikes_per_step=0.0,
        log_points=shrunk.steps,
        reliability=Reliability(
            node_rate=0.0,
            job_rate=0.0,
            maintenance_rate=0.0,
            slow_rate=0.0,
            evict_s=0.0,
            maintenance_s=0.0,
            init_fixed_s=measured.start_s,
            init_1024_s=0.0,
        ),
    )
    run = ClusterRun(scenario, Planned(scenario.reliability, timed))
    ended = {event.step: t for t, event in run.events() if isinstance(event, Step)}
    return _Simulated(ended, run.account.lost_steps, run.t)


class Planned(Incidents):
    """Incidents at given times: failures, and planned stops, which are given by their times alone."""

    def __init__(self, reliability: Reliability, timed: Iterable[Failure | float]) -> None:
        given = list(timed)
        self._left = sorted((each for each in given if isinstance(each, Failure)), key=lambda each: each.t)
        super().__init__(reliability, 1, 0)
        for each in given:
            if not isinstance(each, Failure):
                self._push(each, MAINTENANCE, 0)

    def take_failure(self) -> Failure | None:
        """Return the next failure that stops training."""
        taken = self.failure
        self.failure = self._left.pop(0) if self._left else None
        return taken

    @property
    def next_t(self) -> float:
        """Every step is logged, so it does not matter when the next incident happens."""
        return math.inf
