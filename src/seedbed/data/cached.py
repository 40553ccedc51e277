"""Find prepared data in the cache by its manifest, and tell whether a source is the text it was made of. Reads no tokens."""

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
"""The file that a folder of prepared data has once it is whole."""
_MOST_BYTES = 64 << 20
"""Text up to this size is read to tell which text it is: that takes less than a second."""


def folder_of(cache: Path, fingerprint: str) -> Path | None:
    """The folder in the cache that holds the dataset of this fingerprint; None where there is none."""
    return next((folder for folder, manifest in _manifests(cache) if manifest.get("fingerprint") == fingerprint), None)


def refuse_other_text(data: DataConfig, trained_on: str | None, cache: Path) -> None:
    """Raise SeedbedError if a quick look shows that a source is not the text of the dataset with fingerprint `trained_on`.

    A quick look is possible at prepared data, and at files of moderate size while the cache still has the dataset.
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
        raise other_text(source)


def other_text(source: str) -> SeedbedError:
    """What to tell where a resume names another text than the run was trained on."""
    return SeedbedError(
        f"{quoted(source)} is not the text that this run was trained on: its fingerprint differs.",
        "Name the place where that text is, unchanged. To train on other text, start a new run: seedbed train --like RUN "
        "--data SOURCE.",
    )


def _is_other(rest: str, data: DataConfig, known: set[str]) -> bool:
    """Whether the files are others than those with one of the `known` fingerprints; False where that takes long to tell."""
    text = open_text(rest, data, discard)
    return text.size_bytes <= _MOST_BYTES and text.fingerprint() not in known


def _manifests(cache: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The folders of prepared data that are whole, each with its manifest."""
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
