"""Containers: where the user has no home directory or cannot write to it, the error names the variable to set."""

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
def no_home(desk: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A desk whose user has no HOME and no password entry, in this process and in jobs."""

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
def test_commands_that_need_a_cache_name_the_variable_to_set(no_home: Any, words: tuple[str, ...]) -> None:
    error = no_home.seedbed(*words, expect=1).stderr
    assert "HOME is not set" in error
    assert "export SEEDBED_CACHE=" in error
    assert not list(no_home.runs.glob("*")), "a run was created that cannot start"
    assert not (no_home.folder / "~").exists()


def test_resume_without_a_cache_is_refused_and_starts_no_session(no_home: Any) -> None:
    cache = {"SEEDBED_CACHE": str(no_home.folder / "cache")}
    no_home.seedbed("train", "--set", "train.steps=30", expect=1, env={"FAKE_FAIL": "kill", **cache})
    assert "export SEEDBED_CACHE=" in no_home.seedbed("resume", expect=1).stderr
    assert no_home.status()["session"] == 1


def test_commands_that_need_no_cache_work_without_a_home(no_home: Any) -> None:
    run = no_home.train(env={"SEEDBED_CACHE": str(no_home.folder / "cache")})
    for words in (("runs",), ("status",), ("curve",), ("metrics", "--csv"), ("logs",), ("completion", "bash")):
        no_home.seedbed(*words)
    assert no_home.seedbed("generate", run, "--prompt", "Once").stdout
    no_home.seedbed("rename", run, "other")


def test_a_tilde_path_without_a_home_is_refused(no_home: Any) -> None:
    no_home.environment["SEEDBED_CACHE"] = str(no_home.folder / "cache")
    no_home.train()
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
        error = no_home.seedbed(*words, expect=2).stderr
        assert '"~"' in error, words
        assert "set HOME" in error, words
    assert len(list(no_home.runs.glob("2*"))) == 1


def test_the_error_names_the_unknown_user_in_a_tilde_path(desk: Any) -> None:
    error = desk.seedbed("status", "~nobody-of-that-name/run", expect=2).stderr
    assert '"~nobody-of-that-name"' in error


def test_the_error_for_an_unwritable_store_names_the_runs_option(desk: Any) -> None:
    (desk.folder / "file").write_text("")
    error = desk.seedbed("train", "--runs", "file/runs", expect=1).stderr
    assert '"file/runs"' in error
    assert "--runs DIR" in error


def test_an_unwritable_cache_is_refused_before_a_run_exists(desk: Any) -> None:
    (desk.folder / "file").write_text("")
    for name, value in (("SEEDBED_CACHE", "file/cache"), ("HOME", str(desk.folder / "file"))):
        desk.environment.pop("SEEDBED_CACHE", None)
        desk.environment.pop("XDG_CACHE_HOME", None)
        error = desk.seedbed("train", expect=1, env={name: value}).stderr
        assert "Prepared data cannot be stored in" in error
        assert str(Path(value)) in error
        assert "export SEEDBED_CACHE=" in error
        assert not list(desk.runs.glob("*"))
