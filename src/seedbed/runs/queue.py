"""Whose turn it is: runs that wait for another run, or for a device, in the order in which they came. Knows no kind of work."""

from __future__ import annotations

import time
from typing import NamedTuple

from seedbed.errors import UsageError
from seedbed.events import Run
from seedbed.files import Lock, is_locked
from seedbed.runs.control import Turn
from seedbed.runs.lifecycle import Lifecycle
from seedbed.runs.log import Reader
from seedbed.runs.status import Standing, standing
from seedbed.runs.statuses import BUSY, LIVE
from seedbed.runs.store import RunDir, Store
from seedbed.text import printable

POLL_S = 0.5
_TICK_S = 0.05
_TAIL_BYTES = 64 << 10


class QueueItem(NamedTuple):
    """A run that works or waits. `waits_for` is the id of the one that it says it waits for; None for one that works."""

    run: RunDir
    stands: Standing
    device: str
    waits_for: str | None


def wait_for_turn(session: Lifecycle, poll_s: float = POLL_S) -> bool:
    """Until it is this session's turn, which it then takes and says `running`: True. False once somebody asks to stop.

    Turns are taken under the store's lock, so that two runs never take one device's at the same moment.
    """
    told: str | None = None
    store, turn = Store(session.run.path.parent), session.turn
    lock = Lock(store.root / ".queue.lock")
    while session.stop_requested is None:
        if not lock.acquire():  # not `wait`: whoever has it may be frozen, and a stop must be heard all the same
            time.sleep(_TICK_S)
            continue
        try:
            if turn.after is not None and standing(RunDir(turn.after)).status not in LIVE:
                turn = Turn(turn.queue)  # it has ended once; should it start again, that is another matter
            ahead = _ahead(session.run, turn, store)
            if ahead is None:
                session.emit_status("running")
                return True
        finally:
            lock.release()
        if ahead.id != told:
            told = ahead.id
            why = f'It waits for "{printable(ahead.name())}" ({printable(ahead.id)}).'
            session.emit_status("queued", why, waits_for=ahead.id)
        end = time.monotonic() + poll_s
        while session.stop_requested is None and time.monotonic() < end:
            time.sleep(_TICK_S)
    return False


def _ahead(run: RunDir, turn: Turn, store: Store) -> RunDir | None:
    """The run that this one waits for now."""
    if turn.after is not None:
        return RunDir(turn.after)
    return busy_with_device(run, store) if turn.queue else None


def queue_items(store: Store) -> list[QueueItem]:
    """The runs of a store that work, then those that wait, in the order in which their turns come."""
    works, waits = [], []
    for run in store.all():
        if not is_locked(run.lock):
            continue
        stands = standing(run)
        if stands.status in BUSY and stands.view.status != "queued":
            works.append(QueueItem(run, stands, device_of(run, stands), None))
        elif stands.status in LIVE:
            waits.append(QueueItem(run, stands, device_of(run, stands), stands.view.waits_for))
    works.sort(key=lambda each: arrival(each.run, each.stands))
    waits.sort(key=lambda each: arrival(each.run, each.stands))
    ordered: list[QueueItem] = []
    while waits:
        behind = {each.run.id for each in waits}
        ordered.append(next((each for each in waits if each.waits_for not in behind), waits[0]))
        waits.remove(ordered[-1])
    return works + ordered


def refuse_circle(run: RunDir, after: RunDir) -> None:
    """Raise UsageError where `after` is the run itself, or waits for it, directly or through others."""
    each, seen = after, set()
    while each.path not in seen:
        if each.path.resolve() == run.path.resolve():
            if each is after:
                raise UsageError(f'"{run.id}" cannot wait for itself.', "Name another run after --after.")
            raise UsageError(
                f'"{after.id}" is waiting for "{run.id}": each would wait for the other for ever.',
                f"Start it without --after, or take the other out of the queue: seedbed stop {after.id}",
            )
        seen.add(each.path)
        stands = standing(each)
        behind = _said_after(each, stands) if stands.status == "queued" else None
        if behind is None:
            return
        each = RunDir(each.path.parent / behind)


def _said_after(run: RunDir, stands: Standing) -> str | None:
    """The id that a queued run's session named as the one to wait for; a fold would mix in what earlier sessions said."""
    try:
        start = max(run.events.stat().st_size - _TAIL_BYTES, 0)
    except OSError:
        return None
    said: str | None = None
    for record in Reader(run.events, start).new():
        event = record.event
        if isinstance(event, Run) and event.session == stands.view.session and event.pid is not None:
            said = event.after
    return said if said and said == RunDir(run.path.parent / said).id else None


def busy_with_device(run: RunDir, store: Store) -> RunDir | None:
    """The run that keeps a queued one from its device: one that works there, else one that has queued for it longer."""
    mine = standing(run)
    before = None
    for other in store.all():
        # The lock dies with its owner and costs microseconds; most runs of a store are over.
        if other.path == run.path or not is_locked(other.lock):
            continue
        theirs = standing(other)
        if not _may_share(device_of(run, mine), device_of(other, theirs)):
            continue
        if theirs.view.status == "queued":
            # One that was stopped in the line (stalled) holds up nobody; should it wake, it looks again.
            if (
                theirs.status == "queued"
                and theirs.view.run.get("queue")
                and arrival(other, theirs) < arrival(run, mine)
            ):
                before = before or other
        elif theirs.status in BUSY:
            return other
    return before


def arrival(run: RunDir, stands: Standing) -> tuple[float, str]:
    """What queued runs are ordered by: when their processes started, then their ids."""
    started = stands.view.run.get("process_start")
    return (float(started) if isinstance(started, int | float) else 0.0, run.id)


def device_of(run: RunDir, stands: Standing) -> str:
    """The device that a run works on, else the one that was asked for it: `cpu`, `cuda:1`, or a word such as `auto`."""
    device = stands.view.run.get("device") if stands.view.status != "queued" else None
    if not isinstance(device, str):
        asked = run.meta().get("device_asked") if stands.status != "broken" else None
        device = asked if isinstance(asked, str) else "auto"
    return "cuda:0" if device == "cuda" else device


def _may_share(one: str, other: str) -> bool:
    """Whether two devices may be the same one: they are, or one of them is not known before the job looks."""

    def known(device: str) -> bool:
        return device in ("cpu", "mps") or device.startswith("cuda:")

    return one == other or not (known(one) and known(other))
