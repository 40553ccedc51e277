"""Work that cannot write its files waits, says which file and why, and is not repeated before that can help."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from seedbed.files import write_atomic
from seedbed.jobs.waiting import until_written

MB = 1 << 20


@pytest.fixture
def raise_limit() -> Iterator[Callable[[], None]]:
    """Files of this process may have at most 1 MB, until the function that this gives is called."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MB, hard))
    try:
        yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class Paused:
    """Stands for the lifecycle of a task: looks a few times whether to go on, then the limit is raised."""

    def __init__(self, raise_limit: Callable[[], None]) -> None:
        self.raise_limit = raise_limit
        self.said: list[str] = []

    def wait_paused(self, reason: str, hint: str, until: Callable[[], bool]) -> bool:
        self.said.append(f"{reason} {hint}")
        assert not any(until() for _ in range(3)), "the work would fail in the same way"
        self.raise_limit()
        assert until()
        return True

    def can_write(self) -> bool:
        return True


def test_a_file_that_is_larger_than_allowed_is_tried_again_once_the_limit_is_raised(
    tmp_path: Path, raise_limit: Callable[[], None]
) -> None:
    lifecycle: Any = Paused(raise_limit)
    tries = []

    def work() -> str:
        tries.append(1)
        write_atomic(tmp_path / "rows.jsonl", bytes(2 * MB))
        return "done"

    assert until_written(lifecycle, tmp_path, work, "the merge") == "done"
    assert len(tries) == 2
    [said] = lifecycle.said
    assert f'Cannot write "{tmp_path}/rows.jsonl": the limit on the size of files is reached (ulimit -f).' in said
    assert said.endswith("Then the merge continues automatically.")
