"""Find the files of each split in a local copy of WikiText."""

from __future__ import annotations

from pathlib import Path

from seedbed.errors import SeedbedError
from seedbed.files import explained
from seedbed.text import listed, quoted

_LAYOUTS = ("{0}-*.parquet", "{0}.parquet", "wiki.{0}.raw", "wiki.{0}.tokens", "{0}.txt")
_FILE_NAMES = {"train": ("train",), "validation": ("validation", "valid", "val")}
LAYOUT_HINT = (
    "A copy contains parquet files for train and validation, or wiki.train.tokens and wiki.valid.tokens, or train.txt and "
    "valid.txt."
)


def local_files(folder: Path, name: str) -> dict[str, list[Path]]:
    """The files of each split below `folder`, a local copy of WikiText. Raises SeedbedError if a split has none."""
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise SeedbedError(
            f"The folder of data.path, {quoted(folder)}, {what}.",
            f"Unpack the copy, and set data.path to its folder. {LAYOUT_HINT}",
        )
    places = [folder, *(folder / inner for inner in (f"{name}-raw-v1", f"{name}-raw", f"{name}-v1", name, "data"))]
    found: dict[str, list[Path]] = {}
    for place in places:
        found = {split: files for split in _FILE_NAMES if (files := _files_of(place, split))}
        if found:
            break
    missing = [split for split in _FILE_NAMES if split not in found]
    if missing:
        with explained(folder):
            seen = sorted(path.name for path in folder.iterdir())
        only = next(iter(found.values()), [folder])[0]
        raise SeedbedError(
            f"{quoted(folder)} does not contain the {' and '.join(missing)} split of {name}. It contains "
            f"{listed(seen) or 'no files'}.",
            f"{LAYOUT_HINT} To train on the existing files, use --data text:{only}.",
        )
    return found


def _files_of(folder: Path, split: str) -> list[Path]:
    for layout in _LAYOUTS:
        for file_name in _FILE_NAMES[split]:
            files = sorted(folder.glob(layout.format(file_name)))
            if files:
                return files
    return []
