"""Tests do not depend on what lies where they were started, and change nothing there."""

from __future__ import annotations

from pathlib import Path

from seedbed import actions
from seedbed.config.directories import cache_dir, facts_dir


def test_the_runs_the_cache_and_the_facts_of_the_tests_are_their_own(own_surroundings: Path) -> None:
    for found in (actions.store().root.absolute(), cache_dir(), facts_dir()):
        assert found is not None
        assert found.is_relative_to(own_surroundings), found
