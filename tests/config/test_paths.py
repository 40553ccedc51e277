"""Paths of a config become absolute."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from configs import refused, written
from seedbed.config.resolving import resolve
from seedbed.config.roots import TRAIN


def test_paths_in_a_file_are_relative_to_the_file_and_others_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    file = written(tmp_path, '[data]\nsource = "text:novels"\npath = "../copy"\n[tokenizer]\npath = "~/tok"\n')
    config = resolve(TRAIN, file=Path("../my.toml")).config
    assert config.data.source == f"text:{tmp_path}/novels"
    assert config.data.path == str(tmp_path.parent / "copy")
    assert config.tokenizer.path == f"{tmp_path}/home/tok"
    config = resolve(TRAIN, file=file, sets=["data.source=text:novels"], flags={"data.path": "x"}).config
    assert config.data.source == f"text:{tmp_path}/elsewhere/novels"
    assert config.data.path == f"{tmp_path}/elsewhere/x"


def test_only_sources_that_are_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stories").mkdir()
    for source in ("stories", "wikitext-2", "hf:HuggingFaceFW/fineweb-edu:sample-10BT@text", "text:/a/b.txt"):
        assert resolve(TRAIN, sets=[f"data.source={source}"]).config.data.source == source
    assert resolve(TRAIN, sets=["data.source=hf:./local:cfg@col"]).config.data.source == f"hf:{tmp_path}/local:cfg@col"
    assert resolve(TRAIN, sets=["data.source=out/prepared"]).config.data.source == f"{tmp_path}/out/prepared"
    (tmp_path / "prepared").mkdir()
    (tmp_path / "prepared" / "manifest.json").write_text("{}")
    assert resolve(TRAIN, sets=["data.source=prepared"]).config.data.source == f"{tmp_path}/prepared"
    assert resolve(TRAIN, sets=["data.path="]).config.data.path == ""


@pytest.mark.parametrize("source", ["text:.", "text:a.txt", "hf:.", "./prepared"])
def test_a_path_in_a_folder_that_is_not_utf_8_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    os.mkdir(folder)
    monkeypatch.chdir(folder)
    message = refused(sets=[f"data.source={source}"])
    assert "caf\\xe9" in message
    assert "link" in message
