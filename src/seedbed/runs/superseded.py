"""Decides which steps of a run's log are current, and which are superseded. Every reader of the log uses this rule.

A session that begins to train at step s supersedes everything logged before it for later steps: steps, validations,
samples and checkpoints. So does a step that does not come after the last logged step. The log is never rewritten:
readers skip what is superseded.
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

    Everything logged before this event for later steps is superseded.
    """
    if change.status == "running" and change.steps is not None:
        return max(change.step or 0, 0)
    return None


def goes_back_to(step: int, last: int) -> int | None:
    """The last step that stays current if `step` is logged after step `last`; None if nothing is superseded."""
    return step - 1 if step <= last else None


def with_beginning(begun: Sequence[tuple[int, int]], session: int, step: int) -> list[tuple[int, int]]:
    """Add a session's beginning to those that decide which steps are current: (session, step) pairs, both ascending.

    A beginning is dropped once a later session begins at the same step or an earlier one, so the list stays short.
    """
    return [each for each in begun if each[1] < step] + [(session, step)]


def last_current_step(begun: Sequence[tuple[int, int]], session: int, step: int) -> int:
    """The last current step among the steps up to `step` of `session`, including the steps that it resumed from."""
    return min([step, *(start for later, start in begun if later > session)])
