"""Finds checkpoints, and reads a checkpoint's trainer state for a resume. Reads no tensors, so it needs no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from seedbed.checkpoint.marker import (
    OPTIMIZER,
    TRAINER,
    complaint,
    is_named,
    read_marker,
    replaced_name,
    step_of,
    verify,
)
from seedbed.errors import SeedbedError
from seedbed.files import explained


class Found(NamedTuple):
    """The valid checkpoints in a folder, in ascending order of steps, and the invalid ones, each with the reason."""

    good: list[Path]
    skipped: list[tuple[Path, str]]


class Loaded(NamedTuple):
    """A verified checkpoint.

    `weights` and `optimizer` are the paths of its safetensors files; `trainer` is the parsed trainer.json.
    """

    path: Path
    step: int
    trainer: dict[str, Any]
    weights: Path
    optimizer: Path


def find(folder: Path) -> Found:
    """Find the valid checkpoints in a folder, in ascending order of steps, and the invalid ones, each with the reason.

    Checks only DONE files and file sizes; `marker.verify` also compares checksums.
    """
    good: dict[int, Path] = {}
    skipped: list[tuple[Path, str]] = []
    if not folder.is_dir():
        return Found([], [])
    with explained(folder):
        entries = sorted(folder.iterdir())
    for path in entries:
        if is_named(path):
            reason = complaint(path)
            if reason is None:
                good[step_of(path)] = path
            else:
                skipped.append((path, reason))
    for path in entries:
        # Replacing the checkpoint of a step was interrupted: use the earlier checkpoint of that step.
        if replaced_name(path) and step_of(path) not in good and complaint(path) is None:
            good[step_of(path)] = path
    return Found([good[step] for step in sorted(good)], skipped)


def load(path: Path) -> Loaded:
    """Verify a checkpoint and read its trainer state. Raises SeedbedError if training cannot resume from it."""
    verify(path)
    marker = read_marker(path)
    for name, what in ((OPTIMIZER, "optimizer state"), (TRAINER, "trainer state")):
        if name not in marker.files:
            raise SeedbedError(
                f"The checkpoint {path.name} has no {what} ({name}), so training cannot resume from it.",
                "Use another checkpoint of this run. `seedbed generate` can still use this checkpoint.",
            )
    try:
        trainer = json.loads((path / TRAINER).read_bytes())
    except (ValueError, OSError) as error:
        raise SeedbedError(f"The checkpoint {path.name} cannot be read: {error}.", "Use another checkpoint.") from error
    return Loaded(path, marker.step, trainer, path / marker.weights, path / OPTIMIZER)
