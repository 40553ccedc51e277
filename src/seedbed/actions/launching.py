"""Creates runs and tasks, starts their jobs, and follows their events. Needs no torch."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from seedbed import __version__
from seedbed.actions.checks import refuse_unusable_store
from seedbed.config.directories import refuse_unusable_cache
from seedbed.config.frozen import dump
from seedbed.config.resolving import Resolved
from seedbed.config.source import parse_address
from seedbed.errors import SeedbedError
from seedbed.events import Record, Run
from seedbed.files import remove_tree
from seedbed.runs import control, labels
from seedbed.runs.base_names import short_name
from seedbed.runs.control import ResumeOptions, StartCondition
from seedbed.runs.kinds import Kind, load_object
from seedbed.runs.lifecycle import RunBusyError
from seedbed.runs.log import Reader
from seedbed.runs.printed import last_printed
from seedbed.runs.process import git_commit, spawn_detached
from seedbed.runs.queue import refuse_circle
from seedbed.runs.status import current_status
from seedbed.runs.statuses import BUSY
from seedbed.runs.store import RunDir, Store, checked_name, refuse_name_of
from seedbed.runs.tasks import create_task, forget_task
from seedbed.text import quoted

JOBS: tuple[str, ...] = (sys.executable, "-P", "-m", "seedbed.jobs")
"""The command that starts a job; -P keeps Python from importing modules from the working directory."""

_POLL_S = 0.05
_START_PATIENCE_S = 60.0
"""The maximum number of seconds to wait for a job's first event. Importing libraries from a slow disk takes long."""


class Launch(NamedTuple):
    """A started job: its run, its process (a child of this one), and the offset in the log at which its events begin."""

    run: RunDir
    process: subprocess.Popen[bytes]
    offset: int


def new_run(
    store: Store, kind: Kind, resolved: Resolved[Any], name: str | None = None, command: Sequence[str] = ()
) -> RunDir:
    """Create a run with the config `resolved`, without starting its job. `command` is recorded in meta.json.

    Raises UsageError, before anything is written, for a config that cannot work.
    """
    config = resolved.config
    refuse_name_of(store.root)
    if kind.checks:
        load_object(kind.checks)(config, store)
    if name is not None:
        checked_name(name)
    refuse_unusable_cache()
    store.refuse_file()
    refuse_unusable_store(store)
    preset, data, train, base = (getattr(config, each, None) for each in ("preset", "data", "train", "base"))
    simulated = getattr(config, "simulate", None)
    subject = data.source if data is not None else simulated.model if simulated is not None else ""
    model = base.model if base is not None else None
    begins = short_name(model) if model is not None else preset or kind.name
    wanted = name if name is not None else default_name(begins, subject)
    meta = {
        "preset": preset,
        "data": data.source if data is not None else None,
        **({"base": model} if model is not None else {}),
        "device_asked": train.device if train is not None else None,
        **({"simulated": True} if kind.simulated else {}),
        **_made_by(command),
    }
    with labels.names(store):
        return store.create(kind.name, store.free_name(wanted), dump(config, resolved.origins), meta)


def new_task(
    store: Store,
    kind: Kind,
    output: Path,
    resolved: Resolved[Any] | None = None,
    name: str | None = None,
    command: Sequence[str] = (),
) -> RunDir:
    """Create a task (work whose directory is next to its `output`), without starting its job.

    Raises UsageError, before anything is written, for a path, config or name that cannot work.
    """
    refuse_name_of(output)
    if kind.checks and resolved is not None:
        load_object(kind.checks)(resolved.config, store)
    refuse_unusable_store(store)
    config = dump(resolved.config, resolved.origins) if resolved is not None else ""
    wanted = checked_name(name) if name is not None else default_name(kind.name, output.name)
    data = getattr(resolved.config, "data", None) if resolved is not None else None
    meta = {**({"data": data.source} if data is not None else {}), **_made_by(command)}
    with labels.names(store):
        return create_task(store, kind.name, store.free_name(wanted), config, output, meta)


def _made_by(command: Sequence[str]) -> dict[str, Any]:
    """The fields of meta.json about the program that created a run or task."""
    return {
        "versions": {"seedbed": __version__, "python": platform.python_version(), "platform": platform.platform()},
        "git_commit": git_commit(Path(__file__).parent),
        "command": list(command),
    }


def default_name(preset: str, source: str) -> str:
    """A readable name for a run, from its preset (or its base's short name) and data source, such as `nano-stories`."""
    preset = re.sub(r"[^A-Za-z0-9._-]+", "-", preset).strip("-._") or "run"
    if source.startswith("hf:") and len(source) > 3:
        address = parse_address(source[3:])
        source = f"{address.name}:{address.config}" if address.config else address.name
    last = source.rstrip("/").rpartition("/")[2].rpartition(":")[2]
    words = re.sub(r"[^A-Za-z0-9]+", "-", Path(last).stem).strip("-").lower()
    return f"{preset}-{words}"[:48].rstrip("-") if words else preset


def start(run: RunDir, resume: ResumeOptions | None = None, turn: StartCondition | None = None) -> Launch:
    """Start the run's job as a detached process, which continues after this process and the shell exit.

    `turn`: what the job waits for before it starts. Raises UsageError if the run would wait for itself, directly or
    through other runs.
    """
    refuse_name_of(run.path)
    refuse_unusable_cache()
    turn = turn or StartCondition()
    if turn.after is not None:
        refuse_circle(run, RunDir(turn.after))
    try:
        offset = run.events.stat().st_size
    except OSError:
        offset = 0
    words = [*JOBS, str(run.path), *(resume or ResumeOptions()).arguments(), *turn.arguments()]
    return Launch(run, spawn_detached(words, run.log), offset)


def start_new_run(
    store: Store,
    kind: Kind,
    resolved: Resolved[Any],
    name: str | None = None,
    turn: StartCondition | None = None,
    command: Sequence[str] = (),
) -> Launch:
    """Create a run and start its job; see `new_run` and `start`. If the job cannot be started, the run is removed."""
    return _started(new_run(store, kind, resolved, name, command), turn)


def start_new_task(
    store: Store,
    kind: Kind,
    output: Path,
    resolved: Resolved[Any] | None = None,
    name: str | None = None,
    command: Sequence[str] = (),
) -> Launch:
    """Create a task and start its job; see `new_task` and `start`. If the job cannot be started, the task is removed."""
    task = new_task(store, kind, output, resolved, name, command)
    try:
        return _started(task)
    except BaseException:
        forget_task(store, task)
        raise


def _started(created: RunDir, turn: StartCondition | None = None) -> Launch:
    try:
        return start(created, turn=turn)
    except BaseException:
        remove_tree(created.path)
        raise


def wait_until_started(launch: Launch) -> None:
    """Wait for the job's first event. Raises SeedbedError if the job exits before that, or takes too long."""
    end = time.monotonic() + _START_PATIENCE_S
    reader = Reader(launch.run.events, launch.offset)
    while not any(is_first_event(record, launch) for record in reader.new()):
        code = launch.process.poll()
        if code is not None:
            raise early_exit_error(launch, code)
        if time.monotonic() > end:
            raise SeedbedError(
                f"The job has not started after {_START_PATIENCE_S:.0f} seconds.",
                f"Read its output in {quoted(launch.run.log)}, and check `seedbed status {launch.run.id}`.",
            )
        time.sleep(_POLL_S)


def is_first_event(record: Record, launch: Launch) -> bool:
    """Whether this record is the `run` event with which the launched job began, not that of another job of the same run."""
    return isinstance(record.event, Run) and record.event.pid == launch.process.pid


def early_exit_error(launch: Launch, code: int) -> SeedbedError:
    """Make the error for a job that exited with status `code` before its first event."""
    if code == RunBusyError.exit_code:
        return busy_error(launch.run)
    printed = last_printed(launch.run.log, lines=1)
    how = f"was killed by signal {-code}" if code < 0 else f"exited with status {code}"
    return SeedbedError(
        f"The job {how} before it could start{': ' + printed if printed else '.'}",
        f"Its output is in {quoted(launch.run.log)}.",
    )


def busy_error(run: RunDir) -> SeedbedError:
    """Make the error for a request to start a run that another process owns."""
    current = current_status(run)
    if current.status in BUSY and control.unfinished_request(run.control, current.view.session) == control.STOP:
        return RunBusyError(f'"{run.id}" is stopping.', f"Wait until it has saved: seedbed stop {run.id} --wait")
    doing = "waiting in the queue" if current.status == "queued" else "already running"
    return RunBusyError(
        f'"{run.id}" is {doing} in another process.',
        f"Watch it with `seedbed status {run.id}`, or stop it with `seedbed stop {run.id}`.",
    )


def follow(launch: Launch) -> Iterator[Record | None]:
    """Yield the log records of a launched job as they are written, and None after each check of the log.

    Returns when the process has exited and its last record was yielded.
    """
    reader = Reader(launch.run.events, launch.offset)
    while True:
        ended = launch.process.poll() is not None
        yield from reader.new()
        if ended:
            return
        yield None
        time.sleep(_POLL_S)
