"""Find prepared datasets in the cache by their manifests, and compare a source with the data of a run. Needs no numpy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seedbed import files
from seedbed.config.schema import DataConfig
from seedbed.config.source import is_prepared, parse_source
from seedbed.data.sources.text_files import open_text
from seedbed.errors import SeedbedError
from seedbed.events import discard
from seedbed.text import quoted

MANIFEST = "manifest.json"
"""Written last, so a dataset folder with this file is complete."""
_MOST_BYTES = 64 << 20
"""Text up to this size is hashed here: that takes less than a second."""


def find_folder(cache: Path, fingerprint: str) -> Path | None:
    """The cache folder of the dataset with this fingerprint; None if there is none."""
    return next((folder for folder, manifest in _manifests(cache) if manifest.get("fingerprint") == fingerprint), None)


def refuse_different_text(data: DataConfig, trained_on: str | None, cache: Path) -> None:
    """Raise SeedbedError if a source is not the text of the dataset with fingerprint `trained_on`.

    Compares prepared datasets, and files of moderate size while the cache holds the dataset; lets everything else pass.
    """
    if trained_on is None:
        return
    source = data.source.strip()
    if is_prepared(source, Path()):
        manifest = _read(files.expand_home(source))
        other = manifest is not None and manifest.get("fingerprint") != trained_on
    else:
        known = {str(each.get("source")) for _, each in _manifests(cache) if each.get("fingerprint") == trained_on}
        word, rest = parse_source(source, data.validation_path)
        other = bool(known) and word == "text" and _is_other(rest, data, known)
    if other:
        raise different_text_error(source)


def different_text_error(source: str) -> SeedbedError:
    """The error for a resume with a text that the run was not trained on."""
    return SeedbedError(
        f"{quoted(source)} is not the text that this run was trained on: its fingerprint differs.",
        "Give the path of the unchanged text. To train on other text, start a new run: seedbed train --like RUN --data SOURCE.",
    )


def _is_other(rest: str, data: DataConfig, known: set[str]) -> bool:
    """Whether the files have none of the `known` fingerprints; False if they are too large to hash here."""
    text = open_text(rest, data, discard)
    return text.size_bytes <= _MOST_BYTES and text.fingerprint() not in known


def _manifests(cache: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The complete dataset folders, each with its manifest."""
    try:
        entries = sorted((cache / "datasets").iterdir())
    except OSError:
        return
    for folder in entries:
        if not folder.name.startswith(".") and (manifest := _read(folder)) is not None:
            yield folder, manifest


def _read(folder: Path) -> dict[str, Any] | None:
    try:
        manifest = files.read_json(folder / MANIFEST)
    except SeedbedError:
        return None
    return manifest if isinstance(manifest, dict) else None
