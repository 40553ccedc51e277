"""The checkpoints of a simulated run: which are complete, which are kept, and which of them get an event."""

from __future__ import annotations

from typing import NamedTuple

from seedbed.events import Checkpoint

MOST_EVENTS = 500
"""Checkpoints of a run that get an event, besides those next to incidents."""


class Saved(NamedTuple):
    """A checkpoint: its step, when it is complete on storage, and the training time of the run up to it."""

    step: int
    complete_at: float
    training_s: float


class Saves:
    """The checkpoints on storage; the start of the run counts as the checkpoint of step 0."""

    def __init__(self, keep_last: int, planned: int) -> None:
        self._keep = max(keep_last, 1)
        self._kept = [Saved(0, 0.0, 0.0)]
        self._every = max(planned // MOST_EVENTS, 1)
        self._count = 0
        self._announced: list[Checkpoint] = []
        self._waiting: list[tuple[float, Checkpoint]] = []
        """Events of checkpoints that are being written, by the time at which they will be complete."""

    def add(self, saved: Saved, event: Checkpoint, now: float, *, announce: bool) -> None:
        """Record a checkpoint that will be complete at `saved.complete_at`. With `announce` it surely gets an event."""
        self._kept.append(saved)
        complete = [each for each in self._kept if each.complete_at <= now]
        self._kept = complete[-self._keep :] + self._kept[len(complete) :]
        self._count += 1
        if announce or self._count % self._every == 0:
            self._waiting.append((saved.complete_at, event))

    def completed(self, t: float) -> list[tuple[float, Checkpoint]]:
        """The events of checkpoints that were completed by `t`, each once. They name the checkpoints that were deleted."""
        done = [each for each in self._waiting if each[0] <= t]
        self._waiting = self._waiting[len(done) :]
        found = []
        for at, event in done:
            self._announced.append(event)
            old, self._announced = self._announced[: -self._keep], self._announced[-self._keep :]
            paths = tuple(each.path for each in old)
            fields = {name: getattr(event, name) for name in event.__struct_fields__}
            found.append((at, Checkpoint(**(fields | {"deleted": paths}))))
        return found

    def newest(self, t: float, before: int | None = None) -> Saved:
        """The newest checkpoint that is complete at `t`, of a step below `before`; if there is none, the oldest."""
        found = [each for each in self._kept if each.complete_at <= t and (before is None or each.step < before)]
        return found[-1] if found else self._kept[0]

    def abandon(self, t: float) -> None:
        """Forget the checkpoints that a failure at `t` has left incomplete."""
        self._kept = [each for each in self._kept if each.complete_at <= t]
        self._waiting = [each for each in self._waiting if each[0] <= t]

    def go_back(self, step: int) -> None:
        """Forget the checkpoints of later steps."""
        self._kept = [each for each in self._kept if each.step <= step]
        self._announced = [each for each in self._announced if each.step <= step]
