"""Opening the source that --data names."""

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


def fail_on_event(event: Event) -> None:
    raise AssertionError(event)


@pytest.mark.parametrize(
    ("typed", "nearest"),
    [("storys", "stories"), ("Stories", "stories"), ("wikitext2", "wikitext-2"), ("txt:a.txt", "text:PATH")],
)
def test_the_hint_for_an_unknown_source_has_the_nearest_name_and_all_forms(typed: str, nearest: str) -> None:
    with pytest.raises(UsageError) as raised:
        open_source(DataConfig(source=typed), emit=fail_on_event)
    assert typed in raised.value.message
    assert f"Did you mean {nearest}?" in raised.value.hint
    for entry in SOURCES.values():
        assert entry.form in raised.value.hint
    assert raised.value.exit_code == 2


def test_the_hint_for_a_bare_path_is_text_with_that_path(tmp_path: Path) -> None:
    novel = tmp_path / "novel.txt"
    novel.write_text("Once.")
    for path in (novel, tmp_path):
        with pytest.raises(UsageError) as raised:
            open_source(DataConfig(source=str(path)), emit=fail_on_event)
        assert f"text:{path}" in raised.value.hint


def test_the_hint_for_a_bare_owner_and_name_is_a_hub_dataset() -> None:
    with pytest.raises(UsageError) as raised:
        open_source(DataConfig(source="roneneldan/TinyStories"), emit=fail_on_event)
    assert "hf:roneneldan/TinyStories" in raised.value.hint


@pytest.mark.parametrize(
    "typed", ["text:", "text", "hf:", "hf", "hf:@text", "hf:name:", "hf:name@", "stories:3", "wikitext-2:a"]
)
def test_a_form_with_too_little_or_too_much_is_a_usage_error(typed: str) -> None:
    with pytest.raises(UsageError) as raised:
        open_source(DataConfig(source=typed), emit=fail_on_event)
    assert raised.value.hint


def test_a_validation_path_is_refused_for_a_source_that_ignores_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="validation_path"):
        open_source(DataConfig(source="stories", validation_path=str(tmp_path)), emit=fail_on_event)


def test_the_hint_for_a_missing_path_names_the_folder_that_exists(tmp_path: Path) -> None:
    with pytest.raises(SeedbedError) as raised:
        open_source(DataConfig(source=f"text:{tmp_path}/novls"), emit=fail_on_event)
    assert "novls" in raised.value.message
    assert str(tmp_path) in raised.value.hint


def test_reading_a_text_file_imports_no_heavy_packages(tmp_path: Path) -> None:
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
