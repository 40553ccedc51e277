"""File systems without locks (NFS, SMB): training there is refused; existing runs can be listed, renamed and deleted."""

from __future__ import annotations

import fcntl
from typing import Any

import pytest

LOCKLESS = """
import errno, fcntl, os

def flock(fd, how):
    path = os.readlink(f"/proc/self/fd/{fd}") if os.path.exists("/proc/self/fd") else fcntl.fcntl(fd, 50, bytes(1024))
    if os.environ["LOCKLESS"] in str(path):
        raise OSError(errno.ENOLCK, "No locks available")
    return real(fd, how)

real, fcntl.flock = fcntl.flock, flock
"""


@pytest.fixture
def lockless(desk: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A desk whose folders named `share` are on a file system without locks."""
    place = desk.folder / "site"
    place.mkdir()
    (place / "sitecustomize.py").write_text(LOCKLESS)
    desk.environment |= {"PYTHONPATH": str(place), "LOCKLESS": "/share"}
    monkeypatch.setattr(fcntl, "flock", fcntl.flock)  # restored after the test
    monkeypatch.setenv("LOCKLESS", "/share")
    exec(LOCKLESS, {})
    return desk


def test_a_store_without_locks_is_refused_before_a_run_exists(lockless: Any) -> None:
    store = str(lockless.folder / "share" / "runs")
    error = lockless.seedbed("train", "--runs", store, expect=1).stderr
    assert "has no file locks" in error
    assert f'"{store}"' in error
    assert 'mounted at "/' in error
    assert "--runs DIR" in error
    assert not list((lockless.folder / "share" / "runs").glob("[!.]*"))


def test_a_cache_without_locks_is_refused_before_a_run_exists(lockless: Any) -> None:
    cache = {"SEEDBED_CACHE": str(lockless.folder / "share" / "cache")}
    error = lockless.seedbed("train", env=cache, expect=1).stderr
    assert "has no file locks" in error
    assert "export SEEDBED_CACHE=" in error
    assert not list(lockless.runs.glob("2*"))


def test_runs_on_a_share_can_be_managed_but_not_resumed(lockless: Any) -> None:
    run = lockless.train()
    lockless.runs.rename(lockless.folder / "share")
    runs = ("--runs", "share")
    for words in (("rename", run, "other"), ("tag", run, "good"), ("runs",), ("status", run), ("curve", run), ("du",)):
        lockless.seedbed(*words, *runs)
    refused = lockless.seedbed("resume", run, "--more-steps", "5", *runs, expect=1).stderr
    assert "has no file locks" in refused
    assert "--runs DIR" in refused
    lockless.seedbed("delete", run, "--yes", *runs)
    assert not (lockless.folder / "share" / run).exists()
