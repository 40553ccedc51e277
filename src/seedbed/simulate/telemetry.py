"""What a simulated cluster reports beside its steps: load, memory, temperature and power of its GPUs, and collectives."""

from __future__ import annotations

import math

from seedbed.events import Comm, Event, Hardware
from seedbed.simulate.counter_random import Stream
from seedbed.simulate.failures import DAY_S
from seedbed.simulate.scenario import Scenario

KELVIN_PER_W = 0.055
"""Rise of an air-cooled GPU's temperature per watt. Assumed."""
INTAKE_C = 28.0
"""Temperature of the intake air. Assumed."""
TRAINING_POWER = 0.9
"""Share of the span from idle to limit that a GPU draws in a step with an MFU of 0.45. Assumed; 550 to 690 of 700 W were
published for H100."""
WAITING_POWER = 0.15
"""The same share in a hung collective, which shows full utilisation (a wait in a loop). Assumed."""


def significant(value: float, digits: int = 6) -> float:
    """A number rounded to significant digits, so that a log line stays short."""
    return float(f"{value:.{digits}g}")


class Telemetry:
    """Makes the events about the cluster; each is a pure function of the seed, the step and the time."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._load = Stream(scenario.seed, "load")
        self._comm = Stream(scenario.seed, "collective")
        mfu = scenario.mfu(scenario.step_s)
        self._power = min(TRAINING_POWER * ((mfu or 0.4) / 0.45) ** 0.3, 1.0)

    def training(self, step: int, t: float) -> list[Event]:
        """The load of the GPUs and the collectives in one step."""
        noise = self._load.normal(step)
        busy = min(max(0.975 + 0.008 * noise, 0.9), 1.0)
        found: list[Event] = [self._hardware(busy, min(self._power + 0.01 * noise, 1.0), t)]
        for number, each in enumerate(self._scenario.collectives):
            factor = math.exp(0.05 * self._comm.normal(step * 16 + number))
            found.append(
                Comm(op=each.op, size_bytes=each.size_bytes, elapsed_s=significant(each.elapsed_s * factor), step=step)
            )
        return found

    def hanging(self, t: float) -> Hardware:
        """The load while a collective hangs: full utilisation at low power."""
        return self._hardware(1.0, WAITING_POWER, t)

    def idle(self, t: float) -> Hardware:
        """The load while the job restarts."""
        return self._hardware(0.0, 0.0, t)

    def _hardware(self, busy: float, power: float, t: float) -> Hardware:
        given = self._scenario
        watts = given.gpu_idle_w + power * (given.gpu_power_w - given.gpu_idle_w) if given.gpu_power_w else None
        celsius = None
        if watts is not None:
            celsius = round(INTAKE_C + KELVIN_PER_W * watts + 2 * math.sin(2 * math.pi * t / DAY_S), 1)
        return Hardware(
            gpu_fraction=round(busy, 3),
            gpu_used_bytes=(given.gpu_used_bytes if busy else 0) or None,
            gpu_total_bytes=given.gpu_memory_bytes or None,
            gpu_temperature_c=celsius,
            gpu_power_w=round(watts, 1) if watts is not None else None,
            gpu_count=given.gpus,
        )


def step_metrics(scenario: Scenario, event_s: float, goodput: float, failures: int) -> dict[str, float]:
    """The open metrics of a step that took `event_s` seconds."""
    found = {
        "samples_per_s": significant(scenario.sequences_per_step / event_s),
        "tokens_per_s_per_gpu": significant(scenario.tokens_per_step / event_s / scenario.gpus),
        "goodput": significant(goodput),
        "interruptions": float(failures),
    }
    mfu = scenario.mfu(event_s)
    return found if mfu is None else {"mfu": significant(mfu, 4), **found}
