"""Making runs and tasks, starting their jobs, and following what those say. Needs no torch."""

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
from seedbed.config.environment import env
from seedbed.config.frozen import dump
from seedbed.config.resolving import Resolved
from seedbed.config.source import parse_address
from seedbed.errors import SeedbedError
from seedbed.events import Record, Run
from seedbed.files import expand_home, remove_tree
from seedbed.runs import control, labels
from seedbed.runs.control import Resume, Turn
from seedbed.runs.kinds import Kind, loaded
from seedbed.runs.lifecycle import RunBusyError
from seedbed.runs.log import Reader
from seedbed.runs.printed import last_printed
from seedbed.runs.process import git_commit, spawn_detached
from seedbed.runs.queue import refuse_circle
from seedbed.runs.status import standing
from seedbed.runs.statuses import BUSY
from seedbed.runs.store import RunDir, Store, checked_name, refuse_name_of
from seedbed.runs.tasks import create_task, forget_task
from seedbed.text import quoted

JOBS: tuple[str, ...] = (sys.executable, "-P", "-m", "seedbed.jobs")
"""How a job is started; -P keeps files of the working directory from standing in for modules."""

_POLL_S = 0.05
_START_PATIENCE_S = 60.0
"""Libraries on a slow disk take their time."""


class Launch(NamedTuple):
    """A job on its way: its run, its process (a child of ours), and where its part of the event log begins."""

    run: RunDir
    process: subprocess.Popen[bytes]
    offset: int


def store(runs: str | None = None) -> Store:
    """The store that a person means: the folder given, else SEEDBED_RUNS, else ./runs."""
    return Store(expand_home(runs or env("SEEDBED_RUNS") or "runs"))


def new_run(
    place: Store, kind: Kind, resolved: Resolved[Any], name: str | None = None, command: Sequence[str] = ()
) -> RunDir:
    """Write a run that has not begun. Raises UsageError, and writes nothing, for a config that cannot work."""
    config = resolved.config
    refuse_name_of(place.root)
    if kind.checks:
        loaded(kind.checks)(config, place)
    if name is not None:
        checked_name(name)
    refuse_unusable_cache()
    place.refuse_file()
    refuse_unusable_store(place)
    preset, data, train = (getattr(config, each, None) for each in ("preset", "data", "train"))
    wanted = name if name is not None else default_name(preset or kind.name, data.source if data is not None else "")
    meta = {
        "preset": preset,
        "data": data.source if data is not None else None,
        "device_asked": train.device if train is not None else None,
        **_made_by(command),
    }
    with labels.names(place):
        return place.create(kind.name, place.free_name(wanted), dump(config, resolved.origins), meta)


def new_task(
    place: Store,
    kind: Kind,
    output: Path,
    resolved: Resolved[Any] | None = None,
    name: str | None = None,
    command: Sequence[str] = (),
) -> RunDir:
    """Write a task that has not begun, beside its `output`. Raises UsageError, and writes nothing, where it cannot work."""
    refuse_name_of(output)
    if kind.checks and resolved is not None:
        loaded(kind.checks)(resolved.config, place)
    refuse_unusable_store(place)
    config = dump(resolved.config, resolved.origins) if resolved is not None else ""
    named = checked_name(name) if name is not None else default_name(kind.name, output.name)
    return create_task(place, kind.name, named, config, output, _made_by(command))


def _made_by(command: Sequence[str]) -> dict[str, Any]:
    """What meta.json says of the program that made a run or task."""
    return {
        "versions": {"seedbed": __version__, "python": platform.python_version(), "platform": platform.platform()},
        "git_commit": git_commit(Path(__file__).parent),
        "command": list(command),
    }


def default_name(preset: str, source: str) -> str:
    """A readable name out of preset and data: nano-stories, tiny-novels."""
    if source.startswith("hf:") and len(source) > 3:
        address = parse_address(source[3:])
        source = f"{address.name}:{address.config}" if address.config else address.name
    last = source.rstrip("/").rpartition("/")[2].rpartition(":")[2]
    words = re.sub(r"[^A-Za-z0-9]+", "-", Path(last).stem).strip("-").lower()
    return f"{preset}-{words}"[:48].rstrip("-") if words else preset


def start(run: RunDir, resume: Resume | None = None, turn: Turn | None = None) -> Launch:
    """Start the run's job, detached; it outlives us and the shell. With a `turn` it first waits for that.

    Raises UsageError where the run would wait for itself, or for one that waits for it.
    """
    refuse_name_of(run.path)
    refuse_unusable_cache()
    turn = turn or Turn()
    if turn.after is not None:
        refuse_circle(run, RunDir(turn.after))
    try:
        offset = run.events.stat().st_size
    except OSError:
        offset = 0
    words = [*JOBS, str(run.path), *(resume or Resume()).arguments(), *turn.arguments()]
    return Launch(run, spawn_detached(words, run.log), offset)


def begin(
    place: Store,
    kind: Kind,
    resolved: Resolved[Any],
    name: str | None = None,
    turn: Turn | None = None,
    command: Sequence[str] = (),
) -> Launch:
    """A new run whose job is on its way; see `new_run` and `start`. Where no job was started there is no run either."""
    return _started(new_run(place, kind, resolved, name, command), turn)


def begin_task(
    place: Store,
    kind: Kind,
    output: Path,
    resolved: Resolved[Any] | None = None,
    name: str | None = None,
    command: Sequence[str] = (),
) -> Launch:
    """A new task whose job is on its way; see `new_task` and `start`. Where no job was started there is no task either."""
    made = new_task(place, kind, output, resolved, name, command)
    try:
        return _started(made)
    except BaseException:
        forget_task(place, made)
        raise


def _started(made: RunDir, turn: Turn | None = None) -> Launch:
    try:
        return start(made, turn=turn)
    except BaseException:
        remove_tree(made.path)
        raise


def wait_until_begun(launch: Launch) -> None:
    """Until the job has said its first word. Raises SeedbedError where it dies before that."""
    end = time.monotonic() + _START_PATIENCE_S
    reader = Reader(launch.run.events, launch.offset)
    while not any(is_hello(record, launch) for record in reader.new()):
        code = launch.process.poll()
        if code is not None:
            raise died_early(launch, code)
        if time.monotonic() > end:
            raise SeedbedError(
                f"The job has not begun after {_START_PATIENCE_S:.0f} seconds.",
                f"Watch {launch.run.log} and seedbed status.",
            )
        time.sleep(_POLL_S)


def is_hello(record: Record, launch: Launch) -> bool:
    """Whether this is the first word of the job that was launched, and not of another that took the run before it."""
    return isinstance(record.event, Run) and record.event.pid == launch.process.pid


def died_early(launch: Launch, code: int) -> SeedbedError:
    """What to tell of a job that ended before its first event."""
    if code == RunBusyError.exit_code:
        return busy(launch.run)
    said = last_printed(launch.run.log, lines=1)
    how = f"by signal {-code}" if code < 0 else f"with status {code}"
    return SeedbedError(
        f"The job ended {how} before it began{': ' + said if said else '.'}",
        f"All that it said is in {quoted(launch.run.log)}.",
    )


def busy(run: RunDir) -> SeedbedError:
    """What to tell who wants to start a run that somebody else has."""
    now = standing(run)
    if now.status in BUSY and control.outstanding(run.control, now.view.session) == control.STOP:
        return RunBusyError(f'"{run.id}" is stopping.', f"Wait until it has saved: seedbed stop {run.id} --wait")
    doing = "waiting for its turn" if now.status == "queued" else "already running"
    return RunBusyError(
        f'"{run.id}" is {doing} in another process.',
        f"Watch it with `seedbed status {run.id}`, or stop it with `seedbed stop {run.id}`.",
    )


def follow(launch: Launch) -> Iterator[Record | None]:
    """The records of this launch as they are written, and None whenever there was nothing new for a moment.

    Ends when the process has ended and everything it wrote was told.
    """
    reader = Reader(launch.run.events, launch.offset)
    while True:
        ended = launch.process.poll() is not None
        yield from reader.new()
        if ended:
            return
        yield None
        time.sleep(_POLL_S)
