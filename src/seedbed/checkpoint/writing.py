"""Writes a checkpoint as a whole or not at all. Needs no torch: contents are bytes.

A checkpoint is written to a hidden folder, synced to the disk, renamed, and then marked by DONE (checkpoint/marker.py).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from seedbed.checkpoint.marker import DONE, FORMAT, MODEL, complaint, folder_name, is_hidden, is_named, step_of, verify
from seedbed.checkpoint.reading import find
from seedbed.errors import SeedbedError, StorageError
from seedbed.files import explained, make_dir, publish_dir, remove_tree, temporary_dir, write_atomic

Content = Sequence[bytes | memoryview]
"""The bytes of a file: consecutive pieces that are written one after the other."""
_CHUNK_BYTES = 8 << 20


class Snapshot(NamedTuple):
    """The contents of a checkpoint's files by name: copies that training does not change.

    `step` is the number of steps done; `artifact` is its kind, a key of `marker.ARTIFACTS`.
    """

    step: int
    files: Mapping[str, Content]
    artifact: str = MODEL


class Saved(NamedTuple):
    """A checkpoint that was written and verified."""

    path: Path
    size_bytes: int
    write_s: float


def json_content(value: Mapping[str, Any]) -> Content:
    """Encode `value` as the content of a JSON file, indented for people."""
    return [(json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()]


def save(folder: Path, snapshot: Snapshot, *, best: bool = False) -> Saved:
    """Write `folder/step-N`, mark it with DONE, and verify it. A checkpoint of the same step is replaced.

    Raises StorageError (DiskFullError if the disk is full). In that case nothing unfinished remains, and every earlier
    checkpoint is intact.
    """
    begun = time.perf_counter()
    make_dir(folder)
    final = folder / folder_name(snapshot.step)
    hidden = temporary_dir(folder, final.name)
    try:
        files = {name: _write(hidden / name, content) for name, content in snapshot.files.items()}
        aside = _set_aside(final)
        publish_dir(hidden, final)
    except BaseException:
        remove_tree(hidden)
        raise
    marker = {
        "format": FORMAT,
        "step": snapshot.step,
        "best": best,
        "artifact": snapshot.artifact,
        "files": {name: {"size_bytes": size, "sha256": digest} for name, (size, digest) in sorted(files.items())},
    }
    try:
        write_atomic(final / DONE, json.dumps(marker, indent=2) + "\n")
        verify(final)
    except BaseException as error:
        remove_tree(final)
        if isinstance(error, SeedbedError) and not isinstance(error, StorageError):
            hint = "The disk may be failing: check it (see `dmesg`)."
            raise StorageError(error.message, hint, "the disk returns different bytes than were written") from error
        raise
    remove_tree(aside)
    return Saved(final, sum(size for size, _ in files.values()), time.perf_counter() - begun)


def _set_aside(final: Path) -> Path:
    """Rename an existing checkpoint of the same step to a hidden folder, and return its path. Deletes an invalid one.

    Until the new checkpoint is marked by DONE, `reading.find` returns the hidden folder for this step.
    """
    aside = final.with_name(f".{final.name}.replaced")
    if final.exists():
        if complaint(final) is None:
            remove_tree(aside)
            publish_dir(final, aside)
        else:
            remove_tree(final)
    return aside


def _write(path: Path, content: Content) -> tuple[int, str]:
    """Write and hash the pieces of `content` (both release the GIL). Returns the size in bytes and the SHA-256 in hex."""
    digest, size = hashlib.sha256(), 0
    make_dir(path.parent)
    with explained(path), path.open("wb") as handle:
        for piece in content:
            for start in range(0, len(piece), _CHUNK_BYTES):
                chunk = piece[start : start + _CHUNK_BYTES]
                digest.update(chunk)
                size += handle.write(chunk)
    return size, digest.hexdigest()


def clean_up(folder: Path) -> None:
    """Remove the remains of interrupted saves and deletions: hidden folders, and checkpoint folders without DONE.

    If replacing a checkpoint was interrupted, the earlier checkpoint gets its name back. The caller must hold the run's
    lock.
    """
    good = find(folder).good
    for path in sorted(folder.iterdir()):
        if not path.is_dir() or path in good:
            continue
        if is_hidden(path) or (is_named(path) and not (path / DONE).exists()):
            remove_tree(path)
    for path in good:
        if is_hidden(path):
            final = path.with_name(folder_name(step_of(path)))
            remove_tree(final)
            publish_dir(path, final)
