"""What a store's runs take up, and how they go: whole runs, or the checkpoints that nobody needs. Knows no kind of work.

Everything here holds the run's lock while it removes, so that no job can begin meanwhile.
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
from seedbed.files import Lock, is_locked, remove_tree
from seedbed.runs.checkpoints import best_checkpoint, damaged, in_force, latest_checkpoint, left_behind
from seedbed.runs.status import Standing, last_sign, standing
from seedbed.runs.statuses import OVER, REMOVABLE
from seedbed.runs.store import RunDir, Store
from seedbed.text import quoted

_LOGS = ("events.jsonl", "job.log", ".series")
_CUT_OFF = re.compile(r"\.new-run\.[^.]+|\.\d{8}-\d{6}-\d{3}-.+\.gone")


class Usage(NamedTuple):
    """Bytes of a run's files."""

    run: RunDir
    checkpoints_bytes: int
    log_bytes: int
    """The event log, what the job printed, and the index of the curves."""
    rest_bytes: int

    @property
    def total_bytes(self) -> int:
        """All of them."""
        return self.checkpoints_bytes + self.log_bytes + self.rest_bytes


class Policy(NamedTuple):
    """Which runs may go: all conditions must hold. Archived runs are chosen by `archived` alone, others only without."""

    older_than_s: float | None = None
    """Seconds since the run last did anything."""
    keep: int | None = None
    """How many of the newest that fit are spared."""
    statuses: frozenset[str] = frozenset()
    """Any of these; all that are over and whole, if empty."""
    archived: bool = False


class Chosen(NamedTuple):
    """A run that a policy chose."""

    run: RunDir
    status: str
    idle_s: float


class CheckpointFolder(NamedTuple):
    """A folder with a checkpoint, or what is left of one."""

    step: int
    path: Path
    size_bytes: int


class Thinning(NamedTuple):
    """Checkpoints of a run that stay because they verify, and those that may go."""

    run: RunDir
    kept: list[CheckpointFolder]
    going: list[CheckpointFolder]

    @property
    def freed_bytes(self) -> int:
        """Bytes of those that may go."""
        return sum(each.size_bytes for each in self.going)


# What there is -------------------------------------------------------------------------------------------------------


def tree_bytes(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; links are not followed, and what cannot be read counts nothing."""
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
    """What a run takes up now."""
    checkpoints = tree_bytes(run.checkpoints) if run.checkpoints.exists() else 0
    log = sum(tree_bytes(run.path / name) for name in _LOGS)
    return Usage(run, checkpoints, log, max(tree_bytes(run.path) - checkpoints - log, 0))


def leftovers(store: Store, idle_s: float = 0.0) -> list[Path]:
    """Hidden folders of a store that were not touched for so long: runs whose making or removal was cut off."""
    try:
        entries = [entry for entry in sorted(store.root.iterdir()) if _CUT_OFF.fullmatch(entry.name)]
        folders = [entry for entry in entries if entry.is_dir() and not entry.is_symlink()]
        return [folder for folder in folders if time.time() - folder.stat().st_mtime >= idle_s]
    except OSError:
        return []


def choose(store: Store, policy: Policy) -> list[Chosen]:
    """The runs that a policy lets go, the newest first. None of them is alive."""
    now = time.time()
    found: list[Chosen] = []
    for run in reversed(store.all()):
        if run.is_archived() != policy.archived:
            continue
        stands = standing(run)
        if stands.status not in (policy.statuses or OVER) & REMOVABLE or is_locked(run.lock):
            continue
        found.append(Chosen(run, stands.status, max(now - _last_use(run, stands), 0.0)))
    found = found[policy.keep :] if policy.keep is not None else found
    return [each for each in found if policy.older_than_s is None or each.idle_s >= policy.older_than_s]


def _last_use(run: RunDir, stands: Standing) -> float:
    """When the run last did anything, in unix seconds; never earlier than anything known of it."""
    times = [last_sign(run, stands) or 0.0]
    try:
        created = run.meta().get("created")
        times.append(float(created) if isinstance(created, int | float) else 0.0)
    except SeedbedError:
        with suppress(OSError):
            times.append(run.path.stat().st_mtime)
    return max(times)


# Whole runs ----------------------------------------------------------------------------------------------------------


def refuse_living(run: RunDir) -> Standing:
    """Raise SeedbedError for a run that cannot be removed: one that a process has or waits for, or a link."""
    if run.path.is_symlink():
        raise SeedbedError(
            f"{quoted(run.path)} is a link to {quoted(run.path.resolve())}.",
            "Name that folder itself, and remove the link afterwards.",
        )
    stands = standing(run)
    if stands.status not in REMOVABLE:
        raise SeedbedError(
            f"{run.id} is {stands.status}, so it is not removed.", f"Stop it first: seedbed stop {run.id} --wait"
        )
    return stands


def delete(run: RunDir) -> int:
    """Remove a run and all that it saved; the bytes that were freed. Raises SeedbedError while a process has it."""
    refuse_living(run)
    with _holding(run):
        size_bytes = tree_bytes(run.path)
        remove_tree(run.path)
    left = next(run.path.parent.glob(f".{run.id}.*.gone"), None)
    if left is not None:
        raise SeedbedError(
            f'Not all of "{run.id}" could be removed. What is left: "{left}".',
            "Check who owns the files in it, and remove it by hand.",
        )
    return size_bytes


@contextmanager
def _holding(run: RunDir) -> Iterator[None]:
    """The lock of a run that nobody has. Raises SeedbedError where somebody does."""
    lock = Lock(run.lock)
    if not lock.acquire():
        raise SeedbedError(
            f'A process has just taken "{run.id}", so nothing of it is removed.',
            f"Stop it first: seedbed stop {run.id} --wait",
        )
    try:
        yield
    finally:
        lock.release()


# Checkpoints ---------------------------------------------------------------------------------------------------------


def thinning(run: RunDir) -> Thinning | None:
    """What would go if only the last and the best checkpoint stayed, wherever they lie; None if that is nothing.

    What stays has been compared with its checksums, byte for byte, which takes its time. Where nothing verifies, and
    where a newer version wrote a checkpoint, all stay.
    """
    folders, torn = _checkpoint_folders(run)
    left = [found.path for found in left_behind(run)]
    torn += [found.path for found in damaged(run)]
    try:
        best_marked = {path: _is_best(path) for path in [*folders.values(), *left]}
    except NewerFormatError:
        return None
    view = standing(run).view
    every = [folders[step] for step in sorted(folders, reverse=True)]
    newest = [path for path in every if path.name.startswith(".") or in_force(view, path)] or every
    current, best = latest_checkpoint(run, view), best_checkpoint(run, view)
    best_first = [best.path] if best else []
    best_first += [path for path in newest if best_marked[path]]
    roles = [newest, [current.path] if current else [], best_first]

    def choose_by(good: Callable[[Path], bool]) -> set[Path]:
        firsts = (next((path for path in role if path in best_marked and good(path)), None) for role in roles)
        return {path for path in firsts if path is not None}

    if not torn and choose_by(is_whole) >= best_marked.keys():
        return None  # without reading all their bytes
    kept = choose_by(cache(verifies))
    going = [path for path in [*reversed(every), *left, *torn] if path not in kept]
    if not kept or not going:
        return None
    return Thinning(
        run, [_described(path) for path in [*left, *reversed(every)] if path in kept], [*map(_described, going)]
    )


def thin(planned: Thinning) -> int:
    """Remove what a thinning lets go; the bytes that were freed. Raises SeedbedError where the run has moved on since."""
    refuse_living(planned.run)
    with _holding(planned.run):
        if not all(is_whole(each.path) for each in planned.kept):
            raise SeedbedError(
                f'The checkpoints of "{planned.run.id}" have changed since, so all of them stay.', "Look again."
            )
        freed = 0
        for each in planned.going:
            remove_tree(each.path)
            freed += 0 if each.path.exists() else each.size_bytes
            if each.path.parent != planned.run.checkpoints:
                with suppress(OSError):
                    each.path.parent.rmdir()  # that of checkpoints which were set aside, once it is empty
    with suppress(OSError):
        os.utime(planned.run.path)  # windows look again at runs whose folder has changed
    return freed


def is_whole(path: Path) -> bool:
    """Whether a checkpoint has its marker, and every file the size that this says."""
    return complaint(path) is None


def verifies(path: Path) -> bool:
    """Whether a checkpoint is whole and every byte is what was saved."""
    try:
        return damage(path) is None
    except SeedbedError:
        return False


def _checkpoint_folders(run: RunDir) -> tuple[dict[int, Path], list[Path]]:
    """Folders by step, and what cut-off writes left.

    A good one that was set aside while the same step was saved again stands in where that never ended.
    """
    try:
        entries = sorted(run.checkpoints.iterdir())
    except OSError:
        return {}, []
    entries = [entry for entry in entries if entry.is_dir() and not entry.is_symlink()]
    folders = {step_of(entry): entry for entry in entries if is_named(entry)}
    torn = []
    for entry in entries:
        if not is_hidden(entry):
            continue
        there = folders.get(step_of(entry))
        if replaced_name(entry) and is_whole(entry) and (there is None or not is_whole(there)):
            folders[step_of(entry)] = entry
            torn += [there] if there else []
        else:
            torn.append(entry)
    return folders, torn


def _is_best(path: Path) -> bool:
    """Whether a marker says that its checkpoint is the best. Raises NewerFormatError where a newer version wrote it."""
    try:
        return read_marker(path).best
    except NewerFormatError:
        raise
    except ValueError:
        return False


def _described(path: Path) -> CheckpointFolder:
    return CheckpointFolder(step_of(path), path, tree_bytes(path))
