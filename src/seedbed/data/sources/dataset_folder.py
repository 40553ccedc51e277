"""Check and hash the local dataset folder of `hf:./FOLDER`, without the `datasets` library."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from seedbed.data import own_files
from seedbed.errors import SeedbedError
from seedbed.files import sha256_file
from seedbed.text import quoted


def refuse_folder(folder: Path) -> None:
    """Raise SeedbedError for a missing folder, or one that holds files written by Seedbed, which would be read as data."""
    if not folder.is_dir():
        there = folder.exists()
        raise SeedbedError(
            f"{quoted(folder)} is a file, not a folder." if there else f"There is no folder {quoted(folder)}.",
            "hf:./FOLDER is for a local dataset folder; for a file write text:PATH.",
        )
    enclosing = own_files.enclosing_folder(folder)
    if enclosing is not None:
        raise SeedbedError(
            f"{quoted(folder)} is (part of) {enclosing[1]} written by Seedbed, not text.",
            f"To train on a prepared dataset write --data {enclosing[0]}."
            if enclosing[1] == own_files.DATASET
            else "Give the path of your own text.",
        )
    inner = _written_inside(folder)
    if inner is not None:
        raise SeedbedError(
            f"{quoted(folder)} holds {own_files.folder_kind(inner)} written by Seedbed, {quoted(inner.relative_to(folder))}.",
            INSIDE_HINT,
        )


INSIDE_HINT = (
    "`datasets` would read its files as data. Keep runs outside of the folder (--runs DIR), or give the subfolder that "
    "holds only data."
)


def _written_inside(folder: Path) -> Path | None:
    """The first folder written by Seedbed below this one."""
    for place, names, _ in os.walk(folder):
        names[:] = sorted(name for name in names if not name.startswith("."))
        for name in names:
            if own_files.folder_kind(Path(place, name)):
                return Path(place, name)
    return None


def is_saved_dataset(folder: Path) -> bool:
    """Whether the folder was written by `datasets` with `save_to_disk`."""
    return (folder / "dataset_dict.json").is_file() or (
        (folder / "dataset_info.json").is_file() and (folder / "state.json").is_file()
    )


def folder_digest(folder: Path) -> str:
    """Hex digest of the names and bytes of all files below a folder, except hidden ones."""
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in inner.parts):
            whole.update(os.fsencode(f"{inner} {sha256_file(path)}\n"))
    return whole.hexdigest()
