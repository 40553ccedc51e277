"""Where caches and facts are kept."""

from __future__ import annotations

from pathlib import Path

import platformdirs
import pytest

from seedbed.config.directories import cache_dir, facts_dir
from seedbed.config.environment import env
from seedbed.errors import UsageError


def test_the_environment_sets_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path))
    assert cache_dir() == tmp_path
    monkeypatch.delenv("SEEDBED_CACHE")
    assert cache_dir().name == "seedbed"
    assert cache_dir().is_absolute()
    monkeypatch.setenv("SEEDBED_X", "1")
    assert (env("SEEDBED_X"), env("SEEDBED_Y", "no")) == ("1", "no")


def test_the_environment_sets_the_folder_of_facts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SEEDBED_FACTS", str(tmp_path))
    assert facts_dir() == tmp_path
    for name, word in (("missing", "does not exist"), ("file.toml", "not a folder")):
        (tmp_path / "file.toml").touch()
        monkeypatch.setenv("SEEDBED_FACTS", str(tmp_path / name))
        with pytest.raises(UsageError, match=f"SEEDBED_FACTS.*{word}"):
            facts_dir()
    monkeypatch.delenv("SEEDBED_FACTS")
    for config, home in (("/etc/x", "/home/me"), ("relative", "/home/me"), ("", "/home/me"), ("/etc/x", "")):
        monkeypatch.setenv("XDG_CONFIG_HOME", config)
        monkeypatch.setenv("HOME", home)
        assert facts_dir() == Path(platformdirs.user_config_dir("seedbed", appauthor=False)) / "facts"
    found = facts_dir()
    assert found is not None
    assert found.parts[-2:] == ("seedbed", "facts")
