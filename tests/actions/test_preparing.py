"""Inputs of preparations: addresses are known as such, and one that cannot be cloned is refused before a task is made."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from prepared import preparation
from seedbed.actions.preparing import check_preparation, with_inputs
from seedbed.config.resolving import Resolved
from seedbed.errors import UsageError
from seedbed.runs.store import Store


def test_an_address_as_ssh_has_it_is_no_path() -> None:
    resolved = with_inputs(Resolved(preparation("harvest"), {}), "prepare", ["me@host.org:work/app.git", "src"])
    assert resolved.config.prepare.inputs == ("me@host.org:work/app.git", str(Path("src").absolute()))


@pytest.mark.parametrize("address", ["http://host.org/app.git", "ftp://host.org/app.git", "ssh://-oProxyCommand=x/a"])
def test_an_address_that_cannot_be_cloned_is_refused_at_once(tmp_path: Path, address: str) -> None:
    config = preparation("harvest")
    config = replace(config, prepare=replace(config.prepare, inputs=(address,)))
    with pytest.raises(UsageError):
        check_preparation(config, Store(tmp_path / "runs"))
