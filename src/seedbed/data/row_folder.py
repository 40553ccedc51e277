"""Datasets of rows, made by `seedbed prepare` or `seedbed data merge`: what they have, and what cannot be trained on."""

from __future__ import annotations

import re
from pathlib import Path

from seedbed import files
from seedbed.curation.folder import RECORDS, TRAIN, Description
from seedbed.errors import SeedbedError, UsageError
from seedbed.text import quoted

_HEAD_BYTES = 1 << 24
_CHAT = rb'\s*\{\s*"id"\s*:\s*"[^"]*"\s*,\s*"kind"\s*:\s*"chat"'


def refuse_changed(folder: Path, description: Description) -> None:
    """Raise SeedbedError if the files of a dataset have other sizes than when it was made."""
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


def has_conversations(folder: Path, description: Description) -> bool:
    """Whether the training rows have conversations. Reads the first rows only, which have every column (see curation.folder)."""
    path = folder / (TRAIN if description.is_split else RECORDS)
    with files.explained(path), path.open("rb") as handle:
        return any(re.match(_CHAT, line) for line in handle.read(_HEAD_BYTES).splitlines())


def without_template(folder: Path, count: str, *, is_base: bool) -> UsageError:
    """The error for conversations (`count` of them, or "") and a tokenizer without a chat template."""
    what = "the base model" if is_base else "the tokenizer of tokenizer.path"
    return UsageError(
        f"{quoted(folder)} has {count}conversations, but {what} has no chat template.",
        "Train on from a chat model, such as an Instruct variant, or train from scratch (without --from)."
        if is_base
        else "Remove tokenizer.path: a tokenizer with a template is then trained.",
    )
