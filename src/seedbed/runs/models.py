"""Finds the newest model of a run: its checkpoint, size, losses, and whether its files are complete."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from seedbed.checkpoint.marker import complaint, is_marked, marked_at
from seedbed.errors import SeedbedError
from seedbed.files import expand_home, normal_path
from seedbed.runs.checkpoints import checkpoints
from seedbed.runs.retention import tree_bytes
from seedbed.runs.statuses import BUSY
from seedbed.runs.store import RunDir, is_run
from seedbed.runs.view import View

_LOOKS = 5
"""How many times to look for the newest checkpoint if the job deletes the one that was found."""
READY, TRAINING, CORRUPTED = "ready", "training", "corrupted"


class Model(NamedTuple):
    """A run's newest checkpoint. `status` is ready, training (a process owns the run), or corrupted, with `reason`."""

    run: RunDir
    name: str
    status: str
    reason: str
    step: int
    epochs: float | None
    loss: float | None
    val_loss: float | None
    size_bytes: int
    """The size of all checkpoints of the run in bytes, including superseded and damaged ones."""
    trained: float
    """The time at which the newest checkpoint was finished, in unix seconds."""
    checkpoint: Path
    steps: tuple[int, ...]
    """The steps of all checkpoints that are not superseded."""
    archived: bool


def model_of(found: dict[str, Any], view: View) -> Model | None:
    """The newest model of a run; None before its first checkpoint. Never raises.

    `found` is the object of `seedbed status --json`, `view` the state of the run built from its events. File sizes are
    compared with those in the DONE file; checksums are not verified here.
    """
    if not found["checkpoint"]:
        return None
    run, path = RunDir(Path(found["path"])), Path(found["checkpoint"])
    step, there, reason = found["checkpoint_step"], checkpoints(run, view), complaint(path)
    for _ in range(_LOOKS):
        if not reason or is_marked(path) or not there:
            break
        # The job has deleted this checkpoint after saving a newer one.
        step, path = there[-1]
        there, reason = checkpoints(run, view), complaint(path)
    alive = found["status"] in BUSY
    per_epoch = found["epoch"] / found["step"] if found["epoch"] and found["step"] else None
    return Model(
        run,
        found["name"],
        CORRUPTED if reason else TRAINING if alive else READY,
        reason or "",
        step,
        step * per_epoch if per_epoch else None,
        found["loss"],
        found["best_val_loss"] if found["val_loss"] is None else found["val_loss"],
        tree_bytes(run.checkpoints),
        marked_at(path),
        path,
        tuple(each.step for each in there),
        found["archived"],
    )


def model_folder(path_text: str) -> Path | None:
    """The model folder that a path names: a checkpoint, another Hugging Face folder, or a weights file's folder; else None."""
    try:
        path = expand_home(path_text)
        folder = path.parent if path.suffix == ".safetensors" and path.is_file() else path
        if (folder / "config.json").is_file() and next(folder.glob("*.safetensors"), None):
            return normal_path(folder)
    except (OSError, ValueError, SeedbedError):  # unreadable, or not a valid path
        pass
    return None


def run_of(folder: Path) -> RunDir | None:
    """The run that a checkpoint folder (current, superseded or damaged) belongs to; None for other folders."""
    return next((RunDir(parent) for parent in list(folder.resolve().parents)[:4] if is_run(parent)), None)
