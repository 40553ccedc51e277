"""Checks a resume before its job starts: whether there is anything to do, and which steps it would supersede."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from seedbed.config.keys import keys
from seedbed.config.paths import located
from seedbed.config.roots import TRAIN
from seedbed.errors import UsageError
from seedbed.runs.checkpoints import checkpoints, is_at_end, step_at
from seedbed.runs.control import ResumeOptions
from seedbed.runs.kinds import command_like
from seedbed.runs.status import CurrentStatus
from seedbed.runs.store import RunDir
from seedbed.runs.summary import why_early
from seedbed.runs.view import View


def checked(asked: ResumeOptions) -> ResumeOptions:
    """Check the options of a resume, and return them with absolute paths.

    Raises UsageError for an invalid number of steps or validations.
    """
    for amount, option in ((asked.more_steps, "--more-steps"), (asked.more_epochs, "--more-epochs")):
        if amount is not None and not 0 < amount < float("inf"):
            raise UsageError(f"{option} {amount} adds nothing.", "Give a number above 0.")
    if asked.early_stop is not None and asked.early_stop < 0:
        raise UsageError(
            f"--early-stop {asked.early_stop} is not a number of validations.", "Give 0 or more; 0 means never."
        )
    if asked.data_path is not None:
        asked = asked._replace(data_path=located(keys(TRAIN)["data.path"], asked.data_path, Path.cwd()))
    if asked.data is not None:
        asked = asked._replace(data=located(keys(TRAIN)["data.source"], asked.data.strip(), Path.cwd()))
    return asked


def refuse_for_simulated(run: RunDir, asked: ResumeOptions, current: CurrentStatus) -> None:
    """Raise UsageError for a simulated run if it is completed, or if a resume has options: it has no weights to go on with."""
    again = f"To simulate with other values: `{command_like(run)}`."
    if asked != ResumeOptions():
        raise UsageError(f'"{run.id}" is simulated: it can only be resumed without options.', again)
    if current.status == "completed":
        raise UsageError(f'"{run.id}" is completed: all of its {current.view.step} steps are simulated.', again)


def refuse_nothing_to_do(run: RunDir, asked: ResumeOptions, current: CurrentStatus) -> None:
    """Raise UsageError if a resume with these options would find no step to train, or no checkpoint to add steps to."""
    view, more = current.view, "add --more-epochs N or --more-steps N"
    if asked.more_steps is not None or asked.more_epochs is not None:
        if asked.from_checkpoint is None and not checkpoints(run, view):
            raise UsageError(
                f'"{run.id}" has not saved a checkpoint to which steps could be added.',
                f"`seedbed resume {run.id}` without options trains the planned steps.",
            )
    elif asked.from_checkpoint is not None:
        path = Path(asked.from_checkpoint)
        if is_at_end(path):
            raise UsageError(
                f'Nothing is left to train: "{path.name}" of "{run.id}" was saved after the last planned step.',
                f"To train further, {more}.",
            )
    elif current.status == "completed" and (view.steps is None or view.step >= view.steps):
        every = "its only step" if view.steps == 1 else f"all of its {view.steps} steps"
        raise UsageError(f'"{run.id}" is completed: it has trained {every}.', f"To train further, {more}.")
    elif current.status == "completed" and asked.early_stop is None:
        raise UsageError(
            f'"{run.id}" ended at step {view.step} of {view.steps}. {why_early(view)}',
            f"`seedbed resume {run.id} --early-stop 0` continues to step {view.steps}; --more-steps N trains N steps"
            f" from step {view.step}.",
        )


def replaced_plan(asked: ResumeOptions, current: CurrentStatus) -> str:
    """A sentence that says that added steps replace the rest of an unfinished plan; "" if no planned step is dropped."""
    view = current.view
    extends = asked.more_steps is not None or asked.more_epochs is not None
    if not extends or current.status == "completed" or view.steps is None or view.step >= view.steps:
        return ""
    return (
        f"The added steps replace the planned ones: the run was to end at step {view.steps}, and it is at step {view.step}."
        " Resume without adding steps to train the planned ones."
    )


class Superseded(NamedTuple):
    """The steps and checkpoints that a resume from an earlier checkpoint supersedes: they stay stored, but no longer count."""

    step: int
    """The step from which the run continues."""
    last_step: int
    """The last step that the run has trained."""
    saved: list[int]
    """The steps of the superseded checkpoints, which are moved, not deleted."""


def superseded_by(run: RunDir, asked: ResumeOptions, view: View) -> Superseded | None:
    """The steps and checkpoints that a resume from the checkpoint at the path `asked.from_checkpoint` supersedes, or None."""
    step = step_at(view, Path(asked.from_checkpoint)) if asked.from_checkpoint is not None else None
    if step is None or step >= view.step:
        return None
    return Superseded(step, view.step, [found.step for found in checkpoints(run, view) if found.step > step])
