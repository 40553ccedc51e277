"""Decides which steps of a run's log are in force; every reader of the log uses this rule.

A session that begins to train at step s voids everything logged before it for later steps: steps, validations, samples and
checkpoints. A step that is not after the last one does the same. The log is never rewritten: readers skip what is void.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Change(Protocol):
    """The fields of a `run` event that say where a session begins."""

    @property
    def status(self) -> str | None: ...
    @property
    def step(self) -> int | None: ...
    @property
    def steps(self) -> int | None: ...


def begins_at(change: Change) -> int | None:
    """The step at which a session begins to train, from its `run` event; None for other `run` events.

    Everything logged before this event for later steps is void.
    """
    if change.status == "running" and change.steps is not None:
        return max(change.step or 0, 0)
    return None


def goes_back_to(step: int, last: int) -> int | None:
    """The last step that stays in force if `step` is logged after step `last`; None if nothing becomes void."""
    return step - 1 if step <= last else None


def with_beginning(begun: Sequence[tuple[int, int]], session: int, step: int) -> list[tuple[int, int]]:
    """The beginnings (session, step) that decide what is in force, after adding one; sessions and steps ascend.

    A beginning is dropped once a later session begins before it, so the list stays short.
    """
    return [each for each in begun if each[1] < step] + [(session, step)]


def last_in_force(begun: Sequence[tuple[int, int]], session: int, step: int) -> int:
    """The last step that is in force among the steps up to `step` of `session`, including those it resumed from."""
    return min([step, *(start for later, start in begun if later > session)])
