"""Which checkpoints of a run are in force, which were left behind by going back, and which is the best. Knows no tensor.

    checkpoints/step-00000100/                                       in force
    checkpoints/left-at-00000100-by-session-3/step-00000120/         left behind: session 3 went back to step 100
    checkpoints/damaged-found-by-session-4/step-00000140/            could not be loaded when session 4 began

What is in force is decided by the event log: a session that begins at step s makes later steps of earlier sessions void,
and their checkpoints with them. The job then moves those out of the way; it deletes none of them.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import NamedTuple

from seedbed.checkpoint.marker import TRAINER, is_marked, is_named, replaced_name, step_of
from seedbed.errors import SeedbedError
from seedbed.files import make_dir, publish_dir, read_json
from seedbed.runs.in_force import last_in_force
from seedbed.runs.saved import Saved
from seedbed.runs.store import RunDir
from seedbed.runs.validations import comparable
from seedbed.runs.view import View

_LEFT = re.compile(r"left-at-(\d+)-by-session-(\d+)")
_DAMAGED = re.compile(r"damaged-found-by-session-(\d+)")


class OnDisk(NamedTuple):
    """A finished checkpoint folder."""

    step: int
    path: Path


def checkpoints(run: RunDir, view: View) -> list[OnDisk]:
    """Finished checkpoints in force, by step. Whether their bytes are whole is for who loads them to say."""
    return [found for found in _finished(run.checkpoints) if in_force(view, found.path)]


def in_force(view: View, path: Path) -> bool:
    """Whether a folder `step-N` of a run's checkpoints belongs to the steps in force.

    One that the log does not list (the machine went down before it was told, or the disk was full) counts by the session
    that wrote it.
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


def latest_checkpoint(run: RunDir, view: View) -> OnDisk | None:
    """The newest checkpoint in force."""
    there = checkpoints(run, view)
    return there[-1] if there else None


def best_checkpoint(run: RunDir, view: View) -> OnDisk | None:
    """The kept checkpoint of the lowest validation loss, those left behind included; None where none has one."""
    kept = [saved for saved in view.checkpoints if _is_there(run, saved)]
    best = lowest([*kept, *left_with_loss(run, view)]) or next((saved for saved in reversed(kept) if saved.best), None)
    return OnDisk(best.step, _place(run, best)) if best else None


def left_with_loss(run: RunDir, view: View) -> list[Saved]:
    """Checkpoints that were left behind, are there, and have a validation loss."""
    return [
        saved
        for saved in view.left
        if saved.loss is not None and not _DAMAGED.fullmatch(saved.folder) and _is_there(run, saved)
    ]


def lowest(saved: list[Saved]) -> Saved | None:
    """The one of the lowest validation loss, later ones first among equals; only like is compared with like.

    Validations over a part of the text are compared with each other; those over all of it only where there is no other.
    """
    scored = [each for each in saved if each.loss is not None]
    return min(
        reversed(comparable(scored)), key=lambda each: math.inf if each.loss is None else each.loss, default=None
    )


def left_behind(run: RunDir) -> list[OnDisk]:
    """Finished checkpoints that were set aside when a session went back, those left last coming last."""
    return _in_folders(run, _LEFT)


def damaged(run: RunDir) -> list[OnDisk]:
    """Checkpoints that were set aside because they could not be loaded."""
    return _in_folders(run, _DAMAGED)


def _in_folders(run: RunDir, named: re.Pattern[str]) -> list[OnDisk]:
    try:
        folders = [entry for entry in run.checkpoints.iterdir() if named.fullmatch(entry.name)]
    except OSError:
        return []
    folders.sort(key=lambda folder: int(folder.name.rpartition("-")[2]))
    return [found for folder in folders for found in _finished(folder)]


def common_step(view: View, path: Path) -> int | None:
    """The last step that the run's steps in force have in common with a checkpoint that was left behind; None for others."""
    found = _LEFT.fullmatch(path.parent.name)
    if found is None:
        return None
    return last_in_force(view.begun, int(found[2]) - 1, min(int(found[1]), view.step))


def step_at(view: View, path: Path) -> int | None:
    """The last step in force of a session that goes on from this checkpoint; None for a folder that is no checkpoint."""
    common = common_step(view, path)
    return step_of(path) if is_named(path) and common is None else common


def is_at_end(path: Path) -> bool:
    """Whether a checkpoint was saved when all steps that were planned were done, and their last validation with them."""
    try:
        trainer = read_json(path / TRAINER)
        step, end = trainer["progress"]["step"], trainer["segments"][-1][1]
        return bool(step >= end and trainer["progress"]["last_eval_step"] == step)
    except (SeedbedError, KeyError, TypeError, IndexError):
        return False  # for the job to say


def aside_name(session: int, step: int, *, damaged: bool) -> str:
    """The folder for what session number `session`, which begins at `step`, finds out of force."""
    return f"damaged-found-by-session-{session}" if damaged else f"left-at-{step:08d}-by-session-{session}"


def out_of_force(run: RunDir, view: View, beyond: int | None = None) -> list[Path]:
    """Marked checkpoint folders that are out of force; with `beyond`, also those of later steps. They are not checked."""
    try:
        entries = sorted(run.checkpoints.iterdir())
    except OSError:
        return []
    return [
        entry
        for entry in entries
        if is_named(entry)
        and is_marked(entry)
        and ((beyond is not None and step_of(entry) > beyond) or not in_force(view, entry))
    ]


def set_aside(run: RunDir, paths: list[Path], name: str) -> None:
    """Move checkpoint folders into a folder of this name beside them. Only the holder of the run's lock may do so."""
    for path in paths:
        folder = make_dir(run.checkpoints / name)
        place = folder / path.name
        if not place.exists():
            publish_dir(path, place)


def _finished(folder: Path) -> list[OnDisk]:
    try:
        entries = list(folder.iterdir())
    except OSError:
        return []
    return sorted(OnDisk(step_of(entry), entry) for entry in entries if is_named(entry) and is_marked(entry))


def _place(run: RunDir, saved: Saved) -> Path:
    return run.checkpoints / saved.folder / saved.name


def _is_there(run: RunDir, saved: Saved) -> bool:
    return is_marked(_place(run, saved))


def _session_of(path: Path) -> int | None:
    """The session that wrote a checkpoint, where it says so."""
    try:
        trainer = read_json(path / TRAINER)
    except SeedbedError:
        return None
    session = trainer.get("session") if isinstance(trainer, dict) else None
    return session if isinstance(session, int) else None
