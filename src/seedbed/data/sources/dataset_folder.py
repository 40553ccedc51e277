"""Check and hash a local dataset folder, given as `hf:./FOLDER`, without the `datasets` library."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from seedbed.data import own_files
from seedbed.errors import SeedbedError
from seedbed.files import sha256_file
from seedbed.text import quoted


def refuse_folder(folder: Path) -> None:
    """Raise SeedbedError for a missing folder, and for a folder with files written by Seedbed.

    The `datasets` library would read files written by Seedbed as data.
    """
    if not folder.is_dir():
        exists = folder.exists()
        raise SeedbedError(
            f"{quoted(folder)} is a file, not a folder." if exists else f"There is no folder {quoted(folder)}.",
            "For a local dataset folder, write hf:./FOLDER. For a file, write text:PATH.",
        )
    enclosing = own_files.enclosing_folder(folder)
    if enclosing is not None:
        place = enclosing[1] if folder.absolute() == enclosing[0] else f"part of {enclosing[1]}"
        raise SeedbedError(
            f"{quoted(folder)} cannot be read as data: it is {place} written by Seedbed.",
            f"To train on the dataset, use --data {enclosing[0]}."
            if enclosing[1] in (own_files.DATASET, own_files.ROWS)
            else "Give the path of your own text.",
        )
    inner = _written_inside(folder)
    if inner is not None:
        raise SeedbedError(
            f"{quoted(folder)} contains {own_files.folder_kind(inner)} written by Seedbed, "
            f"{quoted(inner.relative_to(folder))}: its files would be read as data.",
            INSIDE_HINT,
        )


INSIDE_HINT = (
    "Keep runs and caches outside of the data folder (--runs DIR, SEEDBED_CACHE), or give a subfolder that contains only "
    "data."
)


def _written_inside(folder: Path) -> Path | None:
    """The first folder below `folder` that Seedbed wrote, such as a run; None if there is none."""
    for place, names, _ in os.walk(folder):
        names[:] = sorted(name for name in names if not name.startswith("."))
        for name in names:
            if own_files.folder_kind(Path(place, name)):
                return Path(place, name)
    return None


def is_saved_dataset(folder: Path) -> bool:
    """Whether the folder was written by `save_to_disk` of the `datasets` library."""
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
