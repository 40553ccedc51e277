"""Which runs a list shows, and in which order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seedbed.presentation.run_list import counts, live_runs, matches, shown_runs
from seedbed.runs.store import RunDir
from seedbed.runs.watch import ListedRun


def listed(number: int, status: str, **more: Any) -> ListedRun:
    run = RunDir(Path(f"/runs/2026010{number}-000000-000-oak"))
    found = {"name": "oak", "id": run.id, "status": status, "asked": None, "tags": [], "note": None, "archived": False}
    return ListedRun(run, found | more, None, None)


RUNS = [
    listed(1, "running"),
    listed(2, "completed", tags=["baseline"]),
    listed(3, "failed", note="Half the Rate"),
    listed(4, "completed", archived=True),
]


def numbers(runs: list[ListedRun]) -> list[int]:
    return [RUNS.index(each) + 1 for each in runs]


def test_live_runs_come_first_then_the_newest() -> None:
    assert numbers(shown_runs(RUNS)) == [1, 3, 2]
    assert numbers(shown_runs(RUNS, archived=True)) == [1, 4, 3, 2]
    assert numbers(live_runs(RUNS)) == [1]
    assert counts(RUNS) == ["1 running", "2 completed", "1 failed"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [("", [1, 3, 2]), ("BASELINE", [2]), ("half rate", [3]), ("oak 20260102", [2]), ("half baseline", [])],
)
def test_every_word_of_a_query_must_match(query: str, expected: list[int]) -> None:
    assert numbers(shown_runs(RUNS, query)) == expected


def test_a_run_with_a_stop_request_matches_the_word_stopping() -> None:
    assert matches({**RUNS[0].status, "asked": "stop"}, "stopping")
