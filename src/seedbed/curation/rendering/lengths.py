"""How many tokens the samples of a dataset have: quantiles and a histogram, by kind of record."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable

import msgspec

from seedbed.curation.drops import Drops
from seedbed.curation.record import Record
from seedbed.curation.rendering.renderer import Renderer

ALL = "all"
"""The name of all kinds together."""
EDGES = tuple(1 << power for power in range(4, 21))
"""The upper ends of the histogram's bins, in tokens: 16, 32, ... 1,048,576; longer samples are in a last bin."""
QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}


class LengthSummary(msgspec.Struct, kw_only=True, frozen=True):
    """The lengths of samples, in tokens."""

    samples: int
    tokens: int
    trained_tokens: int
    min: int
    p50: int
    p90: int
    p95: int
    p99: int
    max: int
    histogram: list[int]
    """How many samples are in each bin: at most EDGES[0] tokens, at most EDGES[1], ..., and more than the last edge."""

    @property
    def trained_share(self) -> float:
        """The share of tokens that the loss counts, 0 to 1."""
        return self.trained_tokens / self.tokens


class _Lengths:
    def __init__(self) -> None:
        self.lengths = array("I")
        self.trained = 0

    def summary(self) -> LengthSummary:
        values = sorted(self.lengths)
        histogram = [0] * (len(EDGES) + 1)
        for value in values:
            histogram[bisect_left(EDGES, value)] += 1
        return LengthSummary(
            samples=len(values),
            tokens=sum(values),
            trained_tokens=self.trained,
            min=values[0],
            max=values[-1],
            histogram=histogram,
            **{name: quantile(values, share) for name, share in QUANTILES.items()},
        )


def lengths(records: Iterable[Record], renderer: Renderer, drops: Drops) -> dict[str, LengthSummary]:
    """The lengths of the samples of records, by kind (chat, text, fim) and for all of them; {} if there is no sample.

    Memory: 8 bytes per sample. Use a renderer without `max_tokens` to see how long samples are before they are clipped.
    """
    found: dict[str, _Lengths] = {}
    for record, sample in renderer.samples(records, drops):
        for kind in (ALL, record.kind):
            each = found.setdefault(kind, _Lengths())
            each.lengths.append(len(sample.ids))
            each.trained += sample.trained.count(1)
    return {kind: each.summary() for kind, each in found.items()}


def quantile(values: list[int], share: float) -> int:
    """The smallest of the sorted values that at least this share of them does not exceed (the nearest-rank method)."""
    return values[max(0, -int(-share * len(values) // 1) - 1)]
