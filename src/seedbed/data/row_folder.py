"""Datasets of rows (made by `seedbed prepare` or `seedbed data merge`) as sources; those that are not split are split."""

from __future__ import annotations

import re
from pathlib import Path

from seedbed import files
from seedbed.config.directories import RECORDS_CACHE
from seedbed.curation.drops import Drops
from seedbed.curation.folder import EVAL, RECORDS, TRAIN, Description, verify
from seedbed.curation.record import encode
from seedbed.data.interruption import Check, run_interruptibly
from seedbed.errors import SeedbedError, UsageError
from seedbed.events import Emit, Message
from seedbed.text import quoted

_HEAD_BYTES = 1 << 24
_NAME = 32
"""Digits of the fingerprint in the name of a split in the cache."""
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


def split_folder(folder: Path, description: Description, cache: Path, emit: Emit, check: Check) -> Path:
    """The folder with the rows for training and for evaluation: `folder`, or a part of the cache if it is not split.

    The split is that of `seedbed data merge` with its defaults: what belongs together stays in one part. `check` is called
    several times a second, and may raise to stop. Raises SeedbedError if no row can be held out.
    """
    if description.is_split:
        return folder
    place = cache / RECORDS_CACHE / f"split-{description.fingerprint[:_NAME]}"
    if not place.is_dir():
        run_interruptibly(lambda: verify(folder, description), check)
        _split(folder, place, check)
    rows = {name: sum(1 for _ in (place / name).open("rb")) for name in (TRAIN, EVAL)}
    emit(
        Message(
            level="info",
            code="held-out",
            text=f"{description.name} is not split, so {rows[EVAL]:,} of its {sum(rows.values()):,} rows are held out for "
            "validation.",
            why="They are chosen as `seedbed data merge` does: rows of one session, commit or file stay together.",
        )
    )
    return place


def _split(folder: Path, place: Path, check: Check) -> None:
    from seedbed.curation.splitting.split import SplitOptions, rows_of, split

    parts = [folder / RECORDS]
    prepared = files.temporary_dir(files.make_dir(place.parent), place.name)
    try:
        found = split(parts, SplitOptions(), Drops(), lambda _: check(), prepared)
        for name, wanted in ((TRAIN, "train"), (EVAL, "eval")):
            with files.replacing(prepared / name, durable=False) as handle:
                for part, record in rows_of(parts, found, lambda _: check()):
                    if part == wanted:
                        handle.write(encode(record) + b"\n")
        files.publish_dir(prepared, place, durable=False)
    except BaseException:
        files.remove_tree(prepared)
        raise


def without_template(folder: Path, count: str, *, is_base: bool) -> UsageError:
    """The error for conversations (`count` of them, or "") and a tokenizer without a chat template."""
    what = "the base model" if is_base else "the tokenizer of tokenizer.path"
    return UsageError(
        f"{quoted(folder)} has {count}conversations, but {what} has no chat template.",
        "Train on from a chat model, such as an Instruct variant, or train from scratch (without --from)."
        if is_base
        else "Remove tokenizer.path: a tokenizer with a template is then trained.",
    )
