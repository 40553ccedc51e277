"""Validations of a run: which of them can be compared, and which is the best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, TypeVar

import msgspec

from seedbed.events import Eval

_KEPT = 128


class Validation(msgspec.Struct, frozen=True):
    """A validation: its step and mean loss in nats per token. `full`: whether all of the validation text was evaluated."""

    step: int
    loss: float
    full: bool = True


class _Scored(Protocol):
    @property
    def full(self) -> bool: ...


Scored = TypeVar("Scored", bound=_Scored)


def comparable(found: Sequence[Scored]) -> list[Scored]:
    """The validations of `found` that can be compared: those over a part of the text if there are any, else all."""
    return [each for each in found if not each.full] or list(found)


class Validations(msgspec.Struct, omit_defaults=True):
    """The latest validations of a run that are not superseded, in bounded number."""

    compared: list[Validation] = []
    """The validations that can be compared with each other, in ascending order of steps."""
    best: list[Validation] = []
    """The validations in `compared` whose loss was lower than that of all earlier ones."""
    final: Validation | None = None
    """The last validation over all of the text, if the other validations evaluated only a part of it."""

    before: Validation | None = None
    """The validation before the first step, of a run that trains on from a model; it is not among `compared`."""

    @property
    def last(self) -> Validation | None:
        """The newest validation that can be compared with others; None before the first."""
        return self.compared[-1] if self.compared else None

    def add(self, event: Eval) -> None:
        """Add a validation; one whose loss is not finite is ignored."""
        if not math.isfinite(event.loss):
            return
        one = Validation(event.step, event.loss, event.full)
        if one.step == 0:
            self.before = one
            return
        if one.full and any(not each.full for each in self.compared):
            self.final = one
            return
        if not one.full and any(each.full for each in self.compared):
            self.final, self.compared, self.best = self.compared[-1], [], []
        self.compared = [*(each for each in self.compared if each.step != one.step), one][-_KEPT:]
        if not self.best or one.loss < self.best[-1].loss:
            self.best = [*self.best, one][-_KEPT:]

    def drop_after(self, step: int) -> None:
        """Drop the validations of steps after `step`."""
        self.compared = [each for each in self.compared if each.step <= step]
        self.best = [each for each in self.best if each.step <= step]
        if self.final is not None and self.final.step > step:
            self.final = None

    def at(self, step: int) -> Validation | None:
        """The validation at `step`; None if there is none."""
        return next((each for each in reversed(self.compared) if each.step == step), None)
