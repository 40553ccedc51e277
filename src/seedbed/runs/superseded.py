"""Decides which steps of a run's log are current, and which are superseded. Every reader of the log uses this rule.

A session that begins to train at step s supersedes everything logged before it for later steps: steps, validations,
samples and checkpoints. So does a step that does not come after the last logged step. The log is never rewritten:
readers skip what is superseded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Change(Protocol):
    """The fields of a `run` event that say where a session begins to train (a Protocol)."""

    @property
    def status(self) -> str | None: ...
    @property
    def step(self) -> int | None: ...
    @property
    def steps(self) -> int | None: ...


def begins_at(change: Change) -> int | None:
    """The step at which a session begins to train, if `change` is the `run` event that says so; else None.

    Everything logged before this event for later steps is superseded.
    """
    if change.status == "running" and change.steps is not None:
        return max(change.step or 0, 0)
    return None


def goes_back_to(step: int, last: int) -> int | None:
    """The last step that stays current if `step` is logged after step `last`; None if that supersedes nothing."""
    return step - 1 if step <= last else None


def with_beginning(begun: Sequence[tuple[int, int]], session: int, step: int) -> list[tuple[int, int]]:
    """Add the beginning of a session to `begun`: pairs (session, step) that decide which steps are current.

    Both numbers ascend. A beginning is dropped once a later session begins at the same step or an earlier one, so the
    list stays short.
    """
    return [each for each in begun if each[1] < step] + [(session, step)]


def last_current_step(begun: Sequence[tuple[int, int]], session: int, step: int) -> int:
    """The last step that is still current of those up to `step` that `session` trained or resumed from.

    `begun`: the result of `with_beginning` for the sessions so far.
    """
    return min([step, *(start for later, start in begun if later > session)])
