"""Computes the statuses of many runs, with a cache file in the store for runs that have ended; it may be deleted.

    runs/.listing      {"format": 2, "by": [...], "runs": {ID: {"seen": {PLACE: [time, bytes]}, "status": {...}}}}

A cached status is valid while these parts of the run are unchanged: its folder (files in it are replaced, never
modified), its event log, its folder of checkpoints, and the checkpoints in the status.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from seedbed import __version__
from seedbed.errors import SeedbedError
from seedbed.files import write_atomic
from seedbed.runs.statuses import ENDED
from seedbed.runs.store import RunDir, Store

FILE = ".listing"
_FORMAT = 2
_SOURCES = ("status", "summary", "view", "validations", "saved", "checkpoints")
_WORTH_WRITING = 8
"""The cache file is written when at least this many runs that have ended are not in it yet."""
_SETTLED_S = 2.0
"""The number of seconds after a change in which a run may change again without a change of its folder's timestamp."""

_Seen = dict[str, list[int]]


def statuses(store: Store, runs: Iterable[RunDir]) -> list[dict[str, Any]]:
    """The status of each run: the object of `seedbed status --json`, as `status.status` returns it."""
    kept = _kept(store)
    found, new = [], 0
    for run in runs:
        path = str(run.path)
        entry = kept.get(run.id)
        if entry is not None and entry["status"]["path"] == path and _look(path, entry["seen"]) == entry["seen"]:
            found.append(entry["status"])
            continue
        from seedbed.runs.status import status

        seen = _look(path, _PLACES)
        flat = status(run)
        found.append(flat)
        named = {
            place: os.path.relpath(flat[place], path) for place in ("checkpoint", "best_checkpoint") if flat[place]
        }
        if flat["status"] in ENDED:
            seen |= _look(path, named.values())
            if all(time.time() - at / 1e9 > _SETTLED_S for at, _ in seen.values()):
                kept[run.id] = {"seen": seen, "status": flat}
                new += 1
    if new >= _WORTH_WRITING:
        _keep(store, kept)
    return found


_PLACES = ("", "events.jsonl", "checkpoints")


def _look(path: str, places: Iterable[str]) -> _Seen:
    """The modification time (ns) and size (bytes) of each of these paths in a run's folder; zeros for a missing path."""
    seen = {}
    for place in places:
        try:
            there = os.stat(f"{path}/{place}" if place else path)  # noqa: PTH116  # a Path costs more than the stat
            seen[place] = [there.st_mtime_ns, there.st_size]
        except OSError:
            seen[place] = [0, 0]
    return seen


def _by() -> list[Any]:
    """A list that identifies the version of the code that computes a status. A cache from another version is not used."""
    code = [Path(__file__).with_name(f"{name}.py").stat().st_mtime_ns for name in _SOURCES]
    return [__version__, *code]


def _kept(store: Store) -> dict[str, Any]:
    """Read the cached runs; empty if the cache file is missing, broken or of another version."""
    try:
        value = json.loads((store.root / FILE).read_bytes())
        if value["format"] != _FORMAT or value["by"] != _by():
            return {}
        runs = value["runs"]
        whole = all(isinstance(each["status"]["path"], str) and "" in each["seen"] for each in runs.values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return runs if whole else {}


def _keep(store: Store, runs: dict[str, Any]) -> None:
    """Write the cache file, without deleted runs; does nothing if it cannot be written."""
    there = {run_id: each for run_id, each in runs.items() if Path(each["status"]["path"]).is_dir()}
    value = {"format": _FORMAT, "by": _by(), "runs": there}
    with suppress(OSError, ValueError, SeedbedError):
        write_atomic(store.root / FILE, json.dumps(value, separators=(",", ":")).encode(), durable=False)
