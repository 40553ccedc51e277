"""A local folder that `hf:./FOLDER` names: what can be told of it without the libraries that read it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from seedbed.data import ours
from seedbed.errors import SeedbedError
from seedbed.files import sha256_file
from seedbed.text import quoted


def refuse_folder(folder: Path) -> None:
    """Raise SeedbedError for a folder that is not there, or in which there are runs, which would be read as its data."""
    if not folder.is_dir():
        there = folder.exists()
        raise SeedbedError(
            f"{quoted(folder)} is a file, not a folder." if there else f"There is no folder {quoted(folder)}.",
            "hf:./FOLDER names a local dataset folder; a file is named text:PATH.",
        )
    held = ours.holder(folder)
    if held is not None:
        raise SeedbedError(
            f"{quoted(folder)} is (part of) {held[1]} that Seedbed wrote, not text.",
            f"To train on a prepared dataset write --data {held[0]}."
            if held[1] == ours.DATASET
            else "Name text of your own.",
        )
    inner = _written_inside(folder)
    if inner is not None:
        raise SeedbedError(
            f"{quoted(folder)} holds {ours.folder_kind(inner)} that Seedbed wrote, {quoted(inner.relative_to(folder))}.",
            INSIDE_HINT,
        )


INSIDE_HINT = (
    "`datasets` would read its files as data: keep runs outside of the folder (--runs DIR), or name the folder inside it "
    "that holds the data alone."
)


def _written_inside(folder: Path) -> Path | None:
    """The first folder below this one that Seedbed wrote."""
    for place, names, _ in os.walk(folder):
        names[:] = sorted(name for name in names if not name.startswith("."))
        for name in names:
            if ours.folder_kind(Path(place, name)):
                return Path(place, name)
    return None


def is_saved_dataset(folder: Path) -> bool:
    """Whether `save_to_disk` of `datasets` wrote the folder."""
    return (folder / "dataset_dict.json").is_file() or (
        (folder / "dataset_info.json").is_file() and (folder / "state.json").is_file()
    )


def folder_digest(folder: Path) -> str:
    """Hex digest of the names and bytes of all files below a folder, hidden ones aside."""
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in inner.parts):
            whole.update(os.fsencode(f"{inner} {sha256_file(path)}\n"))
    return whole.hexdigest()
