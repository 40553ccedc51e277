"""Predictions for a table of published runs, beside what was published."""

from __future__ import annotations

import statistics
from collections import Counter
from typing import Any, NamedTuple

from seedbed.simulate.constants import fitted_file
from seedbed.simulate.cost import step_cost
from seedbed.simulate.intervals import factor_of
from seedbed.simulate.memory import GIB, memory_of
from seedbed.simulate.published import Row


class Compared(NamedTuple):
    """One published run and its prediction."""

    row: Row
    tokens_per_s_per_gpu: float
    step_s: float
    factor: float
    memory_gib: float

    @property
    def error(self) -> float | None:
        """Relative error of the throughput: 0.1 is 10 % too fast. None if no speed is published."""
        published = self.row.tokens_per_s_per_gpu
        return self.tokens_per_s_per_gpu / published - 1 if published else None

    @property
    def memory_error(self) -> float | None:
        """Relative error of the memory; None if none is published."""
        return self.memory_gib / self.row.memory_gib - 1 if self.row.memory_gib else None

    @property
    def inside(self) -> bool | None:
        """Whether the published throughput lies in the 80 % interval."""
        published = self.row.tokens_per_s_per_gpu
        if not published:
            return None
        return self.tokens_per_s_per_gpu / self.factor <= published <= self.tokens_per_s_per_gpu * self.factor


def compare(rows: list[Row]) -> list[Compared]:
    """The prediction for each row, with the shipped constants."""
    spreads = fitted_file().spreads
    return [
        Compared(
            row,
            (cost := step_cost(row.setup)).tokens_per_s_per_gpu,
            cost.step_s,
            factor_of(row.setup, spreads, len(row.assumed)),
            memory_of(row.setup).reserved / GIB,
        )
        for row in rows
    ]


class Summary(NamedTuple):
    """Errors of a group of rows, as shares."""

    name: str
    rows: int
    median: float | None
    p90: float | None
    bias: float | None
    memory_rows: int
    memory_median: float | None


def summary(name: str, found: list[Compared]) -> Summary:
    """Median and 90th percentile of the absolute error, the median error, and the median error of the memory."""
    errors = [each.error for each in found if each.error is not None]
    held = [abs(each.memory_error) for each in found if each.memory_error is not None]
    return Summary(
        name,
        len(errors),
        statistics.median(map(abs, errors)) if errors else None,
        _percentile([abs(each) for each in errors], 0.9) if errors else None,
        statistics.median(errors) if errors else None,
        len(held),
        statistics.median(held) if held else None,
    )


def _percentile(values: list[float], share: float) -> float:
    """The percentile with linear interpolation between neighbours."""
    ordered = sorted(values)
    at = share * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (at - low) * (ordered[high] - ordered[low])


def summaries(found: list[Compared]) -> list[Summary]:
    """All rows together, then each source, largest first."""
    sources = Counter(each.row.source for each in found)
    return [summary("all", found)] + [
        summary(source, [each for each in found if each.row.source == source]) for source, _ in sources.most_common()
    ]


def as_json(found: list[Compared]) -> list[dict[str, Any]]:
    """One object for each row."""
    return [
        {
            "id": each.row.id,
            "source": each.row.source,
            "predicted_tokens_per_s_per_gpu": each.tokens_per_s_per_gpu,
            "predicted_step_s": each.step_s,
            "published_tokens_per_s_per_gpu": each.row.tokens_per_s_per_gpu,
            "error": each.error,
            "low": each.tokens_per_s_per_gpu / each.factor,
            "high": each.tokens_per_s_per_gpu * each.factor,
            "inside": each.inside,
            "predicted_memory_gib": each.memory_gib,
            "published_memory_gib": each.row.memory_gib,
            "assumed": list(each.row.assumed),
        }
        for each in found
    ]
