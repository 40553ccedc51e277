"""Find prepared datasets in the cache by their manifests, and compare a source with the data of a run. Imports no numpy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seedbed import files
from seedbed.config.schema import DataConfig
from seedbed.config.source import is_prepared, is_rows, parse_source
from seedbed.curation.folder import describe
from seedbed.data.sources.text_files import open_text
from seedbed.errors import SeedbedError
from seedbed.events import discard
from seedbed.text import quoted

MANIFEST = "manifest.json"
"""The file of a dataset folder that is written last: a folder that contains it is complete."""
_MOST_BYTES = 64 << 20
"""The largest text, in bytes, that is hashed to compare it with a run's data. Takes less than a second."""


def find_folder(cache: Path, fingerprint: str) -> Path | None:
    """The cache folder of the dataset with this fingerprint; None if the cache does not contain it."""
    return next((folder for folder, manifest in manifests(cache) if manifest.get("fingerprint") == fingerprint), None)


def has_samples(folder: Path) -> bool:
    """Whether a prepared dataset has samples of rows, and no text."""
    manifest = _read(folder)
    return manifest is not None and "samples" in manifest


def refuse_different_text(data: DataConfig, trained_on: str | None, cache: Path) -> None:
    """Raise SeedbedError if `data.source` is not the data that a run was trained on (fingerprint `trained_on`).

    Compares prepared datasets, and text files up to _MOST_BYTES if the cache contains that dataset. Any other source is
    accepted without a comparison.
    """
    if trained_on is None:
        return
    source = data.source.strip()
    if is_prepared(source, Path()):
        manifest = _read(files.expand_home(source))
        differs = manifest is not None and manifest.get("fingerprint") != trained_on
    elif is_rows(source, Path()):
        known = _sources(trained_on, cache)
        differs = bool(known) and describe(files.expand_home(source)).fingerprint not in known
    else:
        known = _sources(trained_on, cache)
        word, rest = parse_source(source, data.validation_path)
        differs = bool(known) and word == "text" and _differs(rest, data, known)
    if differs:
        raise different_text_error(source)


def _sources(trained_on: str, cache: Path) -> set[str]:
    """The fingerprints of the sources from which the cached data with the fingerprint `trained_on` was prepared."""
    return {str(each.get("source")) for _, each in manifests(cache) if each.get("fingerprint") == trained_on}


def different_text_error(source: str) -> SeedbedError:
    """The error for resuming a run with `source`, on which it was not trained."""
    return SeedbedError(
        f"{quoted(source)} is not the data that this run was trained on: the fingerprints differ.",
        "Give the path of the original data. To train on other data, start a new run: "
        "seedbed train --like RUN --data SOURCE",
    )


def _differs(rest: str, data: DataConfig, known: set[str]) -> bool:
    """Whether the fingerprint of the files at path `rest` is not in `known`; False if they are too large to hash here."""
    text = open_text(rest, data, discard)
    return text.size_bytes <= _MOST_BYTES and text.fingerprint() not in known


def manifests(cache: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the folder and the parsed manifest.json of every complete dataset in the cache."""
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
