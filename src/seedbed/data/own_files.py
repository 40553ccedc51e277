"""Recognise files that Seedbed wrote (runs, checkpoints, prepared datasets, caches, exports): they are no training text.

Files are recognised by their content, whatever their name and location.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from seedbed.checkpoint.marker import ARTIFACTS, DONE, TRAINER
from seedbed.config.directories import cache_dir, compiled_dir
from seedbed.curation.folder import DESCRIPTION, is_dataset
from seedbed.data.byte_streams import UnreadableError, open_bytes
from seedbed.events import KINDS

RUN, CHECKPOINT, DATASET, ROWS, UNFINISHED, CACHE = (
    "a run",
    "a checkpoint",
    "a prepared dataset",
    "a dataset",
    "an unfinished dataset",
    "a cache",
)
LOG, STEPS = "the event log of a run", "the exported steps of a run"
REASON = "written by Seedbed"
"""The reason that is counted for skipped files that Seedbed wrote."""

DATASET_KIND = "seedbed-dataset"
"""The value of `kind` in the manifest.json of a prepared dataset."""

_HEAD_BYTES = 1 << 16
_STEP_FIELDS = ("step", "tokens", "time", "loss")


def folder_kind(folder: Path) -> str:
    """What Seedbed wrote into a folder, in words (`a run`, `a checkpoint`, ...); "" for any other folder."""
    if _contains(folder, "meta.json") and (_contains(folder, "config.toml") or _contains(folder, "events.jsonl")):
        if _has(folder / "meta.json", "kind", "created"):
            return RUN
    elif _contains(folder, "config.toml") and _contains(folder, "events.jsonl") and _is_log(folder / "events.jsonl"):
        return RUN
    if _contains(folder, TRAINER) and any(_contains(folder, name) for name in (*ARTIFACTS.values(), DONE)):
        return CHECKPOINT
    if _contains(folder, "manifest.json") and _has(folder / "manifest.json", "fingerprint", kind=DATASET_KIND):
        return DATASET
    if _contains(folder, DESCRIPTION) and is_dataset(folder):
        return ROWS
    if _contains(folder, "tokenizer") and (
        _contains(folder, "progress.json") or _contains(folder, "train-00000.ds.index")
    ):
        return UNFINISHED
    return CACHE if _is_cache(folder) else ""


def _contains(folder: Path, name: str) -> bool:
    try:
        return (folder / name).exists()
    except OSError:
        return False


def _is_cache(folder: Path) -> bool:
    """Whether `folder` is a folder inside Seedbed's cache. The cache itself does not count: it may contain a user's text."""
    for cache in (cache_dir() / "datasets", cache_dir() / "hub", compiled_dir()):
        try:
            if folder.samefile(cache):
                return True
        except OSError:
            continue
    return False


def file_kind(path: Path, kind: str) -> str:
    """What Seedbed wrote into a file of format `kind` (see readers.kind_of): LOG or STEPS; "" for any other file."""
    try:
        if kind == "records":
            with open_bytes(path, _HEAD_BYTES) as handle:
                return _record_kind(handle.readline())
        if kind == "table":
            with open_bytes(path, _HEAD_BYTES) as handle:
                return STEPS if handle.readline().startswith(",".join(_STEP_FIELDS).encode()) else ""
    except UnreadableError:
        return ""
    return ""


def enclosing_folder(path: Path) -> tuple[Path, str] | None:
    """The nearest folder that Seedbed wrote, at `path` or above it, and its `folder_kind`; None if there is none."""
    absolute = path.absolute()
    for folder in (absolute, *absolute.parents):
        if folder.is_dir() and (kind := folder_kind(folder)):
            return folder, kind
    return None


def _record_kind(line: bytes) -> str:
    try:
        row = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    if not isinstance(row, dict):
        return ""
    if {"v", "n", "t"} <= row.keys() and row.get("kind") in KINDS:
        return LOG
    return STEPS if tuple(row)[: len(_STEP_FIELDS)] == _STEP_FIELDS and "text" not in row else ""


def _is_log(path: Path) -> bool:
    return file_kind(path, "records") == LOG


def _has(path: Path, *fields: str, **values: Any) -> bool:
    """Whether a file contains a JSON object with these fields and these values."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    if not isinstance(content, dict) or any(field not in content for field in fields):
        return False
    return all(content.get(name) == value for name, value in values.items())
