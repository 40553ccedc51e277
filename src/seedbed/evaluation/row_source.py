"""The rows of a dataset as the documents of an evaluation: which ones, and how models turn them into samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from seedbed.config.directories import cache_dir
from seedbed.config.schema import DataConfig
from seedbed.config.source import is_rows
from seedbed.curation.folder import EVAL, TRAIN, describe
from seedbed.data.interruption import Check
from seedbed.data.row_folder import refuse_changed
from seedbed.data.row_split import split_folder
from seedbed.events import Emit
from seedbed.files import expand_home

_PARTS = {"validation": (EVAL,), "train": (TRAIN,), "all": (TRAIN, EVAL)}


class Rendering(msgspec.Struct, frozen=True, kw_only=True):
    """How rows become samples: `loss` is data.loss, `family` that whose markers rows with a gap get ("": one that fits)."""

    loss: str
    family: str = ""


def rows_of(data: DataConfig, split: str, emit: Emit, check: Check) -> tuple[str, Rendering, Iterator[str]] | None:
    """The name, the rendering and the rows, as JSON lines, of a part of a dataset of rows; None if the source is another.

    `split`: validation, train or all. A dataset that is not split is split in the cache, as for a training. Raises
    SeedbedError if its files have changed.
    """
    source = data.source.strip()
    if not is_rows(source, Path()):
        return None
    folder = expand_home(source)
    description = describe(folder)
    refuse_changed(folder, description)
    place = split_folder(folder, description, cache_dir(), emit, check)
    asked = description.settings.get("fim")
    family = str(asked.get("family") or "") if isinstance(asked, dict) else ""
    return description.name, Rendering(loss=data.loss, family=family), _lines(place, _PARTS[split])


def _lines(folder: Path, names: Sequence[str]) -> Iterator[str]:
    for name in names:
        with (folder / name).open(encoding="utf-8") as handle:
            for line in handle:
                yield line.rstrip("\n")
