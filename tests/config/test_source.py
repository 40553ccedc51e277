"""What data.source says, taken apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from seedbed.config.resolving import resolve
from seedbed.config.roots import TRAIN
from seedbed.config.source import Address, parse_address
from seedbed.errors import UsageError


@pytest.mark.parametrize(
    ("rest", "name", "config", "column"),
    [
        ("owner/name", "owner/name", None, None),
        ("owner/name:config@a column", "owner/name", "config", "a column"),
        ("name@column", "name", None, "column"),
    ],
)
def test_a_name_on_the_hub_is_taken_apart(rest: str, name: str, config: str | None, column: str | None) -> None:
    assert parse_address(rest) == Address(name, config, column, None)


@pytest.mark.parametrize("folder", ["user@corp/d", "a:b/d", "d@home", "plain"])
@pytest.mark.parametrize(
    ("end", "config", "column"), [("", None, None), ("@body", None, "body"), (":c@body", "c", "body")]
)
@pytest.mark.parametrize("start", ["./", "", "absolute"])
def test_a_folder_may_hold_the_marks_in_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: str, folder: str, end: str, config: str, column: str
) -> None:
    (tmp_path / folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    rest = (f"{tmp_path}/" if start == "absolute" else start) + folder + end
    found = parse_address(rest)
    assert (found.folder, found.config, found.column) == (tmp_path / folder, config, column)
    source = resolve(TRAIN, sets=[f"data.source=hf:{rest}"]).config.data.source
    assert source == f"hf:{tmp_path / folder}{end}", "so that a run goes on from anywhere"


@pytest.mark.parametrize("rest", ["./user@corp/d", "./user@corp/d@body"])
def test_a_folder_that_is_missing_is_named_whole(tmp_path: Path, rest: str) -> None:
    found = parse_address(rest, tmp_path)
    assert found.folder == tmp_path / "user@corp" / "d"


@pytest.mark.parametrize("rest", ["name:", "name@", "@text", ":c"])
def test_an_incomplete_address_is_refused(rest: str) -> None:
    with pytest.raises(UsageError, match="incomplete"):
        parse_address(rest)
