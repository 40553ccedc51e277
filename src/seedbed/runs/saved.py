"""The checkpoints of a run according to its log: the current ones, and the superseded ones.

Superseded are those of steps that a resume from an earlier step replaced.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from seedbed.events import Checkpoint
from seedbed.runs.validations import Validation

_KEPT_LEFT = 128


class Saved(msgspec.Struct, frozen=True):
    """A checkpoint that was written and not deleted. `loss` is the validation loss at its step, if it was validated."""

    step: int
    path: str
    best: bool = False
    loss: float | None = None
    full: bool = True
    folder: str = ""
    """The subfolder of `checkpoints/` to which the checkpoint was moved because it is superseded or damaged; "" if it
    was not."""

    @property
    def name(self) -> str:
        """The name of the checkpoint's folder, such as `step-00001000`."""
        return folder_name(self.path)


def folder_name(path: str) -> str:
    """The last part of a checkpoint's path (`step-00001000`), the only part that stays the same if a run is moved."""
    return path.rstrip("/").rpartition("/")[2]


def after_saving(
    event: Checkpoint, checkpoints: Sequence[Saved], left: Sequence[Saved], validation: Validation | None
) -> tuple[list[Saved], list[Saved]]:
    """Update the lists of current checkpoints (`checkpoints`) and superseded ones (`left`) after a checkpoint was written.

    `validation`: the validation at its step, if there was one.
    """
    deleted = {folder_name(path) for path in event.deleted}
    kept = [saved for saved in checkpoints if saved.name not in deleted and saved.step != event.step]
    deleted.add(folder_name(event.path))
    left = [saved for saved in left if saved.folder or saved.name not in deleted]
    if event.best:
        kept = [msgspec.structs.replace(saved, best=False) for saved in kept]
    loss, full = (validation.loss, validation.full) if validation else (None, True)
    return [*kept, Saved(event.step, event.path, event.best, loss, full)], left


def after_going_back(
    step: int, folder: str | None, checkpoints: Sequence[Saved], left: Sequence[Saved]
) -> tuple[list[Saved], list[Saved]]:
    """Update the lists of current checkpoints (`checkpoints`) and superseded ones (`left`) after a run went back to `step`.

    The checkpoints of later steps were moved into `folder`, if given.
    """
    left = [*left, *(saved for saved in checkpoints if saved.step > step)][-_KEPT_LEFT:]
    if folder:
        left = [saved if saved.folder else msgspec.structs.replace(saved, folder=folder) for saved in left]
    return [saved for saved in checkpoints if saved.step <= step], left
