"""Measures the disk space of runs, and deletes whole runs, or checkpoints that are not needed.

The run's lock is held during a deletion, so that no job can start at the same time.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from seedbed.checkpoint.marker import (
    NewerFormatError,
    complaint,
    damage,
    is_hidden,
    is_named,
    read_marker,
    replaced_name,
    step_of,
)
from seedbed.errors import SeedbedError
from seedbed.files import remove_tree
from seedbed.locks import Lock, is_locked
from seedbed.runs.checkpoints import best_checkpoint, damaged, is_current, latest_checkpoint, superseded_checkpoints
from seedbed.runs.control import STOP, unfinished_request
from seedbed.runs.status import CurrentStatus, current_status, last_event_time
from seedbed.runs.statuses import LIVE, OVER, REMOVABLE
from seedbed.runs.store import RunDir, Store
from seedbed.runs.tasks import FOLDER as TASK_FOLDER
from seedbed.text import quoted

_LOGS = ("events.jsonl", "job.log", ".series")
_ENDING_S = 10.0
"""How long a process that ends may take: it waits for its threads, and for a GPU driver up to 5 s."""
_POLL_S = 0.05
_INTERRUPTED = re.compile(r"\.new-run\.[^.]+|\.\d{8}-\d{6}-\d{3}-.+\.gone")


class Usage(NamedTuple):
    """The disk space of a run in bytes, by kind of file."""

    run: RunDir
    checkpoints_bytes: int
    log_bytes: int
    """Bytes of the event log, the output of the job, and the index of the curves."""
    rest_bytes: int

    @property
    def total_bytes(self) -> int:
        """Bytes of all files of the run."""
        return self.checkpoints_bytes + self.log_bytes + self.rest_bytes


class Policy(NamedTuple):
    """The conditions that a run must meet, all of them, to be deleted."""

    older_than_s: float | None = None
    """The minimum time since the last activity of the run, in seconds."""
    keep: int | None = None
    """How many runs to keep: the newest of those that meet the conditions `statuses` and `archived`."""
    statuses: frozenset[str] = frozenset()
    """The statuses of runs to delete; if empty, those in statuses.OVER."""
    archived: bool = False
    """Whether to delete only archived runs; if not, only runs that are not archived."""


class Chosen(NamedTuple):
    """A run that a policy selects for deletion, its status, and the seconds since its last activity."""

    run: RunDir
    status: str
    idle_s: float


class CheckpointFolder(NamedTuple):
    """The folder of a complete or an incomplete checkpoint, its step, and its size."""

    step: int
    path: Path
    size_bytes: int


class CheckpointPruning(NamedTuple):
    """A plan to prune the checkpoints of a run: those to keep, which were verified, and those to delete."""

    run: RunDir
    kept: list[CheckpointFolder]
    deleted: list[CheckpointFolder]

    @property
    def freed_bytes(self) -> int:
        """The size of the checkpoints to delete, in bytes."""
        return sum(each.size_bytes for each in self.deleted)


# Disk space -------------------------------------------------------------------------------------------------------


def tree_bytes(path: Path) -> int:
    """The size in bytes of a file, or of all files in a folder. Links are not followed, unreadable files count as 0."""
    try:
        if path.is_symlink() or not path.is_dir():
            return path.lstat().st_size
        with os.scandir(path) as entries:
            return sum(
                tree_bytes(Path(entry.path)) if entry.is_dir(follow_symlinks=False) else _entry_bytes(entry)
                for entry in entries
            )
    except OSError:
        return 0


def _entry_bytes(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except OSError:
        return 0


def usage(run: RunDir) -> Usage:
    """Measure the disk space of a run."""
    checkpoints = tree_bytes(run.checkpoints) if run.checkpoints.exists() else 0
    log = sum(tree_bytes(run.path / name) for name in _LOGS)
    return Usage(run, checkpoints, log, max(tree_bytes(run.path) - checkpoints - log, 0))


def leftovers(store: Store, idle_s: float = 0.0) -> list[Path]:
    """The hidden folders that remain of runs whose creation or deletion was interrupted, unchanged for `idle_s` seconds."""
    try:
        entries = [entry for entry in sorted(store.root.iterdir()) if _INTERRUPTED.fullmatch(entry.name)]
        folders = [entry for entry in entries if entry.is_dir() and not entry.is_symlink()]
        return [folder for folder in folders if time.time() - folder.stat().st_mtime >= idle_s]
    except OSError:
        return []


def choose(store: Store, policy: Policy) -> list[Chosen]:
    """The runs that a policy selects for deletion, the newest first. No process owns any of them."""
    now = time.time()
    found: list[Chosen] = []
    for run in reversed(store.all()):
        if run.is_archived() != policy.archived:
            continue
        current = current_status(run)
        if current.status not in (policy.statuses or OVER) & REMOVABLE or is_locked(run.lock):
            continue
        found.append(Chosen(run, current.status, max(now - _last_use(run, current), 0.0)))
    found = found[policy.keep :] if policy.keep is not None else found
    return [each for each in found if policy.older_than_s is None or each.idle_s >= policy.older_than_s]


def _last_use(run: RunDir, current: CurrentStatus) -> float:
    """The time of the run's last activity or of its creation, whichever is later, in unix seconds."""
    times = [last_event_time(run, current) or 0.0]
    try:
        created = run.meta().get("created")
        times.append(float(created) if isinstance(created, int | float) else 0.0)
    except SeedbedError:
        with suppress(OSError):
            times.append(run.path.stat().st_mtime)
    return max(times)


# Whole runs ----------------------------------------------------------------------------------------------------------


def refuse_living(run: RunDir) -> CurrentStatus:
    """Raise SeedbedError for a run that must not be deleted: one that is running or queued, or a link.

    A run that was asked to stop is given a moment to end.
    """
    if run.path.is_symlink():
        raise SeedbedError(
            f"{quoted(run.path)} is a link to {quoted(run.path.resolve())}, so it is not deleted.",
            "Give the path of that folder, and remove the link afterwards.",
        )
    current, end_s = current_status(run), time.monotonic() + _ENDING_S
    while _is_stopping(run, current) and time.monotonic() < end_s:
        time.sleep(_POLL_S)
        current = current_status(run)
    if current.status not in REMOVABLE:
        raise SeedbedError(
            f"{run.id} is {current.status}, so it is not deleted.", f"Stop it first: seedbed stop {run.id} --wait"
        )
    return current


def _is_stopping(run: RunDir, current: CurrentStatus) -> bool:
    return current.status in LIVE and unfinished_request(run.control, current.view.session) == STOP


def delete(run: RunDir) -> int:
    """Delete a run with its checkpoints and return the bytes freed. Raises SeedbedError while a process owns it."""
    refuse_living(run)
    with _locked(run):
        size_bytes = tree_bytes(run.path)
        remove_tree(run.path)
    left = next(run.path.parent.glob(f".{run.id}.*.gone"), None)
    if left is not None:
        raise SeedbedError(
            f'Some files of "{run.id}" could not be deleted. They are in "{left}".',
            "Check who owns them, and delete the folder by hand.",
        )
    if run.path.parent.name == TASK_FOLDER:
        with suppress(OSError):  # other tasks may be in it
            run.path.parent.rmdir()
    return size_bytes


@contextmanager
def _locked(run: RunDir) -> Iterator[None]:
    """Context manager: hold the lock of a run. Raises SeedbedError if another process holds it.

    A process that has logged how the run ended is given a moment to exit.
    """
    lock, end_s = Lock(run.lock), time.monotonic() + _ENDING_S
    while not (acquired := lock.acquire()) and time.monotonic() < end_s:
        refuse_living(run)
        time.sleep(_POLL_S)
    if not acquired:
        raise SeedbedError(
            f'A process has just started to use "{run.id}", so nothing of it is deleted.',
            f"Stop it first: seedbed stop {run.id} --wait",
        )
    try:
        yield
    finally:
        lock.release()


# Checkpoints ---------------------------------------------------------------------------------------------------------


def plan_pruning(run: RunDir) -> CheckpointPruning | None:
    """Plan the pruning of a run's checkpoints to the last one and the best one; None if there is nothing to delete.

    The checkpoints to keep are verified with their checksums, which reads every byte. If none of them is valid, or a
    newer version of Seedbed wrote any checkpoint, nothing is deleted.
    """
    folders, incomplete = _checkpoint_folders(run)
    left = [found.path for found in superseded_checkpoints(run)]
    incomplete += [found.path for found in damaged(run)]
    try:
        best_marked = {path: _is_best(path) for path in [*folders.values(), *left]}
    except NewerFormatError:
        return None
    view = current_status(run).view
    all_paths = [folders[step] for step in sorted(folders, reverse=True)]
    newest = [path for path in all_paths if path.name.startswith(".") or is_current(view, path)] or all_paths
    current, best = latest_checkpoint(run, view), best_checkpoint(run, view)
    best_first = [best.path] if best else []
    best_first += [path for path in newest if best_marked[path]]
    roles = [newest, [current.path] if current else [], best_first]

    def first_of_each_role(accept: Callable[[Path], bool]) -> set[Path]:
        firsts = (next((path for path in role if path in best_marked and accept(path)), None) for role in roles)
        return {path for path in firsts if path is not None}

    if not incomplete and first_of_each_role(is_whole) >= best_marked.keys():
        return None  # found without reading all their bytes
    kept = first_of_each_role(cache(verifies))
    unneeded = [path for path in [*reversed(all_paths), *left, *incomplete] if path not in kept]
    if not kept or not unneeded:
        return None
    return CheckpointPruning(
        run, [_described(path) for path in [*left, *reversed(all_paths)] if path in kept], [*map(_described, unneeded)]
    )


def prune_checkpoints(planned: CheckpointPruning) -> int:
    """Delete the checkpoints that `planned` lists as not needed, and return the bytes freed.

    Raises SeedbedError if the run is in use or its checkpoints have changed in the meantime.
    """
    refuse_living(planned.run)
    with _locked(planned.run):
        if not all(is_whole(each.path) for each in planned.kept):
            raise SeedbedError(
                f'The checkpoints of "{planned.run.id}" have changed, so none was deleted.',
                "Run the command again.",
            )
        freed = 0
        for each in planned.deleted:
            remove_tree(each.path)
            freed += 0 if each.path.exists() else each.size_bytes
            if each.path.parent != planned.run.checkpoints:
                with suppress(OSError):
                    each.path.parent.rmdir()  # an empty folder of superseded or damaged checkpoints
    with suppress(OSError):
        os.utime(planned.run.path)  # makes Watch read the run again
    return freed


def is_whole(path: Path) -> bool:
    """Whether a checkpoint is complete: it has its DONE file, and all files have the sizes recorded there."""
    return complaint(path) is None


def verifies(path: Path) -> bool:
    """Whether a checkpoint is complete and matches its checksums."""
    try:
        return damage(path) is None
    except SeedbedError:
        return False


def _checkpoint_folders(run: RunDir) -> tuple[dict[int, Path], list[Path]]:
    """The folders of a run's checkpoints by step, and the folders that interrupted writes have left.

    If saving a step again was interrupted, the complete earlier checkpoint of that step is used.
    """
    try:
        entries = sorted(run.checkpoints.iterdir())
    except OSError:
        return {}, []
    entries = [entry for entry in entries if entry.is_dir() and not entry.is_symlink()]
    folders = {step_of(entry): entry for entry in entries if is_named(entry)}
    incomplete = []
    for entry in entries:
        if not is_hidden(entry):
            continue
        there = folders.get(step_of(entry))
        if replaced_name(entry) and is_whole(entry) and (there is None or not is_whole(there)):
            folders[step_of(entry)] = entry
            incomplete += [there] if there else []
        else:
            incomplete.append(entry)
    return folders, incomplete


def _is_best(path: Path) -> bool:
    """Whether a checkpoint is marked as the best. Raises NewerFormatError if a newer version wrote it."""
    try:
        return read_marker(path).best
    except NewerFormatError:
        raise
    except ValueError:
        return False


def _described(path: Path) -> CheckpointFolder:
    return CheckpointFolder(step_of(path), path, tree_bytes(path))
