"""Going on with a run or a task that has ended or was interrupted."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from seedbed.actions import launching
from seedbed.actions.checks import refuse_unusable_data
from seedbed.config.directories import cache_dir
from seedbed.errors import SeedbedError, UsageError
from seedbed.files import is_locked
from seedbed.runs.caches import dataset_of
from seedbed.runs.control import Resume, Turn
from seedbed.runs.kinds import frozen_config, kind_of
from seedbed.runs.lookup import find_checkpoint
from seedbed.runs.resuming import Leaves, checked, leaves, refuse_nothing_to_do
from seedbed.runs.status import Standing, standing
from seedbed.runs.statuses import BUSY
from seedbed.runs.store import RunDir


def resume(
    run: RunDir, asked: Resume, turn: Turn | None = None, *, going_back: Callable[[Leaves], object] | None = None
) -> launching.Launch:
    """Start the run's job again from its newest checkpoint, or the one named, perhaps further than it meant to go.

    Nothing in config.toml changes: the job records the new horizon. `going_back` hears, before the job starts, what is
    left behind where it goes back. Raises SeedbedError where the run is alive (`go_on`
    is for one that is paused), UsageError where nothing is left to do or the amount makes no sense.
    """
    stands = standing(run)
    if stands.status == "broken":
        raise SeedbedError(stands.view.reason or f"{run.id} is broken.", stands.view.hint or "")
    if stands.status in ("pausing", "paused"):
        raise SeedbedError(
            f"{run.id} is {stands.status}: its job is alive, so it can only go on as it is.",
            f"`seedbed resume {run.id}` alone lets it go on; to change more, first `seedbed stop {run.id} --wait`.",
        )
    if stands.status in BUSY or is_locked(run.lock):
        raise launching.busy(run)
    if not kind_of(run).is_run:
        return _resume_task(run, asked, stands)
    asked = checked(asked)
    if asked.data is not None:
        _refuse_other_data(run, asked)
    if asked.from_checkpoint is not None:
        asked = asked._replace(from_checkpoint=str(find_checkpoint(run, asked.from_checkpoint)))
    refuse_nothing_to_do(run, asked, stands)
    left = leaves(run, asked, stands.view)
    if left is not None and going_back is not None:
        going_back(left)
    return launching.start(run, asked, turn)


def _resume_task(task: RunDir, asked: Resume, stands: Standing) -> launching.Launch:
    """Start a task's job again: it goes on with what is not done yet."""
    if asked != Resume():
        raise UsageError(
            f'"{task.id}" is a task, which has no steps or checkpoints.',
            f"`seedbed resume {task.id}` alone goes on with it.",
        )
    if stands.status == "completed":
        raise UsageError(f'"{task.id}" is finished.', "Start it anew to do it again.")
    return launching.start(task)


def _refuse_other_data(run: RunDir, asked: Resume) -> None:
    """Raise where a quick look shows that the source which a resume names is of no use, or not the run's text."""
    from seedbed.data.dataset_cache import refuse_different_text

    config = frozen_config(run)
    data = replace(config.data, source=asked.data or "", path=asked.data_path or "")
    refuse_unusable_data(replace(config, data=data))
    refuse_different_text(data, dataset_of(run), cache_dir())
