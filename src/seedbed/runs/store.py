"""The store: the folder of run directories. Creates, lists and finds runs."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from seedbed import text
from seedbed.config.environment import env
from seedbed.errors import SeedbedError, UsageError, storage_error
from seedbed.files import expand_home, make_dir, publish_dir, read_json, temporary_dir, write_json
from seedbed.locks import is_locked
from seedbed.text import printable, shorten

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,63}")
LATEST = "latest"
TASKS = ".tasks"
"""The folder of links to tasks (runs/tasks.py) in a store."""
META_FORMAT = 1
_STAMPED = re.compile(r"\d{8}-\d{6}-\d{3}-")
"""The beginning of a run's id: its time of creation, such as `20261121-101500-000-`."""
_SHOWN = 10


class UnknownRunError(UsageError):
    """No run has the given id, name or path."""


class RunDir(NamedTuple):
    """The directory of a run or task, and the paths in it."""

    path: Path

    @property
    def id(self) -> str:
        """The name of the directory, which is the id of the run or task; it never changes."""
        return self.path.name

    @property
    def config(self) -> Path:
        """The path of config.toml, the config that the run was started with."""
        return self.path / "config.toml"

    @property
    def labels(self) -> Path:
        """The path of labels.json: name, tags, note, archived; missing until one of them is changed."""
        return self.path / "labels.json"

    @property
    def events(self) -> Path:
        """The path of the event log, events.jsonl."""
        return self.path / "events.jsonl"

    @property
    def state(self) -> Path:
        """The path of state.json, which has the heartbeat; the file may be missing or outdated."""
        return self.path / "state.json"

    @property
    def control(self) -> Path:
        """The path of control.json, through which the job gets requests."""
        return self.path / "control.json"

    @property
    def log(self) -> Path:
        """The path of job.log, the output of the job and its libraries."""
        return self.path / "job.log"

    @property
    def lock(self) -> Path:
        """The path of the lock file that the job's process holds."""
        return self.path / ".lock"

    @property
    def checkpoints(self) -> Path:
        """The path of the folder of checkpoints; missing before the first checkpoint."""
        return self.path / "checkpoints"

    def meta(self) -> dict[str, Any]:
        """The content of meta.json, written at creation. Raises SeedbedError if it is missing, broken or too new."""
        value = read_json(self.path / "meta.json")
        if not isinstance(value, dict) or not isinstance(value.get("kind"), str):
            raise SeedbedError(
                f"{text.quoted(self.path)} is not a complete run: its meta.json is missing or broken.",
                "It may be an interrupted copy; delete it or copy it again.",
            )
        version = value.get("format", META_FORMAT)
        if isinstance(version, int) and version > META_FORMAT:
            raise SeedbedError(
                f"{text.quoted(self.path)} was made by a newer version of Seedbed (its meta.json uses format {version}; "
                f"this version reads up to {META_FORMAT}).",
                "Update Seedbed to use this run.",
            )
        return value

    def name(self) -> str:
        """The run's name, or its id if the name cannot be read."""
        for path in (self.labels, self.path / "meta.json"):
            try:
                value = read_json(path)
            except SeedbedError:
                continue
            if isinstance(value, dict) and isinstance(value.get("name"), str) and value["name"]:
                return str(value["name"])
        return self.id

    def first_name(self) -> str:
        """The name that the run was created with, or its id if that cannot be read."""
        try:
            value = read_json(self.path / "meta.json")
        except SeedbedError:
            return self.id
        name = value.get("name") if isinstance(value, dict) else None
        return name if isinstance(name, str) and name else self.id

    def is_archived(self) -> bool:
        """Whether the run is archived; False if its labels cannot be read."""
        try:
            value = read_json(self.labels)
        except SeedbedError:
            return False
        return isinstance(value, dict) and value.get("archived") is True


Fits = Callable[[RunDir], bool]


class Store:
    """A folder of run directories; anything else in it is ignored."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def refuse_file(self) -> None:
        """Raise UsageError if the path of the store exists and is not a folder."""
        if not self.root.is_dir() and (self.root.exists() or self.root.is_symlink()):
            raise UsageError(
                f"{quoted(str(self.root), 200)} is {'a file' if self.root.exists() else 'a broken link'}, not a folder of"
                " runs.",
                "Give a folder with --runs DIR or SEEDBED_RUNS, or move that file.",
            )

    def create(
        self, kind: str, name: str, config_toml: str, meta: Mapping[str, Any], elsewhere: str = "use --runs DIR"
    ) -> RunDir:
        """Create the directory of a run, complete or not at all. Raises StorageError if that fails.

        `elsewhere`: how the user chooses another folder, for the hint.
        """
        self.refuse_file()
        make_dir(self.root)
        created = time.time()
        building = temporary_dir(self.root, "new-run")
        try:
            (building / "config.toml").write_text(config_toml, encoding="utf-8")
            write_json(
                building / "meta.json",
                {"format": META_FORMAT, "kind": kind, "name": name, "created": created, **meta},
                durable=False,
            )
            for wait_ms in range(1000):
                path = self.root / run_id(created + wait_ms / 1000, name)
                if not path.exists():
                    publish_dir(building, path)
                    return RunDir(path.absolute())
        except OSError as error:
            found = storage_error(text.quoted(self.root), error)
            found.hint = f"{found.hint} You can also {elsewhere}."
            raise found from error
        finally:
            import shutil

            shutil.rmtree(building, ignore_errors=True)
        raise SeedbedError(f"{self.root} already has a run for every millisecond of this second.", "Try again.")

    def all(self) -> list[RunDir]:
        """All runs in the store, oldest first. Files, hidden folders and folders without a meta.json are skipped."""
        root = self.root.absolute()
        return [RunDir(root / name) for name in self._names() if _is_run(f"{root}/{name}")]

    def _names(self) -> list[str]:
        """The names of the folders in the store that may be runs, oldest first."""
        try:
            with os.scandir(self.root) as entries:
                return sorted(entry.name for entry in entries if not entry.name.startswith("."))
        except FileNotFoundError:
            return []
        except OSError as error:
            self.refuse_file()
            raise SeedbedError(
                f"Cannot read the runs in {text.quoted(self.root)}: {error.strerror}.",
                "Check the path and its permissions, or use --runs DIR.",
            ) from error

    def tasks(self) -> list[RunDir]:
        """All tasks that the store links to and that still exist, oldest first."""
        return list(self._existing(sorted(self._task_names())))

    def _task_names(self) -> list[str]:
        try:
            return os.listdir(self.root / TASKS)  # noqa: PTH208  # names alone
        except OSError:
            return []

    def path_of(self, name: str) -> str:
        """The path of the run with the id `name`, or of the link to the task with it. A str, which is faster than a Path."""
        path = f"{self.root.absolute()}/{name}"
        link = f"{self.root.absolute()}/{TASKS}/{name}"
        return link if not os.path.lexists(path) and os.path.islink(link) else path  # noqa: PTH114

    def run_dir(self, name: str) -> RunDir:
        """The directory of the run or task with the id `name`, whether or not it exists."""
        path = self.path_of(name)
        return RunDir(Path(path).resolve() if f"/{TASKS}/" in path else Path(path))

    def _existing(self, names: Iterable[str]) -> Iterator[RunDir]:
        """Yield the runs and tasks with these ids that exist; lazily, since a caller may need only the first of many."""
        return (self.run_dir(name) for name in names if _is_run(self.path_of(name)))

    def free_name(self, wanted: str) -> str:
        """A name that no run or task has yet: `wanted`, or else `wanted-2`, `wanted-3`, ..."""
        taken = {run.name().casefold() for run in (*self.all(), *self.tasks())}
        for number in range(1, len(taken) + 2):
            name = wanted if number == 1 else f"{wanted}-{number}"
            if name.casefold() not in taken:
                return name
        raise AssertionError

    def find(self, ref: str | None, *, fits: Fits | None = None, wanted: str = "complete run") -> RunDir:
        """The run or task that `ref` refers to: an id, a unique prefix of one, a name, a path, or `latest` (a run).

        Without a `ref`, it is the newest run or task for which `fits` is true: running ones first, then queued ones,
        then the others. `wanted` describes such a run in messages. An archived run is found only by id, name or path.
        Raises UsageError, which lists candidates, if no run or several match.
        """
        if ref == LATEST:
            return self._first(self._existing(self._names()[::-1]), _is_whole, "complete run")
        if ref is None:
            newest = sorted({*self._names(), *self._task_names()}, reverse=True)
            busy = [name for name in newest if is_locked(f"{self.path_of(name)}/.lock")]
            first = sorted(self._existing(busy), key=_activity)
            rest = self._existing(name for name in newest if name not in busy)
            return self._first(chain(first, rest), fits or _is_whole, wanted)
        if not ref.strip():
            raise UsageError(
                "The name of the run is empty.", "Give an id, the beginning of an id, a name, a path, or `latest`."
            )
        path = expand_home(ref)
        if ("/" in ref or ref in (".", "..")) and _exists(path):
            if not is_run(path):
                raise UsageError(
                    f'"{printable(ref)}" is not a run\'s directory: it has no meta.json.',
                    "`seedbed runs` lists the runs.",
                )
            return RunDir(path.resolve())
        runs = [*self.all(), *self.tasks()]
        names = {run.id: run.name() for run in runs}
        for found in (
            [run for run in runs if run.id == ref],
            [run for run in runs if names[run.id] == ref],
            [run for run in runs if names[run.id].casefold() == ref.casefold()],
            [run for run in runs if run.id.startswith(ref)],
        ):
            if len(found) == 1:
                return found[0]
            if found:
                raise self._ambiguous(ref, found, names)
        if is_run(path):
            return RunDir(path.resolve())
        raise self._unknown(ref, runs, names)

    def _first(self, runs: Iterable[RunDir], fits: Fits, wanted: str) -> RunDir:
        number = archived = 0
        for run in runs:
            number += 1
            if run.is_archived():
                archived += 1
            elif fits(run):
                return run
        if number and archived == number:
            raise UsageError(
                f'Every run in "{printable(str(self.root))}" is archived.',
                "Give the name of one (`seedbed runs --all` lists them), or unarchive one.",
            )
        if not number and (tasks := self._task_names()):
            raise UsageError(
                f'There are no runs in "{printable(str(self.root))}" yet, only tasks, which `latest` does not mean.',
                f"Give no RUN for the newest of them, or its id: {max(tasks)}.",
            )
        if not number:
            raise UsageError(
                f'There are no runs in "{printable(str(self.root))}" yet.',
                "Start one with `seedbed train`, or use another folder with --runs DIR.",
            )
        raise UsageError(f'There is no {wanted} in "{printable(str(self.root))}".', "`seedbed runs` lists the runs.")

    def _ambiguous(self, ref: str, found: list[RunDir], names: Mapping[str, str]) -> UsageError:
        listed = [f"  {run.id}  ({printable(names[run.id])})" for run in reversed(found[-_SHOWN:])]
        if len(found) > _SHOWN:
            listed.append(f"  and {len(found) - _SHOWN} older ones")
        return UsageError(
            f'"{printable(ref)}" could be any of {len(found)} runs:\n' + "\n".join(listed),
            "Give a longer part of the id.",
        )

    def _unknown(self, ref: str, runs: list[RunDir], names: Mapping[str, str]) -> UsageError:
        known = [*names.values(), *names]
        import difflib

        close = difflib.get_close_matches(ref, known, n=3, cutoff=0.5)
        if not close:
            close = [name for name in known if ref.casefold() in name.casefold()][:3]
        shown = shorten(printable(ref), 80)
        hint = "`seedbed runs` lists the runs." if runs else "There are no runs yet; start one with `seedbed train`."
        if close:
            meant = [quoted(name) for name in dict.fromkeys(close)]
            hint = f"Did you mean {' or '.join(meant)}?"
        return UnknownRunError(f'There is no run "{shown}" in "{printable(str(self.root))}".', hint)


def chosen_store(runs: str | None = None) -> Store:
    """The store to use: the folder given with --runs, else SEEDBED_RUNS, else ./runs."""
    return Store(expand_home(runs or env("SEEDBED_RUNS") or "runs"))


def run_id(created: float, name: str) -> str:
    """The id of a run: its UTC time of creation to the millisecond, so that ids sort by time, and its name in lower case."""
    whole, milliseconds = divmod(int(created * 1000), 1000)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(whole))
    words = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return f"{stamp}-{milliseconds:03d}-{words or 'run'}"


def quoted(value: str, width: int = 60) -> str:
    """Prepare a text for a message: put it in quotes, shorten it, and replace control characters."""
    return f'"{shorten(printable(value), width)}"'


def checked_name(name: str, option: str = "--name ") -> str:
    """Return the name if it is a valid run name; else raise UsageError. `option` is shown before the name in the message."""
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{option}{quoted(name, 90)} is not a valid run name.",
            "A name starts with a letter or digit and has letters, digits, spaces, '_', '.' or '-' (at most 64"
            " characters).",
        )
    if name.casefold() == LATEST:
        raise UsageError(
            f'{option}"{name}" is reserved: `{LATEST}` always means the newest run.', "Choose another name."
        )
    return name


def _activity(run: RunDir) -> int:
    """The key that sorts runs whose lock is held: 0 for a running or paused run, 1 for a queued one."""
    try:
        state = read_json(run.state)
    except SeedbedError:
        return 0
    status = state.get("status") if isinstance(state, dict) else None
    return int(isinstance(status, dict) and status.get("status") == "queued")


def _is_whole(run: RunDir) -> bool:
    try:
        run.meta()
    except SeedbedError:
        return False
    return True


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def is_run(path: Path) -> bool:
    """Whether a folder is the directory of a run.

    If the folder may not be read, its name decides, so that the run still appears in lists.
    """
    return _is_run(str(path))


def _is_run(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(f"{path}/meta.json").st_mode)  # noqa: PTH116  # a Path is too slow for a thousand runs
    except PermissionError:
        return _STAMPED.match(path.rpartition("/")[2]) is not None
    except (OSError, ValueError):
        return False


def refuse_name_of(folder: Path) -> None:
    """Raise UsageError if the path of a folder is not UTF-8, since checkpoints in it could not be opened."""
    absolute = str(folder.absolute())
    if not text.is_utf_8(absolute):
        raise UsageError(
            f"The path {quoted(absolute, 500)} is not UTF-8, so the libraries that read weights cannot open it.",
            "Rename the folder; for new runs, use --runs DIR.",
        )
