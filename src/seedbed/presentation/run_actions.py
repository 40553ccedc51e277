"""Which actions a run's status allows, why others are impossible, and the texts that front ends show for actions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from seedbed.events import ASKED
from seedbed.presentation.done import is_task
from seedbed.runs.control import shown_status
from seedbed.runs.statuses import BUSY, LIVE
from seedbed.runs.watch import ListedRun
from seedbed.text import plural

PAUSE, RESUME, STOP, SAVE, EXTEND = "pause", "resume", "stop", "save", "extend"
GENERATE, RENAME, TAG, NOTE, ARCHIVE, DELETE = "generate", "rename", "tag", "note", "archive", "delete"
ACTIONS = (PAUSE, RESUME, STOP, SAVE, EXTEND, GENERATE, RENAME, TAG, NOTE, ARCHIVE, DELETE)
"""What can be done to a run. `extend` trains it for more epochs or steps than were planned."""


def possible(found: Mapping[str, Any]) -> dict[str, str]:
    """Each action -> a sentence that says why it is impossible now; "" if it is possible.

    `found` is the flat status of `seedbed status --json`. The functions in `seedbed.actions` check again, since the
    status may have changed since then.
    """
    checkpoint = "" if found["checkpoint"] else f"{found['name']} has no checkpoint."
    no_weights = f"{found['name']} is simulated: it has no weights" if found["simulated"] else ""
    no_run = f"{found['name']} is a task: it has no steps and no checkpoints." if is_task(dict(found)) else ""
    return {
        PAUSE: _why_no_request(found, "pause"),
        RESUME: _why_no_resume(found),
        STOP: "" if found["status"] in LIVE else _not_running(found),
        SAVE: no_run or (no_weights and f"{no_weights} to save.") or _why_no_request(found, "save"),
        EXTEND: no_run or (no_weights and f"{no_weights} to train further.") or _why_no_extension(found) or checkpoint,
        GENERATE: no_run or (no_weights and f"{no_weights} to generate text with.") or checkpoint,
        RENAME: "",
        TAG: "",
        NOTE: "",
        ARCHIVE: "",
        DELETE: f"{_is(found)}: stop it before you delete it." if found["status"] in LIVE else "",
    }


def is_paused_by_request(found: Mapping[str, Any]) -> bool:
    """Whether a run is paused until a person resumes it. Other pauses, such as for a full disk, end by themselves."""
    return bool(found["status"] == "paused" and found["code"] == ASKED)


def _why_no_request(found: Mapping[str, Any], action: str) -> str:
    """Why the job of a run cannot be asked to `action` (pause or save); "" if it can."""
    status = found["status"]
    if status == "pausing" or is_paused_by_request(found):
        saved = (
            f" {'It saves a checkpoint first.' if status == 'pausing' else 'It saved a checkpoint before it paused.'}"
        )
        return f"{found['name']} is already {status}.{saved if action == 'save' else ''}"
    if status == "queued":
        return f"{_is(found)}: it has not started, so there is nothing to {action}."
    if status == "paused":
        return _paused_because(found)
    if status not in BUSY:
        return _not_running(found)
    return f"{_is(found)} already." if found["asked"] == STOP else ""


def _why_no_resume(found: Mapping[str, Any]) -> str:
    status = found["status"]
    if status in BUSY and found["asked"] == STOP:
        return f"{_is(found)}: wait until it has stopped."
    if status == "paused" and not is_paused_by_request(found):
        return _paused_because(found)
    if status in ("paused", "pausing") or (status in BUSY and found["asked"] == PAUSE):
        return ""
    if status in LIVE:
        return f"{found['name']} is already {shown_status(dict(found))}."
    if status == "completed" and found["simulated"]:
        return f"{found['name']} is completed: all of its steps are simulated."
    if status == "completed":
        return f"{found['name']} is completed: set more epochs or steps."
    return _unreadable(found) if status == "broken" else ""


def _why_no_extension(found: Mapping[str, Any]) -> str:
    if found["status"] in LIVE:
        return f"{_is(found)}: stop it before you train it further."
    return _unreadable(found) if found["status"] == "broken" else ""


def _unreadable(found: Mapping[str, Any]) -> str:
    return f"{found['name']} cannot be read. {found['reason'] or ''}".rstrip()


def _is(found: Mapping[str, Any]) -> str:
    return f"{found['name']} is {shown_status(dict(found))}"


def _not_running(found: Mapping[str, Any]) -> str:
    return f"{found['name']} is not running ({found['status']})."


def _paused_because(found: Mapping[str, Any]) -> str:
    why = " ".join(filter(None, (found["reason"], found["hint"])))
    return f"{found['name']} is paused: {why}" if why else f"{found['name']} is already paused."


# Texts ---------------------------------------------------------------------------------------------------------------


class Confirmation(NamedTuple):
    """A question to ask before an action. `accept` is the text of the button that starts the action.

    `is_risky` says that the action cannot be undone or loses time; then the button that cancels is the default.
    """

    title: str
    body: str
    accept: str
    is_risky: bool


def confirmation(action: str, listed: ListedRun) -> Confirmation | None:
    """The question to ask before an action on a run; None if the action needs no confirmation."""
    found = listed.status
    name = found["name"]
    if is_task(found) and action in (STOP, RESUME, DELETE):
        return _task_confirmation(action, listed)
    if action == STOP:
        saves = "" if found["simulated"] else "saves a checkpoint and "
        body = f"{name} {saves}stops. You can resume it later."
        return Confirmation("Stop this run?", body, "Stop", is_risky=True)
    if action == RESUME and not listed.lives:
        step = found["step"] if found["simulated"] else found["checkpoint_step"] or 0
        body = f"{name} ({shown_status(found)}) continues from step {step}."
        return Confirmation("Resume this run?", body, "Resume", is_risky=False)
    if action == DELETE:
        saved = f", {plural(len(listed.model.steps), 'checkpoint')}" if listed.model is not None else ""
        body = f"{name}\n{listed.run.id}\nstep {found['step']}{saved}\n\nThis cannot be undone."
        return Confirmation("Delete this run?", body, "Delete", is_risky=True)
    return None


def _task_confirmation(action: str, listed: ListedRun) -> Confirmation | None:
    name, output = listed.status["name"], listed.status["output"]
    if action == STOP:
        return Confirmation("Stop this task?", f"{name} stops. You can resume it later.", "Stop", is_risky=True)
    if action == RESUME:
        body = f"{name} ({shown_status(listed.status)}) continues with the remaining work."
        return None if listed.lives else Confirmation("Resume this task?", body, "Resume", is_risky=False)
    body = f"{name}\n{listed.run.id}\n\nThe record of the task is deleted. Its output is kept in\n{output}"
    return Confirmation("Delete this task?", body, "Delete", is_risky=True)


def done(action: str, found: Mapping[str, Any]) -> str:
    """The message to show once an action on the run with this status has been requested or done."""
    words = _DONE_UNSAVED.get(action) if found["simulated"] or is_task(dict(found)) else None
    return (words or _DONE[action]).format(name=found["name"])


_DONE = {
    PAUSE: "{name} saves a checkpoint and pauses after this step.",
    RESUME: "{name} continues.",
    STOP: "{name} saves a checkpoint and stops after this step.",
    SAVE: "{name} saves a checkpoint after this step.",
    DELETE: "{name} is deleted.",
}
_DONE_UNSAVED = {PAUSE: "{name} pauses.", STOP: "{name} stops."}
"""Of simulated runs and tasks, which have no checkpoints."""
