"""A dataset as text: what a task has made, in a few lines."""

from __future__ import annotations

from seedbed.curation.folder import describe
from seedbed.curation.result import sentences
from seedbed.errors import SeedbedError
from seedbed.runs.store import RunDir
from seedbed.runs.tasks import output_of


def summary(task: RunDir, width: int) -> list[str]:
    """What the task has made, as lines. Raises SeedbedError if its dataset cannot be read."""
    output = output_of(task)
    if output is None:
        raise SeedbedError("The task does not say where its dataset is.", f"Look at {task.path}.")
    return sentences(describe(output))
