"""The verbs that every front end shares: new, start, follow, stop, pause, resume, rename, delete, generate, and others.

Knows no screen and no tensor.
"""

from __future__ import annotations

import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import replace

from seedbed import __version__
from seedbed.checkpoint.marker import is_marked
from seedbed.config.directories import cache_dir, refuse_unusable_cache
from seedbed.config.environment import env
from seedbed.config.frozen import dump, load_frozen
from seedbed.config.resolving import Resolved
from seedbed.config.roots import TRAIN
from seedbed.config.schema import Config
from seedbed.config.source import is_prepared, parse_address
from seedbed.errors import SeedbedError, StorageError, UsageError
from seedbed.events import Record, Run
from seedbed.files import expand_home, free_bytes, is_locked, make_dir, refuse_without_locks, remove_tree
from seedbed.runs import asking, control, labels, retention
from seedbed.runs.asking import Request
from seedbed.runs.caches import dataset_of
from seedbed.runs.checkpoints import checkpoints
from seedbed.runs.child import Child
from seedbed.runs.control import Resume, Turn
from seedbed.runs.lifecycle import LOCK_REMEDY, RunBusyError
from seedbed.runs.log import Reader
from seedbed.runs.lookup import find_checkpoint
from seedbed.runs.printed import last_printed
from seedbed.runs.process import git_commit, spawn_detached
from seedbed.runs.queue import refuse_circle
from seedbed.runs.resuming import Leaves, checked, leaves, refuse_nothing_to_do
from seedbed.runs.status import Standing, standing
from seedbed.runs.statuses import BUSY, LIVE, OVER
from seedbed.runs.store import RunDir, Store, checked_name, refuse_name_of
from seedbed.text import quoted

if TYPE_CHECKING:
    from seedbed.config.check import Finding

JOBS: tuple[str, ...] = (sys.executable, "-P", "-m", "seedbed.jobs")
"""How a job is started; -P keeps files of the working directory from standing in for modules."""

_POLL_S = 0.05
_START_PATIENCE_S = 60.0
"""Libraries on a slow disk take their time."""
_ATTEMPTS = 5


class Launch(NamedTuple):
    """A job on its way: its run, its process (a child of ours), and where its part of the event log begins."""

    run: RunDir
    process: subprocess.Popen[bytes]
    offset: int


# New and start -------------------------------------------------------------------------------------------------------


def store(runs: str | None = None) -> Store:
    """The store that a person means: the folder given, else SEEDBED_RUNS, else ./runs."""
    return Store(expand_home(runs or env("SEEDBED_RUNS") or "runs"))


def new_run(place: Store, resolved: Resolved[Config], name: str | None = None, command: Sequence[str] = ()) -> RunDir:
    """Write a training run that has not begun. Raises UsageError, and writes nothing, for a config that cannot work."""
    config = resolved.config
    refuse_name_of(place.root)
    refuse_errors(config, place)
    if name is not None:
        checked_name(name)
    refuse_unusable_cache()
    place.refuse_file()
    refuse_unusable_store(place)
    wanted = name if name is not None else default_name(config.preset, config.data.source)
    meta = {
        "preset": config.preset,
        "data": config.data.source,
        "device_asked": config.train.device,
        "versions": {"seedbed": __version__, "python": platform.python_version(), "platform": platform.platform()},
        "git_commit": git_commit(Path(__file__).parent),
        "command": list(command),
    }
    with labels.names(place):
        return place.create("train", place.free_name(wanted), dump(config, resolved.origins), meta)


def refuse_unusable_store(place: Store) -> None:
    """Raise SeedbedError where no run can be made: a folder that cannot be written, or that has no locks."""
    try:
        refuse_without_locks(make_dir(place.root), LOCK_REMEDY)
    except StorageError as error:
        if error.hint == LOCK_REMEDY:
            raise
        raise SeedbedError(error.message, f"{error.hint} --runs DIR, or SEEDBED_RUNS=DIR, names the folder.") from error


def refuse_errors(config: Config, place: Store) -> None:
    """Raise for the first thing that can be seen to fail: from the config, this machine's memory, and the data."""
    from seedbed.config.check import check

    for finding in check(config, total_memory_bytes=_total_memory_bytes(config)):
        if finding.level == "error":
            raise UsageError(f"{finding.text} {finding.why}".strip(), finding.hint)
    refuse_unusable_data(config, place)


def examine(config: Config, place: Store) -> list[Finding]:
    """What speaks against training this on this machine as it is now, errors first: settings, disk, memory.

    The memory is that of the CPU where a CPU will train, else that of the GPU with the most; not judged where unknown.
    """
    from seedbed.config.check import check

    return check(
        config,
        free_disk_bytes=free_bytes(place.root),
        free_memory_bytes=_free_memory_bytes(config),
        total_memory_bytes=_total_memory_bytes(config),
    )


def _total_memory_bytes(config: Config) -> int:
    """The most memory that a device of this machine has on which the config may train.

    A GPU is only asked for where main memory is little, since asking takes a moment.
    """
    from seedbed.config.arithmetic import memory_estimate
    from seedbed.hardware import gpu, memory

    total = memory.total_bytes()
    needed = memory_estimate(config, config.tokenizer.vocab_size, "fp32").total
    if needed <= total or config.train.device.strip().lower() == "cpu":
        return total
    return max(total, *(each.total_bytes or 0 for each in gpu.probe().found), 0)


def _free_memory_bytes(config: Config) -> int | None:
    from seedbed.hardware import gpu, memory

    asked = config.train.device.strip().lower()
    gpus = () if asked == "cpu" else gpu.probe().found
    if not gpus:
        return memory.available_bytes()
    free = [each.total_bytes - each.used_bytes for each in gpus if each.total_bytes and each.used_bytes is not None]
    return max(free, default=None)


def refuse_unusable_data(config: Config, place: Store | None = None) -> None:
    """Raise where a quick look shows that the source cannot be read; `place` is where the run will be.

    Raises UsageError for what makes no sense as written or is not there, SeedbedError for text that is of no use.
    """
    from seedbed.data.look import refuse_unusable
    from seedbed.tokenizer.sizes import refuse_tokenizer

    refuse_unusable(config.data, config.model.context, place.root if place is not None else None)
    if not is_prepared(config.data.source.strip(), Path()):
        refuse_tokenizer(config.tokenizer)


def default_name(preset: str, source: str) -> str:
    """A readable name out of preset and data: nano-stories, tiny-novels."""
    if source.startswith("hf:") and len(source) > 3:
        address = parse_address(source[3:])
        source = f"{address.name}:{address.config}" if address.config else address.name
    last = source.rstrip("/").rpartition("/")[2].rpartition(":")[2]
    words = re.sub(r"[^A-Za-z0-9]+", "-", Path(last).stem).strip("-").lower()
    return f"{preset}-{words}"[:48].rstrip("-")


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
    resolved: Resolved[Config],
    name: str | None = None,
    turn: Turn | None = None,
    command: Sequence[str] = (),
) -> Launch:
    """A new run whose job is on its way; see `new_run` and `start`. Where no job was started there is no run either."""
    made = new_run(place, resolved, name, command)
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


# Follow --------------------------------------------------------------------------------------------------------------


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


# Stop, pause and resume ----------------------------------------------------------------------------------------------


def stop(run: RunDir, reason: str = "asked to stop") -> Request:
    """Ask the run's job to stop and save: one that works, is paused, or waits for its turn. Raises SeedbedError else."""
    return asking.stop(run, reason)


def pause(run: RunDir) -> Request:
    """Ask the run's job to save and hold. Raises SeedbedError where it does not work, or holds already."""
    return asking.pause(run)


def go_on(run: RunDir) -> Request:
    """Let a paused run go on. Raises SeedbedError where it is not paused, or because its disk is full."""
    return asking.go_on(run)


def save_now(run: RunDir) -> Request:
    """Ask the run's job for a checkpoint. Raises SeedbedError where it does not work."""
    return asking.save_now(run)


def wait_until_ended(asked: Request) -> Standing:
    """Until the job that was asked to stop has ended and let go of its run."""
    return asked.wait(lambda _: False)


def is_running(run: RunDir) -> bool:
    """Whether a job works on the run."""
    return standing(run).status in BUSY


def is_live(run: RunDir) -> bool:
    """Whether a job works on the run, or waits for its turn."""
    return standing(run).status in LIVE


def is_held(run: RunDir) -> bool:
    """Whether the run is paused, or about to be."""
    return asking.is_held(run)


def has_checkpoint(run: RunDir) -> bool:
    """Whether the run has a finished checkpoint."""
    return bool(checkpoints(run, standing(run).view))


def has_steps(run: RunDir) -> bool:
    """Whether the run has logged a training step."""
    return standing(run).view.step > 0


def is_resumable(run: RunDir) -> bool:
    """Whether the run ended short of its horizon, with something to go on from: stopped, lost, or failed under way."""
    stands = standing(run)
    if stands.status in ("stopped", "lost"):
        return run.config.is_file()
    return stands.status == "failed" and (stands.view.step > 0 or has_checkpoint(run))


def can_go_on(run: RunDir) -> bool:
    """Whether `resume` alone means something for the run: it is paused, or resumable."""
    return is_held(run) or is_resumable(run)


def is_extendable(run: RunDir) -> bool:
    """Whether steps can be added to the run: it is not running and has a checkpoint."""
    return standing(run).status in OVER and has_checkpoint(run)


def resume(
    run: RunDir, asked: Resume, turn: Turn | None = None, *, going_back: Callable[[Leaves], object] | None = None
) -> Launch:
    """Start the run's job again from its newest checkpoint, or the one named, perhaps further than it meant to go.

    Nothing in config.toml changes: the job records the new horizon. `going_back` hears, before the job starts, what is
    left behind where it goes back. Raises SeedbedError where the run is alive (`go_on`
    is for one that is paused), UsageError where nothing is left to do or the amount makes no sense.
    """
    stands = standing(run)
    if stands.status == "broken":
        raise SeedbedError(stands.view.reason or f"{run.id} is broken.", stands.view.hint or "")
    if stands.status in ("pausing", "paused"):
        raise SeedbedError(
            f"{run.id} is {stands.status}: its job is alive, so it can only go on as it is.",
            f"`seedbed resume {run.id}` alone lets it go on; to change more, first `seedbed stop {run.id} --wait`.",
        )
    if stands.status in BUSY or is_locked(run.lock):
        raise busy(run)
    asked = checked(asked)
    if asked.data is not None:
        _refuse_other_data(run, asked)
    if asked.from_checkpoint is not None:
        asked = asked._replace(from_checkpoint=str(find_checkpoint(run, asked.from_checkpoint)))
    refuse_nothing_to_do(run, asked, stands)
    left = leaves(run, asked, stands.view)
    if left is not None and going_back is not None:
        going_back(left)
    return start(run, asked, turn)


def _refuse_other_data(run: RunDir, asked: Resume) -> None:
    """Raise where a quick look shows that the source which a resume names is of no use, or not the run's text."""
    from seedbed.data.cached import refuse_other_text

    config = load_frozen(run.config, TRAIN)
    data = replace(config.data, source=asked.data or "", path=asked.data_path or "")
    refuse_unusable_data(replace(config, data=data))
    refuse_other_text(data, dataset_of(run), cache_dir())


# Names, tags, the archive, and the end -------------------------------------------------------------------------------


def rename(run: RunDir, name: str) -> labels.Labels:
    """Give the run another name. Raises UsageError for one that runs may not bear, or that another run bears."""
    return labels.rename(run, name)


def change_tags(run: RunDir, add: Collection[str] = (), remove: Collection[str] = ()) -> labels.Labels:
    """Add tags and take tags away. Raises UsageError for words that are no tags."""
    return labels.change_tags(run, add, remove)


def set_note(run: RunDir, note: str) -> labels.Labels:
    """Replace the run's note; an empty one takes it away. Raises UsageError for one that is too long."""
    return labels.set_note(run, note)


def set_archived(run: RunDir, archived: bool) -> labels.Labels:
    """Put the run out of sight, or back."""
    return labels.set_archived(run, archived)


def delete(run: RunDir) -> int:
    """Remove the run and all that it saved; the bytes that were freed. Raises SeedbedError while a process has it."""
    return retention.delete(run)


# Checkpoints and generation ------------------------------------------------------------------------------------------


def default_prompt(run: RunDir) -> str:
    """The prompt for who gives none: the first of the run's samples, else the opening of its text, if any is known."""
    try:
        prompts = load_frozen(run.config, TRAIN).train.sample_prompts
    except SeedbedError:
        prompts = None
    return prompts[0] if prompts else standing(run).view.opening


def child(
    verb: str, request: Mapping[str, Any] | None = None, words: Sequence[str] = (), *, good: Collection[int] = (0,)
) -> Child:
    """Start a child: `verb` is generate, score or doctor, followed by its `words`."""
    return Child([*JOBS, verb, *words], verb, request, good)


def ask_model(
    verb: str, folder: Path, request: Mapping[str, Any], born: Callable[[Child], object] | None = None
) -> Generator[dict[str, Any], None, None]:
    """Answers of a child about a model folder, each with the `checkpoint` that it is about.

    `born` is given the child that is started, so that another thread may kill it. Raises SeedbedError or UsageError.
    """
    with child(verb, {**request, "checkpoint": str(folder)}, ["--json-request"]) as answers:
        if born is not None:
            born(answers)
        for answer in answers:
            yield {"checkpoint": str(folder), **answer}


def ask_checkpoint(
    verb: str,
    run: RunDir,
    ref: str | None,
    request: Mapping[str, Any],
    born: Callable[[Child], object] | None = None,
) -> Generator[dict[str, Any], None, None]:
    """Answers of a child about a checkpoint of a run, each with the `checkpoint` that it is about.

    `born` is given each child that is started, so that another thread may kill it.
    A run that still trains deletes old checkpoints: `latest` and `best` are looked up again where the child found the
    one chosen gone. Raises SeedbedError or UsageError.
    """
    refuse_name_of(run.path)
    for attempt in range(_ATTEMPTS):
        checkpoint = find_checkpoint(run, ref)
        answered = False
        try:
            with closing(ask_model(verb, checkpoint, request, born)) as answers:
                for answer in answers:
                    answered = True
                    yield answer
            return
        except SeedbedError as error:
            moving = ref in (None, "latest", "best")
            if answered or not moving or is_marked(checkpoint) or attempt == _ATTEMPTS - 1:
                there = checkpoints(run, standing(run).view)
                others = [str(each.step) for each in there if each.path != checkpoint]
                if not answered and not isinstance(error, UsageError) and others:
                    error.hint = (
                        f"{error.hint} Other checkpoints of this run are at steps: {', '.join(others)}.".strip()
                    )
                raise
