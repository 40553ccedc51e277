"""Rates that were measured on this machine: seconds of the operations of training by size, and their file format.

The operations are Seedbed's own, forward and backward, on a grid of sizes. Other sizes are interpolated.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated

import msgspec

VERSION = 4
Sizes = tuple[int, ...]
Positive = Annotated[float, msgspec.Meta(gt=0)]

_VALUES = (1 << 15, 1 << 18, 1 << 21, 1 << 23)


def _grid(*axes: Sequence[int]) -> tuple[Sizes, ...]:
    return tuple(itertools.product(*axes))


def _values(sizes: Sizes) -> float:
    return float(sizes[0])


def _scores(sizes: Sizes) -> float:
    return float(sizes[0]) * sizes[1] ** 2 * sizes[2]


_ATTENTION_GRID = tuple((max(8192 // t, 8), t, d) for t, d in _grid((64, 256, 512, 1024), (32, 64, 128)))


class Kind(msgspec.Struct, frozen=True):
    """A kind of operation: what its sizes mean, the work that its time grows with, and the sizes to measure.

    Between the sizes of the grid, the seconds for each unit of work are interpolated; outside, they stay as at its edge.
    """

    about: str
    work: Callable[[Sizes], float]
    grid: tuple[Sizes, ...]
    coordinates: Callable[[Sizes], tuple[float, ...]] = tuple
    """The numbers by which it is interpolated. What is not among them only counts in the work."""


KINDS: Mapping[str, Kind] = {
    "operation": Kind("one operation on a few numbers: its fixed cost", _values, ((1,),)),
    "matmul": Kind(
        "a linear layer (rows, inputs, outputs): the product, and both products of its backward pass",
        lambda sizes: 6.0 * math.prod(sizes),
        _grid((512, 2048, 8192), (64, 256, 1024), (64, 256, 1024)),
    ),
    "attention": Kind(
        "causal attention (sequences x heads, tokens, features of a head)",
        _scores,
        _ATTENTION_GRID,
        lambda sizes: sizes[1:],
    ),
    "masked attention": Kind(
        "attention that does not cross documents",
        _scores,
        _ATTENTION_GRID,
        lambda sizes: sizes[1:],
    ),
    "rms norm": Kind("RMSNorm (numbers)", _values, _grid(_VALUES)),
    "layer norm": Kind("LayerNorm (numbers)", _values, _grid(_VALUES)),
    "head norm": Kind("RMSNorm of each head (numbers)", _values, _grid(_VALUES)),
    "rotation": Kind("rotary positions (numbers)", _values, _grid(_VALUES)),
    "swiglu": Kind("SwiGLU (numbers after the gate)", _values, _grid(_VALUES)),
    "gelu": Kind("GELU (numbers)", _values, _grid(_VALUES)),
    "addition": Kind("a residual connection (numbers)", _values, _grid(_VALUES)),
    "memory pass": Kind("two numbers read and one written in one pass over memory (numbers)", _values, _grid(_VALUES)),
    "embedding": Kind("a lookup of rows of 256 numbers (numbers of rows and table)", _values, _grid((1 << 18, 1 << 21))),
    "loss": Kind(
        "output layer and cross entropy (tokens, vocabulary, inputs)",
        lambda sizes: 6.0 * math.prod(sizes),
        _grid((1024,), (1024, 4096, 16384), (64, 256, 1024)),
    ),
    "gradients": Kind(
        "gradients to fp32, their norm, and new weights to the working precision (weights)",
        _values,
        _grid((1 << 17, 1 << 20, 1 << 23)),
    ),
    "adamw": Kind("an AdamW update (weights)", _values, _grid((1 << 17, 1 << 20, 1 << 23))),
    "muon": Kind(
        "a Muon update (matrices, shorter side, longer side) with five iterations",
        lambda sizes: sizes[0] * 5.0 * (4.0 * sizes[1] ** 2 * sizes[2] + 2.0 * sizes[1] ** 3),
        tuple((max(2, 1024 // s), s, ratio * s) for s, ratio in _grid((64, 128, 256, 512), (1, 3))),
        lambda sizes: (sizes[1], sizes[2] / sizes[1]),
    ),
}  # fmt: skip
"""All kinds of operations that are measured."""

_BUSY_LOAD = 1.5
"""With so many running or waiting programs for each core, a measurement counts as disturbed."""


class Point(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The measured time of one operation: its sizes, and its seconds in each round."""

    sizes: tuple[Annotated[int, msgspec.Meta(ge=1)], ...]
    seconds: tuple[Positive, ...]
    scaled: bool = False
    """Whether it would have taken too long: its time is that of the nearest smaller size, in proportion to the work."""


class MachineRates(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was measured on a machine, in rounds over all operations, and under which conditions."""

    version: int
    name: str
    """Name of the processor or GPU."""
    device: str
    """cpu, cuda or mps."""
    threads: Annotated[int, msgspec.Meta(ge=1)]
    cores: Annotated[int, msgspec.Meta(ge=1)]
    """Cores of the processor that may be used."""
    precision: str
    torch: str
    compiler: bool
    """Whether torch.compile can work."""
    total_bytes: int
    """Memory of the device."""
    measured: float
    """When, in unix seconds."""
    elapsed_s: float
    load: float
    """Programs that were running or waiting to run, on average over the minute before."""
    points: dict[str, tuple[Point, ...]]

    def __post_init__(self) -> None:
        """Check that nothing is missing. Raises ValueError."""
        if self.version != VERSION:
            raise ValueError(f"version {self.version} is not {VERSION}")
        for kind in KINDS:
            if not self.points.get(kind):
                raise ValueError(f"points has no {kind!r}")
        lengths = {len(point.seconds) for points in self.points.values() for point in points}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError("all points need as many rounds")

    @property
    def is_disturbed(self) -> bool:
        """Whether other programs disturbed the measurement, so that it says little about an idle machine."""
        return self.load > _BUSY_LOAD * self.cores

    @property
    def rounds(self) -> int:
        """How often everything was measured."""
        return len(self.points["operation"][0].seconds)

    def seconds(self, kind: str, sizes: Sizes) -> tuple[float, ...]:
        """Seconds of an operation of any size, from each round; at least the fixed cost of one operation."""
        weights, work = _weights(self.points[kind], KINDS[kind], sizes), KINDS[kind].work
        found = []
        for i, least in enumerate(self.points["operation"][0].seconds):
            log = sum(weight * math.log(point.seconds[i] / work(point.sizes)) for point, weight in weights)
            found.append(max(math.exp(log) * work(sizes), least))
        return tuple(found)

    @property
    def best_matmul(self) -> float:
        """The highest rate of matmuls that was measured, in operations per second: the median of the rounds."""
        work = KINDS["matmul"].work
        return max(work(point.sizes) / sorted(point.seconds)[self.rounds // 2] for point in self.points["matmul"])


def _weights(points: Sequence[Point], kind: Kind, sizes: Sizes) -> list[tuple[Point, float]]:
    """The points around `sizes` with their weights, which add up to 1: linear in the logarithm of each coordinate."""
    at = {kind.coordinates(point.sizes): point for point in points}
    corners: list[tuple[tuple[float, ...], float]] = [((), 1.0)]
    for number, wanted in enumerate(kind.coordinates(sizes)):
        around = _between(sorted({key[number] for key in at}), wanted)
        corners = [((*key, each), weight * share) for key, weight in corners for each, share in around]
    return [(_nearest(at, key), weight) for key, weight in corners]


def _between(known: Sequence[float], size: float) -> list[tuple[float, float]]:
    """The known sizes below and above `size` with their shares; the nearest alone outside of the known ones."""
    if size <= known[0]:
        return [(known[0], 1.0)]
    if size >= known[-1]:
        return [(known[-1], 1.0)]
    above = next(each for each in known if each >= size)
    below = max(each for each in known if each <= size)
    if above == below:
        return [(above, 1.0)]
    share = math.log(size / below) / math.log(above / below)
    return [(below, 1.0 - share), (above, share)]


def _nearest(at: Mapping[tuple[float, ...], Point], key: tuple[float, ...]) -> Point:
    """The point with this key, or the nearest one if the grid is not complete."""
    if key in at:
        return at[key]
    return at[min(at, key=lambda other: _distance(other, key))]


def _distance(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    return sum(abs(math.log(a / b)) for a, b in zip(one, other, strict=True))


def nearest_smaller(kind: str, sizes: Sizes, known: Iterable[Sizes]) -> Sizes | None:
    """Of the sizes in `known` with less work than `sizes`, those that are nearest to them; None if there are none."""
    work, coordinates = KINDS[kind].work, KINDS[kind].coordinates
    smaller = [each for each in known if work(each) < work(sizes)]
    return min(smaller, key=lambda each: _distance(coordinates(each), coordinates(sizes)), default=None)


def decode(content: bytes) -> MachineRates:
    """Read a file of rates. Raises msgspec.MsgspecError for one that is damaged or of another version."""
    return msgspec.json.decode(content, type=MachineRates)
