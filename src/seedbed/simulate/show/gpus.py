"""The load of each single GPU of the show: near the mean of the cluster, and no two alike.

All values are pure functions of the seed, the GPU and the time of the show. The heat of a GPU follows its power with two
lags, which run on the clock of the show, so that a viewer sees them; all constants of this file are assumed.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from seedbed.events import Hardware
from seedbed.simulate.counter_random import Stream
from seedbed.simulate.scenario import Scenario
from seedbed.simulate.show.items import GpuRow, GpuTable
from seedbed.simulate.telemetry import INTAKE_C, KELVIN_PER_W

SHOWN_NODES = 2
"""Nodes of the table whose GPUs are listed one by one."""
_LAGS = ((3.0, 0.6), (25.0, 0.4))
"""Seconds and share of the two lags of the temperature: the chip and its heat sink."""
_MOST_RISE_C = 45.0
_REAR_C, _OFFSET_C = 5.0, 2.0
"""How much hotter the GPUs in the rear of a server are, and the spread of single ones."""
_CONTEXT_BYTES = 600 << 20
"""Memory of an idle GPU whose process runs."""
_MEMORY_SPREAD = 300 << 20
"""Bytes by which the memory of single GPUs differs."""
_NOISE_SIZE = 2048
_MOST_SAMPLED = 255
"""GPUs from which the means of a large cluster are computed."""
_TICKS_PER_S = 2


class GpuValues(NamedTuple):
    """The load of one GPU: utilisation from 0 to 1, bytes, degrees Celsius, watts."""

    fraction: float
    used_bytes: int
    celsius: float
    watts: float


class _Kind(NamedTuple):
    """How one GPU differs from the mean."""

    celsius: float
    watts: float
    used_bytes: float


class GpuLoads:
    """The load of every GPU of a cluster. Tell it of each `Hardware` event; then ask for GPUs at that time or later."""

    def __init__(self, scenario: Scenario, pipeline_stages: int = 1) -> None:
        self.gpus, self.per_node = scenario.gpus, scenario.gpus_per_node
        self.total_bytes = scenario.gpu_memory_bytes
        self.limit_w, self._idle_w = scenario.gpu_power_w or 400.0, scenario.gpu_idle_w
        self._stages = pipeline_stages
        self._differences = Stream(scenario.seed, "GPU")
        noise = Stream(scenario.seed, "GPU noise")
        self._noise = [noise.normal(number) for number in range(_NOISE_SIZE)]
        self._kinds: dict[int, _Kind] = {}
        self._fraction, self._used, self._watts = 0.0, float(_CONTEXT_BYTES), self._idle_w
        self._at_s = 0.0
        self._heat = [self._idle_w] * len(_LAGS)
        """The power that each lag has reached, in watts."""

    def hear(self, at_s: float, hardware: Hardware) -> None:
        """Take over the mean load of the cluster from `at_s` on."""
        self._heat = self._heat_at(at_s)
        self._at_s = at_s
        self._fraction = hardware.gpu_fraction or 0.0
        self._used = float(hardware.gpu_used_bytes or _CONTEXT_BYTES)
        self._watts = hardware.gpu_power_w if hardware.gpu_power_w is not None else self._idle_w

    def gpu(self, number: int, at_s: float) -> GpuValues:
        """The load of one GPU."""
        return self.many((number,), at_s)[0]

    def many(self, numbers: tuple[int, ...] | range, at_s: float) -> list[GpuValues]:
        """The load of several GPUs at one time."""
        tick = int(at_s * _TICKS_PER_S)
        heat_w = sum(share * watts for (_, share), watts in zip(_LAGS, self._heat_at(at_s), strict=True))
        warm_c = INTAKE_C + min(KELVIN_PER_W, _MOST_RISE_C / self.limit_w) * heat_w
        noise, kinds, fraction, watts = self._noise, self._kinds, self._fraction, self._watts
        used = min(self._used, 0.99 * self.total_bytes - _MEMORY_SPREAD) if self.total_bytes else self._used
        differs = 1.0 if used > _CONTEXT_BYTES else 0.05
        spread = 0.02 * min(fraction, 1.0) if fraction < 1 else 0.0
        found = []
        for number in numbers:
            kind = kinds.get(number) or self._kind(number)
            wave = noise[(number * 613 + tick * 1721) % _NOISE_SIZE]
            found.append(
                GpuValues(
                    min(max(fraction + spread * (wave - 0.5), 0.0), 1.0),
                    int(used + kind.used_bytes * differs),
                    warm_c + kind.celsius + 0.3 * wave,
                    min(max(watts * kind.watts + 4 * fraction * wave, 0.5 * self._idle_w), self.limit_w),
                )
            )
        return found

    def table(self, at_s: float) -> GpuTable:
        """The GPUs of the first nodes, and the means of the others."""
        shown = min(self.gpus, SHOWN_NODES * self.per_node)
        rows = tuple(self._row(number, each) for number, each in enumerate(self.many(range(shown), at_s)))
        sampled = range(shown, self.gpus, max((self.gpus - shown) // _MOST_SAMPLED, 1))
        others = self.many(sampled, at_s)
        rest = None
        if others:
            means = [sum(values) / len(others) for values in zip(*others, strict=True)]
            rest = GpuRow(-1, -1, means[0], round(means[1]), self.total_bytes, means[2], means[3])
        nodes = -(-self.gpus // self.per_node) - -(-shown // self.per_node)
        return GpuTable(rows=rows, rest=rest, rest_nodes=nodes, rest_gpus=self.gpus - shown)

    def _row(self, number: int, values: GpuValues) -> GpuRow:
        node, gpu = divmod(number, self.per_node)
        return GpuRow(node, gpu, values.fraction, values.used_bytes, self.total_bytes, values.celsius, values.watts)

    def _heat_at(self, at_s: float) -> list[float]:
        passed = max(at_s - self._at_s, 0.0)
        return [
            self._watts + (reached - self._watts) * math.exp(-passed / lag)
            for (lag, _), reached in zip(_LAGS, self._heat, strict=True)
        ]

    def _kind(self, number: int) -> _Kind:
        draw = self._differences
        rear = number % self.per_node >= self.per_node / 2 and self.per_node > 1
        celsius = (_REAR_C if rear else 0.0) + _OFFSET_C * max(min(draw.normal(3 * number), 2.5), -2.5)
        stage = number * self._stages // self.gpus if self._stages > 1 else 0
        used = draw.uniform(3 * number + 1) * _MEMORY_SPREAD - 0.01 * stage * self.total_bytes
        kind = _Kind(celsius, 1 + 0.02 * draw.normal(3 * number + 2), used)
        self._kinds[number] = kind
        return kind
