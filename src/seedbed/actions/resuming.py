"""Resumes a run or task that has ended or was interrupted."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from seedbed.actions import launching
from seedbed.actions.checks import refuse_unusable_data
from seedbed.config.directories import cache_dir
from seedbed.errors import SeedbedError, UsageError
from seedbed.locks import is_locked
from seedbed.runs.caches import dataset_of
from seedbed.runs.control import ResumeOptions, StartCondition
from seedbed.runs.kinds import frozen_config, kind_of
from seedbed.runs.lookup import find_checkpoint
from seedbed.runs.resuming import (
    Superseded,
    checked,
    refuse_for_simulated,
    refuse_nothing_to_do,
    replaced_plan,
    superseded_by,
)
from seedbed.runs.status import CurrentStatus, current_status
from seedbed.runs.statuses import BUSY
from seedbed.runs.store import RunDir


def resume(
    run: RunDir,
    request: ResumeOptions,
    turn: StartCondition | None = None,
    *,
    on_go_back: Callable[[Superseded], object] | None = None,
    on_replaced_plan: Callable[[str], object] | None = None,
) -> launching.Launch:
    """Start the run's job again from its newest checkpoint or the requested one, with more steps if requested.

    config.toml is not changed: the job records the new number of steps. Before the job starts, `on_go_back` is called
    with the steps and checkpoints that will be superseded if the run goes back to an earlier checkpoint, and
    `on_replaced_plan` with a sentence if added steps replace planned ones. Raises SeedbedError if the run's job is
    alive (use `unpause` for a paused run), UsageError if nothing is left to do or the number of steps is invalid.
    """
    current = current_status(run)
    if current.status == "broken":
        raise SeedbedError(current.view.reason or f'"{run.id}" is broken.', current.view.hint or "")
    if kind_of(run).simulated:
        refuse_for_simulated(run, request, current)
    if current.status in ("pausing", "paused"):
        raise SeedbedError(
            f'"{run.id}" is {current.status}: its job is alive, so it can only be resumed without options.',
            f"`seedbed resume {run.id}` resumes it; to change something, first `seedbed stop {run.id} --wait`.",
        )
    if current.status in BUSY or is_locked(run.lock):
        raise launching.busy_error(run)
    if not kind_of(run).is_run:
        return _resume_task(run, request, current)
    request = checked(request)
    if request.data is not None:
        _refuse_other_data(run, request)
    if request.from_checkpoint is not None:
        request = request._replace(from_checkpoint=str(find_checkpoint(run, request.from_checkpoint)))
    refuse_nothing_to_do(run, request, current)
    left = superseded_by(run, request, current.view)
    if left is not None and on_go_back is not None:
        on_go_back(left)
    replaced = replaced_plan(request, current)
    if replaced and on_replaced_plan is not None:
        on_replaced_plan(replaced)
    return launching.start(run, request, turn)


def _resume_task(task: RunDir, request: ResumeOptions, current: CurrentStatus) -> launching.Launch:
    """Start a task's job again; it continues with the unfinished work."""
    if request != ResumeOptions():
        raise UsageError(
            f'"{task.id}" is a task. It has no steps or checkpoints, so a resume takes no options.',
            f"Use `seedbed resume {task.id}` without options.",
        )
    if current.status == "completed":
        raise UsageError(f'"{task.id}" is completed: nothing is left to do.', "To do the work again, start a new task.")
    return launching.start(task)


def _refuse_other_data(run: RunDir, request: ResumeOptions) -> None:
    """Raise an error if a quick check shows that the requested data source is unusable or differs from the run's text."""
    from seedbed.data.dataset_cache import refuse_different_text

    config = frozen_config(run)
    data = replace(config.data, source=request.data or "", path=request.data_path or "")
    refuse_unusable_data(replace(config, data=data))
    refuse_different_text(data, dataset_of(run), cache_dir())
