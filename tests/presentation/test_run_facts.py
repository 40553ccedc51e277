"""Short texts about a run's status."""

from __future__ import annotations

from typing import Any

import pytest

from seedbed.presentation.run_actions import PAUSE, STOP, done
from seedbed.presentation.run_facts import Alike, activity, device_line, epochs_text, grouped, notices, steps_text
from seedbed.runs.store import RunDir
from seedbed.runs.watch import ListedRun


@pytest.mark.parametrize(
    ("step", "steps", "width", "expected"),
    [
        (12, None, None, "12"),
        (12, 40, 11, "12/40"),
        (123_456, 1_000_000, 11, "123k/1M"),
        (123_456, 1_000_000, None, "123456/1000000"),
    ],
)
def test_steps_are_rounded_where_they_do_not_fit(
    step: int, steps: int | None, width: int | None, expected: str
) -> None:
    assert steps_text({"step": step, "steps": steps}, width) == expected


def test_epochs_are_shown_as_far_as_known() -> None:
    assert epochs_text({"epoch": None, "epochs": 2.0}) == "-"
    assert epochs_text({"epoch": 0.52, "epochs": None}) == "0.5"
    assert epochs_text({"epoch": 0.52, "epochs": 2.0}) == "0.5/2.0"


@pytest.mark.parametrize(
    ("status", "reason", "phase", "expected"),
    [
        ("running", None, "train", ""),
        ("running", None, "compile", "compiling …"),
        ("running", None, "unheard-of", "unheard-of …"),
        ("paused", "the disk is full", "train", "the disk is full"),
        ("paused", "asked to pause", "train", "paused on request"),
        ("completed", "Stopped early", None, ""),
    ],
)
def test_the_activity_of_a_run_that_is_not_training_is_shown(
    status: str, reason: str | None, phase: str | None, expected: str, tmp_path: Any
) -> None:
    code = "asked" if reason == "asked to pause" else None
    found = {"status": status, "reason": reason, "phase": phase, "code": code}
    assert activity(ListedRun(RunDir(tmp_path), found, None, None)) == expected


def test_the_device_line_includes_the_requested_device() -> None:
    found = {"device": None, "device_asked": "A30", "device_name": None, "precision": None}
    assert device_line(found) == "not started (requested: A30)"
    assert device_line(found | {"device": "cpu", "precision": "fp32"}).startswith("on cpu (requested: A30)")


def test_notices_are_the_warnings_then_the_reason() -> None:
    assert notices({"warnings": ["w"], "reason": "r.", "hint": "h."}) == ["w", "r. h."]
    assert notices({"warnings": [], "reason": None, "hint": None}) == []


def test_warnings_that_differ_in_numbers_only_are_one_with_the_latest() -> None:
    warnings = [
        "At step 20: Failure of GPU at node 28: noticed after 7 s.",
        "At step 31: The loss rises.",
        "At step 1,040: Failure of GPU at node 3: noticed after 12.5 s.",
        "At step 1,041: Failure of NIC at node 3: noticed after 12.5 s.",
    ]
    assert grouped(warnings) == [Alike(warnings[2], 2), Alike(warnings[1], 1), Alike(warnings[3], 1)]
    assert grouped([]) == []


def test_a_task_that_stops_saves_no_checkpoint() -> None:
    found = {"name": "code", "simulated": False, "output": "data/code"}
    assert [done(each, found) for each in (STOP, PAUSE)] == ["code stops.", "code pauses."]
    assert "saves a checkpoint" in done(STOP, found | {"output": None})
