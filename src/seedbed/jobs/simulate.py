"""The job of a simulated run: plays the events of the simulator into the run's log. Needs no torch.

A resume simulates the run again from its start, which takes seconds, and skips the events that are logged. So a run that
was stopped and resumed has the same events as one that was not. Its scenario was frozen when the run began, and each
event that is logged is compared with the one that is simulated now.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from seedbed.config.simulation import Simulation
from seedbed.errors import SeedbedError, UsageError
from seedbed.events import Record, Run, Step, decode, encode
from seedbed.optim.schedule import describe
from seedbed.runs.control import ResumeOptions
from seedbed.runs.kinds import command_like, frozen_config
from seedbed.runs.log import Reader
from seedbed.runs.session import Session
from seedbed.runs.store import RunDir
from seedbed.simulate.cluster_run import ClusterRun
from seedbed.simulate.configured import scenario_from
from seedbed.simulate.scenario import Scenario
from seedbed.simulate.scenario_file import NAME, freeze, read_frozen

_POLL_S = 0.04
"""Seconds between two looks at the requests, so that a stop takes effect within a tenth of a second."""
_SLICE_S = 0.02


class Played(NamedTuple):
    """What earlier sessions have logged of the simulation."""

    events: int = 0
    t: float = 0.0
    """The time of the last of them on the run's clock."""
    step: int = 0


def run(run_dir: Path, session: Session) -> str:
    """Simulate as `run_dir/config.toml` says; returns the final status."""
    if session.resume != ResumeOptions():
        raise UsageError(
            "A simulated run can only be resumed without options.",
            f"To simulate with other values: `{command_like(session.run)}`.",
        )
    session.poll_s = _POLL_S
    config = frozen_config(session.run)
    played = read_played(session.run)
    scenario = scenario_of(session.run, config, begins=not played.events)
    lr = describe(config.schedule, scenario.lr, played.step, scenario.steps)
    session.emit(first_event(scenario, session, played.step, lr), played.t)
    pace = Pace(config.playback.speed, played.t)
    logged = simulated_records(session.run)
    number = 0
    for number, (t, event) in enumerate(ClusterRun(scenario).events(), 1):
        if number <= played.events:
            _refuse_difference(next(logged), decode(encode(event, 0, t)), session.run)
            if session.stop_requested is not None:
                return "stopped"
            continue
        if not pace.wait(t, session):
            return "stopped"
        session.emit(event, t)
        blocked = session.blocked
        if blocked is not None and not session.wait_paused(blocked.reason, blocked.hint, session.can_write):
            return "stopped"
    if number < played.events:
        raise _different(next(logged), session.run)  # the log goes on where the simulation ends
    return "completed"


def scenario_of(run: RunDir, config: Simulation, *, begins: bool) -> Scenario:
    """The scenario of a run: frozen when the run `begins`, and read in later sessions.

    Runs of earlier versions have no such file: their scenario is made again from the config.
    """
    path = run.path / NAME
    frozen = read_frozen(path)
    if frozen is not None:
        return frozen
    found = scenario_from(config)
    return freeze(path, found) if begins else found


def first_event(scenario: Scenario, session: Session, step: int, schedule: str) -> Run:
    """The event with which a session begins to simulate."""
    return Run(
        status="running",
        session=session.number,
        step=step,
        steps=scenario.steps,
        simulated=True,
        device="simulated",
        device_name=f"{scenario.gpus:,} x {scenario.gpu}",
        nodes=scenario.nodes,
        precision=scenario.precision,
        parameters=scenario.parameters,
        tokens_per_step=scenario.tokens_per_step,
        steps_per_epoch=scenario.steps_per_epoch,
        eval_every=scenario.eval_every,
        eval_tokens=scenario.eval_tokens,
        validation_tokens=scenario.eval_tokens,
        checkpoint_every=scenario.interval_steps(),
        schedule=schedule,
    )


def read_played(run: RunDir) -> Played:
    """Count the simulated events in the log of a run."""
    played = Played()
    for record in simulated_records(run):
        step = record.event.step if isinstance(record.event, Step) else played.step
        played = Played(played.events + 1, record.t, step)
    return played


def simulated_records(run: RunDir) -> Iterator[Record]:
    """The simulated events in the log of a run. Events of the kind `run` belong to the sessions, not to them."""
    return (record for record in Reader(run.events).new() if record.kind != Run.kind)


class Pace:
    """Lets the run's clock pass at `speed` simulated seconds per second; 0: as fast as possible."""

    def __init__(self, speed: float, t: float) -> None:
        self._speed, self._t = speed, t
        self._began_s = time.monotonic()

    def wait(self, t: float, session: Session) -> bool:
        """Wait until the run's clock shows `t`, and while a pause is requested. Returns False if a stop is requested."""
        while session.stop_requested is None:
            if session.pause_requested:
                begun_s = time.monotonic()
                if not session.wait_paused("asked to pause"):
                    return False
                self._began_s += time.monotonic() - begun_s
            due_s = self._began_s + (t - self._t) / self._speed if self._speed else 0.0
            left_s = due_s - time.monotonic()
            if left_s <= 0:
                return True
            time.sleep(min(left_s, _SLICE_S))
        return False


def _refuse_difference(logged: Record, again: Record | None, run: RunDir) -> None:
    """Raise SeedbedError if a logged event is not the one that is simulated now."""
    if again is None or (logged.t, logged.kind, logged.raw) != (again.t, again.kind, again.raw):
        raise _different(logged, run)


def _different(logged: Record, run: RunDir) -> SeedbedError:
    return SeedbedError(
        f"This version of Seedbed simulates this run differently (from event {logged.n} in its log), so it cannot be"
        " continued.",
        f"Simulate it again: `{command_like(run)}`.",
    )
