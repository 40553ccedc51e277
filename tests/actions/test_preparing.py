"""What is refused before a task is made: addresses that cannot be cloned, and a second task for the same output."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from prepared import new_task, preparation
from seedbed.actions.preparing import check_preparation, refuse_second_task, with_inputs
from seedbed.config.resolving import Resolved
from seedbed.errors import SeedbedError, UsageError
from seedbed.runs.lifecycle import Lifecycle
from seedbed.runs.store import Store


def test_an_address_as_ssh_has_it_is_no_path() -> None:
    resolved = with_inputs(Resolved(preparation("harvest"), {}), "prepare", ["me@host.org:work/app.git", "src"])
    assert resolved.config.prepare.inputs == ("me@host.org:work/app.git", str(Path("src").absolute()))


def test_a_second_task_for_the_same_output_is_refused_while_the_first_one_runs(tmp_path: Path) -> None:
    output = tmp_path / "data" / "all"
    task = new_task(tmp_path / "runs", "prepare", preparation("logs"), output)
    with Lifecycle(task.path) as lifecycle:
        with pytest.raises(SeedbedError, match=f"{task.id}.* is making .*all") as caught:
            refuse_second_task(output)
        assert f"seedbed stop {task.id}" in caught.value.hint
        refuse_second_task(output.with_name("other"))
        lifecycle.finish("completed")
    refuse_second_task(output)


@pytest.mark.parametrize("address", ["http://host.org/app.git", "ftp://host.org/app.git", "ssh://-oProxyCommand=x/a"])
def test_an_address_that_cannot_be_cloned_is_refused_at_once(tmp_path: Path, address: str) -> None:
    config = preparation("harvest")
    config = replace(config, prepare=replace(config.prepare, inputs=(address,)))
    with pytest.raises(UsageError):
        check_preparation(config, Store(tmp_path / "runs"))
