"""One table defines which actions a run's status allows; requests and the terminal window follow it."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from seedbed import actions
from seedbed.actions import supervising
from seedbed.errors import SeedbedError
from seedbed.events import ASKED, STORAGE
from seedbed.presentation import run_actions
from seedbed.presentation.run_actions import (
    ACTIONS,
    ARCHIVE,
    DELETE,
    EXTEND,
    GENERATE,
    NOTE,
    PAUSE,
    RENAME,
    RESUME,
    SAVE,
    STOP,
    TAG,
    possible,
)
from seedbed.runs import control
from seedbed.runs import requests as job_requests
from seedbed.runs.status import CurrentStatus
from seedbed.runs.statuses import LIVE, STATUSES
from seedbed.runs.store import RunDir
from seedbed.runs.view import View
from seedbed.runs.watch import ListedRun
from seedbed.tui.actions import RunActions

RUN = RunDir(Path("/runs/20260101-000000-000-oak"))
CASES = [
    (status, asked, code)
    for status, asked, code in product(STATUSES, (None, "stop", "pause"), (None, ASKED, STORAGE))
    if (asked is None or status in LIVE) and ((code is None) == (status != "paused"))
]
"""Every status with each unfinished request and each reason for a pause."""


def flat(status: str, asked: str | None, code: str | None, checkpoint: str | None = "/c/step-10") -> dict[str, Any]:
    """The part of a flat status that the table reads."""
    return {
        "name": "oak",
        "id": RUN.id,
        "status": status,
        "asked": asked,
        "code": code,
        "reason": "the disk is full." if code == STORAGE else None,
        "hint": None,
        "checkpoint": checkpoint,
        "checkpoint_step": 10 if checkpoint else None,
        "step": 12,
        "tags": [],
        "note": None,
        "archived": False,
        "simulated": False,
    }


@pytest.mark.parametrize(("status", "asked", "code"), CASES)
def test_requests_are_refused_where_the_table_says_so(
    status: str, asked: str | None, code: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = View(status=status, code=code)
    monkeypatch.setattr(job_requests, "current_status", lambda run: CurrentStatus(view, status, None))
    monkeypatch.setattr(control, "unfinished_request", lambda path, session: asked)
    monkeypatch.setattr(job_requests, "SentRequest", lambda *_: None)
    requests = {PAUSE: job_requests.pause, SAVE: job_requests.save_now, STOP: job_requests.stop}
    if status in LIVE:
        requests[RESUME] = job_requests.unpause
    found = possible(flat(status, asked, code))
    for action, request in requests.items():
        refused = False
        try:
            request(RUN)
        except SeedbedError:
            refused = True
        assert refused == bool(found[action]), f"{action}: {found[action]!r}"


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("checkpoint", [None, "/c/step-10"])
def test_runs_can_be_extended_where_the_table_says_so(
    status: str, checkpoint: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervising, "current_status", lambda run: CurrentStatus(View(status=status), status, None))
    monkeypatch.setattr(supervising, "checkpoints", lambda run, view: [checkpoint] if checkpoint else [])
    found = possible(flat(status, None, ASKED if status == "paused" else None, checkpoint))
    assert actions.is_extendable(RUN) == (not found[EXTEND])


def test_the_table_covers_every_action() -> None:
    assert set(possible(flat("running", None, None))) == set(ACTIONS)


@pytest.mark.parametrize("status", STATUSES)
def test_a_simulated_run_allows_what_needs_no_weights(status: str) -> None:
    """Its reasons name the missing weights; what needs none is allowed as for other runs."""
    real = flat(status, None, ASKED if status == "paused" else None)
    plain, found = possible(real), possible(real | {"simulated": True})
    for action in (SAVE, EXTEND, GENERATE):
        assert "is simulated: it has no weights" in found.pop(action)
        del plain[action]
    if status == "completed":
        assert "simulated" in found.pop(RESUME)
        del plain[RESUME]
    assert found == plain


class Window(RunActions):
    """The window's actions without a terminal; records the messages that they show and the work that they start."""

    def __init__(self, found: dict[str, Any]) -> None:
        listed = ListedRun(RUN, found, None, None)
        self.state = SimpleNamespace(  # type: ignore[assignment]
            run=lambda run_id: listed if run_id == RUN.id else None, watch=SimpleNamespace(runs={RUN.id: listed})
        )
        self.messages: list[str] = []
        self.started: list[object] = []

    def show_message(self, message: str, severity: str = "information") -> None:
        self.messages.append(message)

    def push_screen(self, screen: Any, *_: Any) -> Any:
        self.started.append(screen)

    def _do(self, action: Any, listed: ListedRun, done: str) -> None:
        self.started.append(done)

    def train_further(self, run_id: str) -> None:
        self.started.append(run_id)


@pytest.mark.parametrize("simulated", [False, True])
@pytest.mark.parametrize(("status", "asked", "code"), CASES)
def test_the_window_offers_what_the_table_allows(
    status: str, asked: str | None, code: str | None, simulated: bool
) -> None:
    found = flat(status, asked, code) | {"simulated": simulated}
    reasons = possible(found)
    if status == "paused":
        reasons[PAUSE] = reasons[RESUME]  # the same key pauses and resumes
    if status == "completed" and not simulated:
        reasons[RESUME] = ""  # opens the Train panel to add steps
    for action, call in (
        (PAUSE, Window.pause),
        (RESUME, Window.resume),
        (STOP, Window.stop_run),
        (SAVE, Window.save_now),
        (RENAME, Window.rename),
        (TAG, Window.tag),
        (NOTE, Window.note),
        (ARCHIVE, Window.archive),
        (DELETE, Window.delete),
    ):
        window = Window(found)
        call(window, RUN.id)
        assert window.messages == [reasons[action]] * bool(reasons[action]), action
        assert bool(window.started) == (not reasons[action]), action


@pytest.mark.parametrize("action", [STOP, DELETE])
def test_stop_and_delete_ask_for_confirmation(action: str) -> None:
    question = run_actions.confirmation(action, ListedRun(RUN, flat("running", None, None), None, None))
    assert question is not None
    assert question.is_risky
