"""The checkpoints of a run on disk: the current, superseded and damaged ones, and the best one.

    checkpoints/step-00000100/                                       current
    checkpoints/left-at-00000100-by-session-3/step-00000120/         superseded: session 3 went back to step 100
    checkpoints/damaged-found-by-session-4/step-00000140/            could not be loaded when session 4 began

The event log decides which checkpoints are current: a session that begins at step s supersedes the later steps of earlier
sessions and their checkpoints. The job moves superseded checkpoints to a folder of their own; it deletes none of them.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import NamedTuple

from seedbed.checkpoint.marker import TRAINER, is_marked, is_named, replaced_name, step_of
from seedbed.errors import SeedbedError
from seedbed.files import make_dir, publish_dir, read_json
from seedbed.runs.saved import Saved
from seedbed.runs.store import RunDir
from seedbed.runs.superseded import last_current_step
from seedbed.runs.validations import comparable
from seedbed.runs.view import View

_LEFT = re.compile(r"left-at-(\d+)-by-session-(\d+)")
_DAMAGED = re.compile(r"damaged-found-by-session-(\d+)")


class StoredCheckpoint(NamedTuple):
    """A finished checkpoint of a run: its step and its folder."""

    step: int
    path: Path


def checkpoints(run: RunDir, view: View) -> list[StoredCheckpoint]:
    """The finished checkpoints of a run that are not superseded, in ascending order of steps. No checksum is verified here."""
    return [found for found in _finished(run.checkpoints) if is_current(view, found.path)]


def is_current(view: View, path: Path) -> bool:
    """Whether the checkpoint in a folder is current: no resume from an earlier step has replaced (superseded) its step.

    After a crash or on a full disk, the log may lack a checkpoint. Then the session that wrote the checkpoint decides.
    """
    name = path.name if is_named(path) else replaced_name(path)
    if name is None:
        return False
    step = step_of(path)
    if any(saved.name == name for saved in view.checkpoints):
        return True
    session = _session_of(path)
    if session is not None:
        return view.reaches(session, step)
    return step <= view.step and all(saved.name != name for saved in view.left)


def latest_checkpoint(run: RunDir, view: View) -> StoredCheckpoint | None:
    """The newest checkpoint of a run that is not superseded; None if there is none."""
    found = checkpoints(run, view)
    return found[-1] if found else None


def best_checkpoint(run: RunDir, view: View) -> StoredCheckpoint | None:
    """The checkpoint with the lowest validation loss, even if it is superseded; None if no checkpoint was validated."""
    kept = [saved for saved in view.checkpoints if _exists(run, saved)]
    best = lowest([*kept, *left_with_loss(run, view)]) or next((saved for saved in reversed(kept) if saved.best), None)
    return StoredCheckpoint(best.step, _path(run, best)) if best else None


def lowest_loss(run: RunDir, view: View) -> float | None:
    """The validation loss of `best_checkpoint`; None if no checkpoint was validated."""
    best = lowest([*(saved for saved in view.checkpoints if _exists(run, saved)), *left_with_loss(run, view)])
    return best.loss if best else None


def left_with_loss(run: RunDir, view: View) -> list[Saved]:
    """The superseded checkpoints (of steps that a resume from an earlier step replaced) that still have their files.

    Damaged ones and those without a validation loss are omitted.
    """
    return [
        saved
        for saved in view.left
        if saved.loss is not None and not _DAMAGED.fullmatch(saved.folder) and _exists(run, saved)
    ]


def lowest(saved: list[Saved]) -> Saved | None:
    """The checkpoint in `saved` with the lowest validation loss; of several equal ones, the latest. None if none has a loss.

    Validations over a part of the text are compared with each other, validations over all of it only if there are no
    others.
    """
    scored = [each for each in saved if each.loss is not None]
    return min(
        reversed(comparable(scored)), key=lambda each: math.inf if each.loss is None else each.loss, default=None
    )


def superseded_checkpoints(run: RunDir) -> list[StoredCheckpoint]:
    """The superseded checkpoints (of steps that a resume from an earlier step replaced), by the session that did so."""
    return _in_folders(run, _LEFT)


def damaged(run: RunDir) -> list[StoredCheckpoint]:
    """The damaged checkpoints: a session could not load them, and moved them to a folder of their own."""
    return _in_folders(run, _DAMAGED)


def _in_folders(run: RunDir, named: re.Pattern[str]) -> list[StoredCheckpoint]:
    try:
        folders = [entry for entry in run.checkpoints.iterdir() if named.fullmatch(entry.name)]
    except OSError:
        return []
    folders.sort(key=lambda folder: int(folder.name.rpartition("-")[2]))
    return [found for folder in folders for found in _finished(folder)]


def common_step(view: View, path: Path) -> int | None:
    """The last step that a superseded checkpoint was trained from and that is still current; None for other checkpoints.

    Example: the run went back from step 140 to 100. For the superseded checkpoint of step 120, it is 100.
    """
    found = _LEFT.fullmatch(path.parent.name)
    if found is None:
        return None
    return last_current_step(view.begun, int(found[2]) - 1, min(int(found[1]), view.step))


def step_at(view: View, path: Path) -> int | None:
    """The last step that stays current if a session resumes from the checkpoint `path`; None if it is not a checkpoint.

    It is the checkpoint's step, or for a superseded checkpoint the result of `common_step`.
    """
    common = common_step(view, path)
    return step_of(path) if is_named(path) and common is None else common


def is_at_end(path: Path) -> bool:
    """Whether a checkpoint was saved after all planned steps and the last validation."""
    try:
        trainer = read_json(path / TRAINER)
        step, end = trainer["progress"]["step"], trainer["segments"][-1][1]
        return bool(step >= end and trainer["progress"]["last_eval_step"] == step)
    except (SeedbedError, KeyError, TypeError, IndexError):
        return False  # the job reports the problem


def superseded_folder_name(session: int, step: int, *, damaged: bool) -> str:
    """The name of the folder for the checkpoints that session `session` supersedes by going back to `step`.

    Example: `left-at-00000100-by-session-3`. If `damaged`, for the checkpoints that this session could not load.
    """
    return f"damaged-found-by-session-{session}" if damaged else f"left-at-{step:08d}-by-session-{session}"


def superseded_paths(run: RunDir, view: View, beyond: int | None = None) -> list[Path]:
    """The folders of finished checkpoints that are superseded, or whose step is later than `beyond`. Not verified."""
    try:
        entries = sorted(run.checkpoints.iterdir())
    except OSError:
        return []
    return [
        entry
        for entry in entries
        if is_named(entry)
        and is_marked(entry)
        and ((beyond is not None and step_of(entry) > beyond) or not is_current(view, entry))
    ]


def move_superseded(run: RunDir, paths: list[Path], name: str) -> None:
    """Move checkpoint folders into the subfolder `name` of `checkpoints/`. The caller must hold the run's lock."""
    for path in paths:
        folder = make_dir(run.checkpoints / name)
        target = folder / path.name
        if not target.exists():
            publish_dir(path, target)


def _finished(folder: Path) -> list[StoredCheckpoint]:
    try:
        entries = list(folder.iterdir())
    except OSError:
        return []
    return sorted(StoredCheckpoint(step_of(entry), entry) for entry in entries if is_named(entry) and is_marked(entry))


def _path(run: RunDir, saved: Saved) -> Path:
    return run.checkpoints / saved.folder / saved.name


def _exists(run: RunDir, saved: Saved) -> bool:
    return is_marked(_path(run, saved))


def _session_of(path: Path) -> int | None:
    """The session that wrote a checkpoint; None if the checkpoint does not record it."""
    try:
        trainer = read_json(path / TRAINER)
    except SeedbedError:
        return None
    session = trainer.get("session") if isinstance(trainer, dict) else None
    return session if isinstance(session, int) else None
