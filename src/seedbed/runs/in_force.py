"""Which steps of a run's log are in force. The rule stands here alone; every reader of a log asks it.

A session that begins to train at step s makes void what was logged of later steps before it: steps, validations,
samples, checkpoints. So does a step that is not beyond the last one. Nothing in the log is rewritten: readers leave out
what is void.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Change(Protocol):
    """The fields of a `run` event by which a session says where it begins."""

    @property
    def status(self) -> str | None: ...
    @property
    def step(self) -> int | None: ...
    @property
    def steps(self) -> int | None: ...


def begins_at(change: Change) -> int | None:
    """The step from which a session says that it trains on; None for a `run` event that says something else.

    What was logged of later steps before this event is void.
    """
    if change.status == "running" and change.steps is not None:
        return max(change.step or 0, 0)
    return None


def goes_back_to(step: int, last: int) -> int | None:
    """The last step in force where `step` is logged after step `last`; None where nothing becomes void."""
    return step - 1 if step <= last else None


def with_beginning(begun: Sequence[tuple[int, int]], session: int, step: int) -> list[tuple[int, int]]:
    """The beginnings (session, step) that decide what is in force, after one more; sessions and steps ascend.

    A beginning that a later session went back behind decides nothing, so few are kept.
    """
    return [each for each in begun if each[1] < step] + [(session, step)]


def last_in_force(begun: Sequence[tuple[int, int]], session: int, step: int) -> int:
    """The last step in force among the steps up to `step` that `session` took, or had taken over from earlier ones."""
    return min([step, *(start for later, start in begun if later > session)])
