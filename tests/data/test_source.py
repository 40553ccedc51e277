"""Picking a source by what was typed after --data."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import patience
from seedbed.config.schema import DataConfig
from seedbed.data.source import SOURCES, open_source
from seedbed.errors import SeedbedError, UsageError
from seedbed.events import Event


def refuse(event: Event) -> None:
    raise AssertionError(event)


@pytest.mark.parametrize(
    ("asked", "meant"),
    [("storys", "stories"), ("Stories", "stories"), ("wikitext2", "wikitext-2"), ("txt:a.txt", "text:PATH")],
)
def test_an_unknown_word_names_the_nearest_and_all_forms(asked: str, meant: str) -> None:
    with pytest.raises(UsageError) as raised:
        open_source(DataConfig(source=asked), emit=refuse)
    assert asked in raised.value.message
    assert f"Did you mean {meant}?" in raised.value.hint
    for entry in SOURCES.values():
        assert entry.form in raised.value.hint
    assert raised.value.exit_code == 2


def test_a_file_or_folder_without_a_scheme_is_shown_with_one(tmp_path: Path) -> None:
    novel = tmp_path / "novel.txt"
    novel.write_text("Once.")
    for path in (novel, tmp_path):
        with pytest.raises(UsageError) as raised:
            open_source(DataConfig(source=str(path)), emit=refuse)
        assert f"text:{path}" in raised.value.hint


def test_a_name_with_an_owner_points_at_the_hub() -> None:
    with pytest.raises(UsageError) as raised:
        open_source(DataConfig(source="roneneldan/TinyStories"), emit=refuse)
    assert "hf:roneneldan/TinyStories" in raised.value.hint


@pytest.mark.parametrize(
    "asked", ["text:", "text", "hf:", "hf", "hf:@text", "hf:name:", "hf:name@", "stories:3", "wikitext-2:a"]
)
def test_an_incomplete_or_overfull_form_is_a_usage_error(asked: str) -> None:
    with pytest.raises(UsageError) as raised:
        open_source(DataConfig(source=asked), emit=refuse)
    assert raised.value.hint


def test_a_validation_path_is_refused_where_it_would_be_ignored(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="validation_path"):
        open_source(DataConfig(source="stories", validation_path=str(tmp_path)), emit=refuse)


def test_a_missing_path_names_the_part_that_is_there(tmp_path: Path) -> None:
    with pytest.raises(SeedbedError) as raised:
        open_source(DataConfig(source=f"text:{tmp_path}/novls"), emit=refuse)
    assert "novls" in raised.value.message
    assert str(tmp_path) in raised.value.hint


def test_opening_own_text_loads_neither_torch_nor_the_hub(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Some text of my own.\n" * 100)
    code = (
        "import sys; from seedbed.config.schema import DataConfig; from seedbed.data.source import open_source\n"
        "source = open_source(DataConfig(source='text:' + sys.argv[1]), emit=lambda event: None)\n"
        "source.fingerprint(); list(source.documents('train'))\n"
        "print([name for name in ('torch', 'numpy', 'datasets', 'huggingface_hub', 'pyarrow') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.txt")],
        capture_output=True,
        text=True,
        check=True,
        timeout=patience.HANG_S,
    )
    assert done.stdout.strip() == "[]"
