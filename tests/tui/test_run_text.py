"""The header of the details of a run or task."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from seedbed.tui.run_text import header_text


def test_a_task_has_no_device_that_could_not_have_started() -> None:
    known = {
        "name": "prepare-code",
        "id": "2026-prepare-code",
        "status": "completed",
        "warnings": [],
        "kind": "prepare",
    }
    found: dict[str, Any] = defaultdict(lambda: None, known, output="data/code", elapsed_s=2.0)
    assert "not started" not in header_text(found).plain
    assert "data/code" in header_text(found).plain
