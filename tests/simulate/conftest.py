"""Fixtures for the tests of the planner and the simulator."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def user_facts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder of the test's own for the user's facts; so those of this machine's user have no effect."""
    folder = tmp_path / "facts"
    folder.mkdir()
    monkeypatch.setenv("SEEDBED_FACTS", str(folder))
    return folder
