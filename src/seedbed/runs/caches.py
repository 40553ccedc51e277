"""The caches of prepared data and compiled kernels: lists their entries and the runs that use them, and deletes entries.

Prepared data is in `datasets` in the cache folder; what `seedbed prepare` has finished of its inputs is in `records`.
Compiled kernels are in a folder next to it, or in
TORCHINDUCTOR_CACHE_DIR. torch does not report which run uses which kernel, so all kernels are deleted together, and only
while no run seems to use them.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from seedbed.config.directories import RECORDS_CACHE, RECORDS_LOCK, cache_dir, compiled_dir
from seedbed.errors import SeedbedError
from seedbed.events import Data, Step
from seedbed.files import read_json, remove_tree
from seedbed.locks import Lock, is_locked
from seedbed.runs.log import Reader
from seedbed.runs.retention import tree_bytes
from seedbed.runs.status import current_status
from seedbed.runs.statuses import BUSY
from seedbed.runs.store import RunDir, Store

DATASET, UNFINISHED, KERNELS = "dataset", "unfinished dataset", "compiled kernels"
PARTS = "parts of datasets"
SETTLED_S = 3600.0
"""Seconds for which compiled kernels and unfinished datasets are kept after their last use, at least."""
_HEAD_BYTES = 64 << 10
_MANIFEST = "manifest.json"
_PARTIAL = re.compile(r"\.([0-9a-f]+)\.partial")
_GONE = re.compile(r"\..+\.gone")


class CacheEntry(NamedTuple):
    """An entry of a cache: a prepared dataset, a dataset that is not finished, or all compiled kernels."""

    kind: str
    path: Path
    name: str
    """The source of the dataset, or the name of the entry's folder."""
    size_bytes: int
    last_used: float
    """The time of the last use, in unix seconds."""
    used_by: tuple[str, ...]
    """The ids of the runs in this store that trained on the dataset."""
    in_use: bool
    """Whether a process is reading or writing the entry, for a run in this store or another one."""

    def is_removable(self, older_than_s: float | None) -> bool:
        """Whether the entry may be deleted. Never while it is in use, or was last used less than `older_than_s` ago.

        Without `older_than_s`, a dataset may be deleted if no run in this store trained on it, other entries once they
        have not been used for SETTLED_S.
        """
        idle_s = time.time() - self.last_used
        if self.in_use or idle_s < (older_than_s or 0.0):
            return False
        if self.kind == DATASET:
            return older_than_s is not None or not self.used_by
        if self.kind == UNFINISHED and not self.size_bytes:
            return True  # the folder is still empty
        return older_than_s is not None or idle_s >= SETTLED_S


def cache_entries(store: Store) -> list[CacheEntry]:
    """Prepared datasets, unfinished datasets, parts of datasets and compiled kernels in the caches, the largest first."""
    users: dict[str, list[str]] = {}
    living: set[str] = set()
    compiling = False
    for run in store.all():
        fingerprint = dataset_of(run)
        if fingerprint is not None:
            users.setdefault(fingerprint, []).append(run.id)
        if is_locked(run.lock):
            current = current_status(run)
            compiling = compiling or (current.status in BUSY and current.view.run.get("compile") is not False)
            living |= {fingerprint} if fingerprint is not None else set()
    found = [*_datasets(cache_dir() / "datasets", users, living), *_parts(), *_kernels(compiling)]
    return sorted(found, key=lambda entry: -entry.size_bytes)


def dataset_of(run: RunDir) -> str | None:
    """The fingerprint (hash) of the dataset that a run trains on, read from its log; None if it was not logged."""
    found: str | None = None
    reader = Reader(run.events)
    try:
        for end in (_HEAD_BYTES, None):  # most logs have it near the start, and a log may be large
            for record in reader.new(end):
                if isinstance(record.event, Step):
                    return found
                if isinstance(record.event, Data) and record.event.fingerprint:
                    found = record.event.fingerprint
    except SeedbedError:
        return found
    return found


def remove(entry: CacheEntry) -> int:
    """Delete an entry of a cache and return the bytes freed. Raises SeedbedError if a process has started to use the entry."""
    locks = [Lock(path) for path in _locks(entry)]
    acquired: list[Lock] = []
    try:
        for lock in locks:
            if not lock.acquire():
                raise SeedbedError(
                    f"{entry.path} is in use, so it is not deleted.", "Try again when it is no longer in use."
                )
            acquired.append(lock)
        if all(lock.is_current() for lock in acquired):
            remove_tree(entry.path)
    finally:
        for lock in acquired:
            if lock.is_current() and lock.path.suffix == ".lock":
                lock.remove()
            lock.release()
    return entry.size_bytes if not entry.path.exists() else 0


def _datasets(folder: Path, users: dict[str, list[str]], living: set[str]) -> Iterator[CacheEntry]:
    try:
        paths = sorted(folder.iterdir())
    except OSError:
        return
    for path in paths:
        if path.is_symlink() or not path.is_dir():
            continue
        partial = _PARTIAL.fullmatch(path.name)
        if partial or _GONE.fullmatch(path.name):
            busy = partial is not None and is_locked(path.with_name(f".{partial[1]}.lock"))
            yield CacheEntry(UNFINISHED, path, path.name, tree_bytes(path), _newest(path), (), busy)
        elif not path.name.startswith("."):
            name, fingerprint = _described(path)
            used_by = tuple(users.get(fingerprint, ()))
            busy = fingerprint in living or is_locked(path / _MANIFEST, shared=True)
            busy = busy or is_locked(path.with_name(f".{path.name}.lock"))
            yield CacheEntry(DATASET, path, name, tree_bytes(path), _modified(path / _MANIFEST), used_by, busy)


def _parts() -> Iterator[CacheEntry]:
    path = cache_dir() / RECORDS_CACHE
    if not path.is_symlink() and path.is_dir() and (size_bytes := tree_bytes(path)):
        busy = is_locked(path / RECORDS_LOCK, shared=True)
        yield CacheEntry(PARTS, path, str(path), size_bytes, _newest(path), (), busy)


def _described(path: Path) -> tuple[str, str]:
    """The name and the fingerprint (hash) of the dataset in a folder; the latter is "" if its manifest cannot be read."""
    try:
        manifest = read_json(path / _MANIFEST)
    except SeedbedError:
        manifest = None
    if not isinstance(manifest, dict):
        return path.name, ""
    return str(manifest.get("name") or path.name), str(manifest.get("fingerprint") or "")


def _kernels(compiling: bool) -> Iterator[CacheEntry]:
    path = compiled_dir()
    try:
        mine = not path.is_symlink() and path.is_dir() and path.stat().st_uid == os.getuid()
    except OSError:
        return
    # The folder in TORCHINDUCTOR_CACHE_DIR may belong to another user.
    if mine and (size_bytes := tree_bytes(path)):
        yield CacheEntry(KERNELS, path, str(path), size_bytes, _newest(path), (), compiling)


def _locks(entry: CacheEntry) -> list[Path]:
    """The files to lock while an entry is deleted: the preparing process's lock file, and the manifest, which readers lock."""
    if entry.kind == DATASET:
        manifest = entry.path / _MANIFEST
        maker = entry.path.with_name(f".{entry.path.name}.lock")
        return [maker, manifest] if manifest.exists() else [maker]
    if entry.kind == PARTS:
        lock = entry.path / RECORDS_LOCK
        return [lock] if lock.exists() else []
    partial = _PARTIAL.fullmatch(entry.path.name)
    return [entry.path.with_name(f".{partial[1]}.lock")] if partial else []


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _newest(path: Path) -> float:
    """The last time, in unix seconds, when a file in a folder was written, or read if the file system records reads."""
    newest = _modified(path)
    for root, _, names in os.walk(path):
        for name in names:
            try:
                found = os.stat(os.path.join(root, name), follow_symlinks=False)  # noqa: PTH116, PTH118
            except OSError:
                continue
            newest = max(newest, found.st_mtime, found.st_atime)
    return newest
