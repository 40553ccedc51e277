"""Splits a dataset that is not split yet into rows for training and for evaluation, in the cache."""

from __future__ import annotations

from pathlib import Path

from seedbed import files
from seedbed.config.directories import RECORDS_CACHE
from seedbed.curation.drops import Drops
from seedbed.curation.folder import EVAL, PRIVATE_DIR, RECORDS, TRAIN, Description, verify
from seedbed.curation.record import encode
from seedbed.curation.splitting.split import SplitOptions, rows_of, split
from seedbed.data.interruption import Check, run_interruptibly
from seedbed.events import Emit, Message

_NAME = 32
"""Digits of the fingerprint in the name of a split in the cache."""
_REPEATS = "the beginning of a longer conversation, or shows an answer that is held out"


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
    whole = description.files[RECORDS].rows
    dropped = whole - sum(rows.values())
    repeated = f" {dropped:,} {'is' if dropped == 1 else 'are'} left out: {_REPEATS}." if dropped else ""
    emit(
        Message(
            level="info",
            code="held-out",
            text=f"{description.name} is not split, so {rows[EVAL]:,} of its {whole:,} rows "
            f"{'is' if rows[EVAL] == 1 else 'are'} held out for validation.{repeated}",
            why="They are chosen as `seedbed data merge` does: rows of one session, commit or file stay together.",
        )
    )
    return place


def _split(folder: Path, place: Path, check: Check) -> None:
    parts = [folder / RECORDS]
    prepared = files.temporary_dir(files.make_dir(place.parent, PRIVATE_DIR), place.name)
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
