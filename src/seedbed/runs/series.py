"""The curves of a run: losses over steps, in bounded memory whatever its length. Knows not how they are drawn."""

from __future__ import annotations

import math

from seedbed import events
from seedbed.chart import Line
from seedbed.events import Record
from seedbed.runs.log import Reader
from seedbed.runs.store import RunDir

_MOST_BUCKETS = 2048


class Bucket:
    """Neighbouring steps taken together: how many, their mean, lowest and highest loss."""

    __slots__ = ("first", "high", "last", "low", "num", "total")

    def __init__(self, step: int, loss: float) -> None:
        self.first = self.last = step
        self.num, self.total, self.low, self.high = 1, loss, loss, loss

    def add(self, step: int, loss: float) -> None:
        """Take one more step in."""
        self.last = step
        self.num += 1
        self.total += loss
        self.low, self.high = min(self.low, loss), max(self.high, loss)

    def merge(self, other: Bucket) -> None:
        """Take the next bucket in."""
        self.last = other.last
        self.num += other.num
        self.total += other.total
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)


class Series:
    """Training and validation losses, folded record by record; steps that a later session voids are dropped.

    A bucket holds `width` steps; when there are too many buckets, neighbours merge and the width doubles.
    """

    def __init__(self) -> None:
        self.width = 1
        self.buckets: list[Bucket] = []
        self.scores: list[tuple[int, float]] = []

    def add(self, record: Record) -> None:
        """Fold one record in."""
        event = record.event
        if isinstance(event, events.Step):
            if math.isfinite(event.loss):
                self._step(event.step, event.loss)
        elif isinstance(event, events.Eval):
            if math.isfinite(event.loss):
                self.scores.append((event.step, event.loss))
        elif isinstance(event, events.Run) and event.status == "running" and event.steps is not None:
            self.buckets = [bucket for bucket in self.buckets if bucket.first <= event.step]
            self.scores = [score for score in self.scores if score[0] <= event.step]

    def _step(self, step: int, loss: float) -> None:
        if self.buckets and step // self.width == self.buckets[-1].first // self.width:
            self.buckets[-1].add(step, loss)
            return
        self.buckets.append(Bucket(step, loss))
        if len(self.buckets) > _MOST_BUCKETS:
            self.width *= 2
            merged: list[Bucket] = []
            for bucket in self.buckets:
                if merged and merged[-1].first // self.width == bucket.first // self.width:
                    merged[-1].merge(bucket)
                else:
                    merged.append(bucket)
            self.buckets = merged

    def lines(self, smoothed: int = 0) -> list[Line]:
        """The curves as lines to draw: training with its spread, then validation; those without points are left out.

        `smoothed` > 0 gathers the training curve into at most about that many points.
        """
        groups = [[bucket] for bucket in self.buckets]
        if smoothed and len(groups) > smoothed:
            size = math.ceil(len(groups) / smoothed)
            groups = [self.buckets[start : start + size] for start in range(0, len(self.buckets), size)]
        lines = []
        if groups:
            lines.append(
                Line(
                    "training loss",
                    [(group[0].first + group[-1].last) / 2 for group in groups],
                    [sum(b.total for b in group) / sum(b.num for b in group) for group in groups],
                    [min(b.low for b in group) for group in groups],
                    [max(b.high for b in group) for group in groups],
                )
            )
        if self.scores:
            lines.append(Line("validation loss", [step for step, _ in self.scores], [loss for _, loss in self.scores]))
        return lines


def read_series(run: RunDir) -> Series:
    """The curves of everything that a run has logged."""
    series = Series()
    for record in Reader(run.events).new():
        series.add(record)
    return series
