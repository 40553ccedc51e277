"""Recognise datasets of rows (made by `seedbed prepare` or `seedbed data merge`) as sources, and refuse those without a split."""

from __future__ import annotations

from pathlib import Path

from seedbed.curation.folder import EVAL, TRAIN, Description
from seedbed.errors import SeedbedError, UsageError
from seedbed.text import quoted


def refuse_unsplit(folder: Path, description: Description) -> None:
    """Raise UsageError if a dataset is not divided into training and evaluation, SeedbedError if its files have changed.

    Rows are not divided here: rows of the same session, file or commit would be in both parts.
    """
    if not {TRAIN, EVAL} <= set(description.files):
        raise UsageError(
            f"{quoted(folder)} is not divided into rows for training and for evaluation yet.",
            f"Run `seedbed data merge {folder} --name NAME`, which keeps what belongs together in one part, and train on its "
            "result.",
        )
    for name, facts in description.files.items():
        path = folder / name
        try:
            size = path.stat().st_size
        except OSError as error:
            raise SeedbedError(
                f"{quoted(path)} cannot be read: {error.strerror}.", "Make the dataset again."
            ) from error
        if size != facts.size_bytes:
            raise SeedbedError(
                f"{quoted(path)} has changed since the dataset was made: it has {size:,} bytes, and dataset.json says "
                f"{facts.size_bytes:,}.",
                "Make the dataset again, or restore the file.",
            )
