"""Parsing the addresses in data.source."""

from __future__ import annotations

from pathlib import Path

import pytest

from seedbed.config.resolving import resolve
from seedbed.config.roots import TRAIN
from seedbed.config.source import Address, parse_address, unknown_source
from seedbed.errors import UsageError


@pytest.mark.parametrize(
    ("rest", "name", "config", "column"),
    [
        ("owner/name", "owner/name", None, None),
        ("owner/name:config@a column", "owner/name", "config", "a column"),
        ("name@column", "name", None, "column"),
    ],
)
def test_an_address_on_the_hub_is_parsed(rest: str, name: str, config: str | None, column: str | None) -> None:
    assert parse_address(rest) == Address(name, config, column, None)


@pytest.mark.parametrize("folder", ["user@corp/d", "a:b/d", "d@home", "plain"])
@pytest.mark.parametrize(
    ("end", "config", "column"), [("", None, None), ("@body", None, "body"), (":c@body", "c", "body")]
)
@pytest.mark.parametrize("start", ["./", "", "absolute"])
def test_a_folder_name_may_contain_colons_and_at_signs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: str, folder: str, end: str, config: str, column: str
) -> None:
    (tmp_path / folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    rest = (f"{tmp_path}/" if start == "absolute" else start) + folder + end
    found = parse_address(rest)
    assert (found.folder, found.config, found.column) == (tmp_path / folder, config, column)
    source = resolve(TRAIN, sets=[f"data.source=hf:{rest}"]).config.data.source
    assert source == f"hf:{tmp_path / folder}{end}", "a resume from another folder would not find the source"


@pytest.mark.parametrize("rest", ["./user@corp/d", "./user@corp/d@body"])
def test_the_name_of_a_missing_folder_keeps_its_at_sign(tmp_path: Path, rest: str) -> None:
    found = parse_address(rest, tmp_path)
    assert found.folder == tmp_path / "user@corp" / "d"


@pytest.mark.parametrize("rest", ["name:", "name@", "@text", ":c"])
def test_an_incomplete_address_is_refused(rest: str) -> None:
    with pytest.raises(UsageError, match="incomplete"):
        parse_address(rest)


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("data/fulll", "Did you mean data/full? "),
        ("dta/full", "Did you mean data/full? "),
        ("data/nothing", 'Datasets in "data": chats, full. '),
        ("{here}/data/nothing", 'Datasets in "{here}/data": chats, full. '),
        ("data/notes/x", 'There is no dataset in "data/notes". '),
        ("/missing/data/full", 'There is no "missing" in "/". '),
        ("roneneldan/TinyStories", "write hf:roneneldan/TinyStories. "),
    ],
)
def test_a_path_that_does_not_exist_gets_the_nearest_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str, hint: str
) -> None:
    for name in ("full", "chats"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "dataset.json").touch()
    (tmp_path / "data" / "notes").mkdir()
    monkeypatch.chdir(tmp_path)
    found = unknown_source(typed.replace("{here}", str(tmp_path)))
    assert found.hint.startswith("The path does not exist. ")
    assert hint.replace("{here}", str(tmp_path)) in found.hint
    assert ("hf:" in found.hint.partition("Sources:")[0]) == ("TinyStories" in typed)
