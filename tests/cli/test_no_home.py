"""Containers: a user without a home directory, or with one that nobody may write to, is told which variable to set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

UNKNOWN_USER = """
import pwd

def unknown(*_):
    raise KeyError("uid not found")

pwd.getpwuid = pwd.getpwnam = unknown
"""


@pytest.fixture
def homeless(desk: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The desk of a user whom the system does not know, here and in jobs, and who has set no HOME."""

    def unknown(user: object) -> None:
        raise KeyError("uid not found")

    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.setattr("pwd.getpwnam", unknown)
    place = desk.folder / "site"
    place.mkdir()
    (place / "sitecustomize.py").write_text(UNKNOWN_USER)
    desk.environment["PYTHONPATH"] = str(place)
    for name in ("HOME", "USER", "LOGNAME", "XDG_CACHE_HOME", "SEEDBED_CACHE"):
        desk.environment.pop(name, None)
    return desk


@pytest.mark.parametrize("words", [("du",), ("prune", "--caches", "--dry-run"), ("train",), ("train", "--background")])
def test_what_needs_a_cache_names_the_variable_to_set(homeless: Any, words: tuple[str, ...]) -> None:
    told = homeless.seedbed(*words, expect=1).stderr
    assert "HOME is not set" in told
    assert "export SEEDBED_CACHE=" in told
    assert not list(homeless.runs.glob("*")), "a run was made that cannot begin"
    assert not (homeless.folder / "~").exists()


def test_a_run_that_is_there_is_not_started_without_a_cache(homeless: Any) -> None:
    cache = {"SEEDBED_CACHE": str(homeless.folder / "cache")}
    homeless.seedbed("train", "--set", "train.steps=30", expect=1, env={"FAKE_FAIL": "kill", **cache})
    assert "export SEEDBED_CACHE=" in homeless.seedbed("resume", expect=1).stderr
    assert homeless.status()["session"] == 1


def test_what_needs_no_cache_works_without_a_home(homeless: Any) -> None:
    run = homeless.train(env={"SEEDBED_CACHE": str(homeless.folder / "cache")})
    for words in (("runs",), ("status",), ("curve",), ("metrics", "--csv"), ("logs",), ("completion", "bash")):
        homeless.seedbed(*words)
    assert homeless.seedbed("generate", run, "--prompt", "Once").stdout
    homeless.seedbed("rename", run, "other")


def test_a_path_in_no_home_is_refused_in_words(homeless: Any) -> None:
    homeless.environment["SEEDBED_CACHE"] = str(homeless.folder / "cache")
    homeless.train()
    for words in (
        ("status", "~/a/run"),
        ("runs", "--runs", "~/runs"),
        ("train", "~/my.toml"),
        ("train", "--data", "text:~/novels"),
        ("train", "--data", "~/prepared"),
        ("train", "--set", "tokenizer.path='~/t'"),
        ("metrics", "--csv", "--out", "~/a.csv"),
        ("curve", "--svg", "~/a.svg"),
        ("generate", "--prompt-file", "~/prompt"),
    ):
        told = homeless.seedbed(*words, expect=2).stderr
        assert '"~"' in told, words
        assert "set HOME" in told, words
    assert len(list(homeless.runs.glob("2*"))) == 1


def test_a_user_that_nobody_knows_is_named(desk: Any) -> None:
    told = desk.seedbed("status", "~nobody-of-that-name/run", expect=2).stderr
    assert '"~nobody-of-that-name"' in told


def test_a_store_that_cannot_be_written_is_told_with_its_option(desk: Any) -> None:
    (desk.folder / "file").write_text("")
    told = desk.seedbed("train", "--runs", "file/runs", expect=1).stderr
    assert '"file/runs"' in told
    assert "--runs DIR" in told


def test_a_cache_that_cannot_be_written_is_refused_before_a_run_exists(desk: Any) -> None:
    (desk.folder / "file").write_text("")
    for name, value in (("SEEDBED_CACHE", "file/cache"), ("HOME", str(desk.folder / "file"))):
        desk.environment.pop("SEEDBED_CACHE", None)
        desk.environment.pop("XDG_CACHE_HOME", None)
        told = desk.seedbed("train", expect=1, env={name: value}).stderr
        assert "Prepared data cannot be kept in" in told
        assert str(Path(value)) in told
        assert "export SEEDBED_CACHE=" in told
        assert not list(desk.runs.glob("*"))
