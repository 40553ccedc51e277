"""The queue: runs that wait for another run to end or for a free device, in the order of their start."""

from __future__ import annotations

import time
from typing import NamedTuple

from seedbed.errors import UsageError
from seedbed.events import ASKED, STORAGE, Run
from seedbed.locks import Lock, is_locked
from seedbed.runs.control import StartCondition
from seedbed.runs.lifecycle import Lifecycle
from seedbed.runs.log import Reader
from seedbed.runs.status import CurrentStatus, current_status
from seedbed.runs.statuses import BUSY, LIVE
from seedbed.runs.store import RunDir, Store
from seedbed.text import printable

POLL_S = 0.5
_TICK_S = 0.05
_TAIL_BYTES = 64 << 10


class QueueItem(NamedTuple):
    """A run that is running or waits in the queue. `waits_for` is the id of the run that a queued run waits for, else None."""

    run: RunDir
    current: CurrentStatus
    device: str
    waits_for: str | None


def wait_for_turn(session: Lifecycle, poll_s: float = POLL_S) -> bool:
    """Wait until a queued session may start, then log `running` and return True. Returns False if a stop is requested.

    The start is decided under a lock of the store, so that two runs never start on the same device.
    """
    logged: tuple[str, str] | None = None
    store, turn = Store(session.run.path.parent), session.turn
    lock = Lock(store.root / ".queue.lock")
    while session.stop_requested is None:
        if not lock.acquire():  # do not wait: the lock's owner may be suspended, and stop requests must be noticed
            time.sleep(_TICK_S)
            continue
        try:
            if turn.after is not None and current_status(RunDir(turn.after)).status not in LIVE:
                turn = StartCondition(turn.queue)  # that run has ended; do not wait if it starts again
            ahead = _ahead(session.run, turn, store)
            if ahead is None:
                session.emit_status("running")
                return True
        finally:
            lock.release()
        its = current_status(ahead)
        pause = its.view.code or STORAGE if its.status == "paused" else ""
        if (ahead.id, pause) != logged:
            logged = ahead.id, pause
            why = f'It waits for "{printable(ahead.name())}" ({printable(ahead.id)}){", which is paused" if pause else ""}.'
            session.emit_status("queued", why, _pause_hint(ahead, its) if pause else None, waits_for=ahead.id)
        end = time.monotonic() + poll_s
        while session.stop_requested is None and time.monotonic() < end:
            time.sleep(_TICK_S)
    return False


def _pause_hint(ahead: RunDir, current: CurrentStatus) -> str:
    """How to end the pause of a run that blocks the queue. A pause for another reason than a request ends by itself."""
    stop = f"`seedbed stop {ahead.id}`"
    if current.view.code == ASKED:
        return f"Resume that run (`seedbed resume {ahead.id}`) or stop it ({stop})."
    return f"{current.view.hint or ''} Or stop that run: {stop}".strip()


def _ahead(run: RunDir, turn: StartCondition, store: Store) -> RunDir | None:
    """The run for which `run` has to wait by its start condition `turn`; None if it may start."""
    if turn.after is not None:
        return RunDir(turn.after)
    return busy_with_device(run, store) if turn.queue else None


def queue_items(store: Store) -> list[QueueItem]:
    """The running runs of a store, then the queued ones, in the order in which they will start."""
    running, queued = [], []
    for run in store.all():
        if not is_locked(run.lock):
            continue
        current = current_status(run)
        if current.status in BUSY and current.view.status != "queued":
            running.append(QueueItem(run, current, device_of(run, current), None))
        elif current.status in LIVE:
            queued.append(QueueItem(run, current, device_of(run, current), current.view.waits_for))
    running.sort(key=lambda each: arrival(each.run, each.current))
    queued.sort(key=lambda each: arrival(each.run, each.current))
    ordered: list[QueueItem] = []
    while queued:
        ids = {each.run.id for each in queued}
        ordered.append(next((each for each in queued if each.waits_for not in ids), queued[0]))
        queued.remove(ordered[-1])
    return running + ordered


def live_tasks(store: Store) -> list[RunDir]:
    """The tasks of a store that a process works on. They are not in the queue, and no run waits for them."""
    return [task for task in store.tasks() if is_locked(task.lock) and current_status(task).status in LIVE]


def refuse_circle(run: RunDir, after: RunDir) -> None:
    """Raise UsageError if `run` can never start after `after`: it is the same run, or waits for `run`, also through others."""
    each, seen = after, set()
    while each.path not in seen:
        if each.path.resolve() == run.path.resolve():
            if each is after:
                raise UsageError(f'"{run.id}" cannot wait for itself.', "Give another run with --after.")
            raise UsageError(
                f'"{after.id}" is waiting for "{run.id}": both would wait forever.',
                f"Start the run without --after, or remove the other run from the queue: seedbed stop {after.id}",
            )
        seen.add(each.path)
        current = current_status(each)
        behind = _logged_after(each, current) if current.status == "queued" else None
        if behind is None:
            return
        each = RunDir(each.path.parent / behind)


def _logged_after(run: RunDir, current: CurrentStatus) -> str | None:
    """The id of the run that a queued run waits for by its option --after; None without this option.

    It is read from the log, since a View keeps the values of earlier sessions.
    """
    try:
        start = max(run.events.stat().st_size - _TAIL_BYTES, 0)
    except OSError:
        return None
    after: str | None = None
    for record in Reader(run.events, start).new():
        event = record.event
        if isinstance(event, Run) and event.session == current.view.session and event.pid is not None:
            after = event.after
    return after if after and after == RunDir(run.path.parent / after).id else None


def busy_with_device(run: RunDir, store: Store) -> RunDir | None:
    """The run for which `run` has to wait until its device is free; None if there is none.

    It is a run that uses the device, else a run that was queued for it earlier.
    """
    mine = current_status(run)
    before = None
    for other in store.all():
        # Checking the lock costs microseconds and excludes most runs, which are over.
        if other.path == run.path or not is_locked(other.lock):
            continue
        theirs = current_status(other)
        if not _may_share(device_of(run, mine), device_of(other, theirs)):
            continue
        if theirs.view.status == "queued":
            # A queued run whose process is suspended (stalled) blocks nobody; it checks again when it continues.
            if (
                theirs.status == "queued"
                and theirs.view.run.get("queue")
                and arrival(other, theirs) < arrival(run, mine)
            ):
                before = before or other
        elif theirs.status in BUSY:
            return other
    return before


def arrival(run: RunDir, current: CurrentStatus) -> tuple[float, str]:
    """The key that sorts the queue: when the run's process started, then the run's id."""
    started = current.view.run.get("process_start")
    return (float(started) if isinstance(started, int | float) else 0.0, run.id)


def device_of(run: RunDir, current: CurrentStatus) -> str:
    """The device that a run uses, or, while unknown, the one that its config requests: `cpu`, `cuda:1`, `auto`, ..."""
    device = current.view.run.get("device") if current.view.status != "queued" else None
    if not isinstance(device, str):
        wanted = run.meta().get("device_asked") if current.status != "broken" else None
        device = wanted if isinstance(wanted, str) else "auto"
    return "cuda:0" if device == "cuda" else device


def _may_share(one: str, other: str) -> bool:
    """Whether two device names may mean the same device: they are equal, or one does not name a device yet, such as `auto`."""

    def known(device: str) -> bool:
        return device in ("cpu", "mps") or device.startswith("cuda:")

    return one == other or not (known(one) and known(other))
