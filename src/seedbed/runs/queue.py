"""Whose turn it is: runs that wait for another run, or for a device, in the order in which they came. Knows no kind of work."""

from __future__ import annotations

import time

from seedbed.files import Lock, is_locked
from seedbed.runs.session import Session
from seedbed.runs.status import Standing, standing
from seedbed.runs.store import RunDir, Store
from seedbed.text import printable

POLL_S = 0.5
BUSY = frozenset({"running", "pausing", "paused", "stalled"})
"""What a run is while a process has it and it may hold a device."""


def wait_for_turn(session: Session, poll_s: float = POLL_S) -> bool:
    """Until it is this session's turn, which it then takes and says `running`: True. False once somebody asks to stop.

    Turns are taken under the store's lock, so that two runs never take one device's at the same moment.
    """
    told: str | None = None
    store = Store(session.run.path.parent)
    while session.stop_requested is None:
        with Lock(store.root / ".queue.lock"):
            ahead = _ahead(session, store)
            if ahead is None:
                session.say("running")
                return True
        if ahead.id != told:
            told = ahead.id
            session.say("queued", f"It waits for {printable(ahead.name())} ({printable(ahead.id)}).")
        end = time.monotonic() + poll_s
        while session.stop_requested is None and time.monotonic() < end:
            time.sleep(0.05)
    return False


def _ahead(session: Session, store: Store) -> RunDir | None:
    """The run that this one waits for now."""
    turn = session.turn
    if turn.after is not None and standing(RunDir(turn.after)).status in BUSY | {"queued"}:
        return RunDir(turn.after)
    return busy_with_device(session.run, store) if turn.queue else None


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
        if theirs.status in BUSY:
            return other
        if theirs.status == "queued" and theirs.view.run.get("queue") and place(other, theirs) < place(run, mine):
            before = before or other
    return before


def place(run: RunDir, stands: Standing) -> tuple[float, str]:
    """What queued runs are ordered by: when their processes started, then their ids."""
    started = stands.view.run.get("process_start")
    return (float(started) if isinstance(started, int | float) else 0.0, run.id)


def device_of(run: RunDir, stands: Standing) -> str:
    """The device that a run works on, else the one that was asked for it: `cpu`, `cuda:1`, or a word such as `auto`."""
    device = stands.view.run.get("device") if stands.status != "queued" else None
    if not isinstance(device, str):
        asked = run.meta().get("device_asked") if stands.status != "broken" else None
        device = asked if isinstance(asked, str) else "auto"
    return "cuda:0" if device == "cuda" else device


def _may_share(one: str, other: str) -> bool:
    """Whether two devices may be the same one: they are, or one of them is not known before the job looks."""

    def known(device: str) -> bool:
        return device in ("cpu", "mps") or device.startswith("cuda:")

    return one == other or not (known(one) and known(other))
