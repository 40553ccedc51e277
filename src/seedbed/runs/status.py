"""The current status of a run, from its event log and from whether its process is alive. This module never changes a run."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from seedbed.errors import SeedbedError
from seedbed.events import STORAGE, codes_of_old
from seedbed.locks import is_locked
from seedbed.runs.checkpoints import best_checkpoint, latest_checkpoint
from seedbed.runs.control import unfinished_request
from seedbed.runs.labels import read_labels
from seedbed.runs.log import Reader
from seedbed.runs.process import Identity, boot_id, is_alive
from seedbed.runs.statuses import BUSY, ENDED, WORKING
from seedbed.runs.store import RunDir
from seedbed.runs.summary import summary, why_early
from seedbed.runs.view import View

STALE_S = 20.0
"""The age in seconds after which a heartbeat, which a job writes every second, is too old. Then the run is stalled: the
process hangs, or the machine slept."""
_STARTING_S = 15.0
_FORMAT = 3


class Pause(msgspec.Struct, frozen=True):
    """Why a job is paused (`reason` for people, `code` as in events.Run), and what to do (`hint`)."""

    reason: str
    hint: str = ""
    code: str | None = None


class Heartbeat(msgspec.Struct, frozen=True):
    """The time of the job's last heartbeat: on the wall clock, and on the monotonic clock of the boot `boot_id`."""

    t: float
    monotonic: float
    boot_id: str
    session: int
    pause: Pause | None = msgspec.field(default=None, name="held")
    """Why the job is paused, set while it cannot write that to its log."""

    def age_s(self) -> float:
        """Seconds since the heartbeat.

        They are measured on the monotonic clock in the same boot, so clock changes do not matter.
        """
        now = time.monotonic() - self.monotonic if self.boot_id and self.boot_id == boot_id() else time.time() - self.t
        return max(now, 0.0)


class State(msgspec.Struct, frozen=True):
    """The content of `state.json`: heartbeat, View (the run's state, built from its events), and a status for people."""

    format: int
    heartbeat: Heartbeat
    view: View
    status: dict[str, Any]


class CurrentStatus(NamedTuple):
    """A run's View (its state, built from its events), its status, and its heartbeat if there is one.

    The status may be one that no event has, such as stalled or lost (see runs/statuses.py).
    """

    view: View
    status: str
    heartbeat: Heartbeat | None


def state_json(view: View, session: int, pause: Pause | None = None) -> bytes:
    """Encode the content of state.json: the View, which can be rebuilt from the log, and a heartbeat with the current time."""
    beat = Heartbeat(t=time.time(), monotonic=time.monotonic(), boot_id=boot_id(), session=session, pause=pause)
    status = {"status": view.status, **summary(view)}
    return msgspec.json.encode(State(format=_FORMAT, heartbeat=beat, view=view, status=status))


def read_state(run: RunDir) -> State | None:
    """Read state.json; None if it is missing, broken or of another version. The file may be deleted at any time."""
    try:
        data = run.state.read_bytes()
        state = msgspec.json.decode(data, type=State)
        if state.format == 2:
            state = _of_format_2(msgspec.json.decode(data))
    except (OSError, msgspec.DecodeError, msgspec.ValidationError):
        return None
    return state if state.format == _FORMAT else None


def _of_format_2(old: dict[str, Any]) -> State:
    """Convert the content of a state.json of format 2, so that the status of a long run does not need its whole log."""
    view = old["view"]
    view["validations"] = {"compared": view.get("scores", []), "best": view.get("best_scores", [])}
    view["validations"]["final"] = view.get("final_score")
    view["speed"] = {"recent": view.get("recent", []), "steps": view.get("session_steps", 0)}
    view["speed"]["costs"] = view.get("costs", {})
    view["code"], view["waits_for"] = codes_of_old(view.get("status", "queued"), view.get("reason"))
    return msgspec.convert(old | {"format": _FORMAT}, State)


def read_view(run: RunDir, state: State | None = None) -> View:
    """Build the View (the state) of a run from all its events.

    It starts from the View in `state` and adds later events, if that View fits the log.
    """
    view = state.view if state is not None and state.view.offset <= _size(run.events) else View()
    follow(run, view)
    return view


def follow(run: RunDir, view: View) -> None:
    """Update `view`, the state of a run, with the events written to the log since the last call."""
    reader = Reader(run.events, view.offset)
    for record in reader.new():
        view.add(record)
    view.offset = reader.offset


def current_status(run: RunDir) -> CurrentStatus:
    """The current status of a run. Never raises: a run whose files cannot be read is `broken`."""
    state = read_state(run)
    try:
        view = read_view(run, state)
        meta = run.meta()
    except SeedbedError as error:
        return CurrentStatus(View(status="broken", reason=error.message, hint=error.hint), "broken", None)
    beat = state.heartbeat if state is not None and state.heartbeat.session == view.session else None
    if view.session == 0:
        created = meta.get("created")
        age = time.time() - created if isinstance(created, int | float) else 0.0
        never_started = age > _STARTING_S and not is_locked(run.lock)
        return CurrentStatus(view, "lost" if never_started else "queued", None)
    if view.status in ENDED:
        return CurrentStatus(view, view.status, beat)
    if not _is_process_alive(run, view, beat):
        return CurrentStatus(view, "lost", beat)
    if beat is not None and beat.pause is not None and view.status in WORKING:
        pause = beat.pause
        view.code, view.reason, view.hint = (
            pause.code or codes_of_old("paused", pause.reason)[0],
            pause.reason,
            pause.hint or None,
        )
        return CurrentStatus(view, "paused", beat)
    # On a full disk a paused job cannot write its heartbeat, but it is alive.
    if view.status != "paused" and beat is not None and beat.age_s() > STALE_S:
        return CurrentStatus(view, "stalled", beat)
    return CurrentStatus(view, view.status, beat)


def _is_process_alive(run: RunDir, view: View, beat: Heartbeat | None) -> bool:
    pid, started, boot = (view.run.get(key) for key in ("pid", "process_start", "boot_id"))
    if not isinstance(pid, int) or not isinstance(started, int | float):
        return is_locked(run.lock)
    if is_alive(Identity(pid, started, boot or "")):
        return True
    if is_locked(run.lock):
        # The process is in another pid namespace on this machine (a container): only the lock is meaningful here.
        return True
    elsewhere = bool(boot) and boot != boot_id() and view.run.get("host") not in (None, hostname())
    return elsewhere and beat is not None and beat.age_s() < STALE_S


def hostname() -> str:
    """This machine's network name."""
    return os.uname().nodename


def status(run: RunDir, current: CurrentStatus | None = None) -> dict[str, Any]:
    """The object that `seedbed status --json` prints: raw SI numbers; None if unknown or not applicable.

    `current`: the current status of the run, if the caller has it.
    """
    current = current_status(run) if current is None else current
    view = current.view
    try:
        meta = run.meta()
    except SeedbedError:
        meta = {}
    alive = current.status in BUSY
    remaining = view.remaining_s() if alive else None
    flat = summary(view)
    latest = latest_checkpoint(run, view)
    best = best_checkpoint(run, view)
    labels = read_labels(run)
    code, waits_for = flat.pop("code"), flat.pop("waits_for")
    reason, hint = flat.pop("reason"), flat.pop("hint")
    simulated = is_simulated(meta, view)
    if reason is None and (early := why_early(view)):
        reason = early
        hint = f"`seedbed resume {run.id} --early-stop 0` continues to step {view.steps}; --more-steps N trains N more steps."
    if current.status == "lost":
        reason = _why_lost(run, current)
        again = "starts it again." if meta.get("output") is None else "continues it with what is not done yet."
        hint = f"`seedbed resume {run.id}` " + ("continues from the last checkpoint." if latest else again)
    return {
        "id": run.id,
        "name": labels.name,
        "tags": list(labels.tags),
        "archived": labels.archived,
        "note": labels.note or None,
        "kind": meta.get("kind"),
        "status": current.status,
        "asked": unfinished_request(run.control, view.session) if alive or current.status == "queued" else None,
        "code": code,
        "waits_for": waits_for,
        "reason": reason,
        "hint": hint,
        **flat,
        "tokens_per_s": flat["tokens_per_s"] if alive or view.status in ENDED else None,
        "phase": flat["phase"] if alive else None,
        "progress": flat["progress"] if alive else None,
        "simulated": simulated,
        "updated": last_event_time(run, current),
        "preset": meta.get("preset"),
        "base": meta.get("base"),
        "data": meta.get("data"),
        "output": meta.get("output"),
        "created": meta.get("created"),
        "remaining_s": remaining,
        # The remaining time of a simulated run is on its own clock, so it does not say when the run ends.
        "eta": time.time() + remaining
        if remaining is not None and current.status != "paused" and not simulated
        else None,
        "heartbeat_age_s": current.heartbeat.age_s() if current.heartbeat is not None and alive else None,
        "checkpoint": str(latest.path) if latest else None,
        "checkpoint_step": latest.step if latest else None,
        "best_checkpoint": str(best.path) if best else None,
        "path": str(run.path),
    }


def is_simulated(meta: Mapping[str, Any], view: View) -> bool:
    """Whether a run is simulated: its meta.json or a session of it says so."""
    return bool(meta.get("simulated") or view.run.get("simulated"))


def has_simulated_steps(run: RunDir, view: View) -> bool:
    """Whether a run is simulated, so that it has no weights and no checkpoints. Never raises."""
    try:
        return is_simulated(run.meta(), view)
    except SeedbedError:
        return is_simulated({}, view)


def last_event_time(run: RunDir, current: CurrentStatus) -> float | None:
    """When the run's last event was written, in unix seconds of this machine; None for a run without events."""
    view = current.view
    if not view.run.get("simulated"):
        return view.updated
    try:
        return run.events.stat().st_mtime
    except OSError:
        return None


def _why_lost(run: RunDir, current: CurrentStatus) -> str:
    view, beat = current.view, current.heartbeat
    if beat is not None and beat.pause is not None and beat.pause.code == STORAGE:
        cause = beat.pause.reason.rstrip(".")
        return f"The job ended while it could not write its log, so its last events are missing there. {cause}."
    if view.session == 0:
        return f"The job never started; see {run.log.name} for the reason."
    return f"The process {view.run.get('pid')} ended without logging why: it was killed, ran out of memory, or the power failed."


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
