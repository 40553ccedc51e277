"""File locks, also on file systems that lack them."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import patience
from seedbed import locks
from seedbed.errors import StorageError


def test_a_lock_has_one_owner_and_is_released_when_the_owner_is_killed(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import pathlib, sys, time; from seedbed.locks import Lock; lock = Lock(pathlib.Path(sys.argv[1]));"
            " print(lock.acquire(), flush=True); time.sleep(600)",
            str(path),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "True\n"
        assert locks.is_locked(path)
        assert not locks.Lock(path).acquire()
    finally:
        holder.kill()
        holder.wait()
    assert not locks.is_locked(path)
    mine = locks.Lock(path)
    assert mine.acquire()
    mine.release()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_without_file_locks_only_a_lock_with_a_remedy_raises_and_names_the_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def lockless(fd: int, how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", lockless)
    partition = type("Partition", (), {"mountpoint": str(tmp_path), "fstype": "nfs4"})
    monkeypatch.setattr("psutil.disk_partitions", lambda **_: [partition])
    before = set(os.listdir("/dev/fd"))
    with locks.Lock(tmp_path / ".labels.lock") as lock:
        assert lock.is_current()
    for attempt in (
        lambda: locks.Lock(tmp_path / ".lock", "Use a local disk.").acquire(),
        lambda: locks.refuse_without_locks(tmp_path, "Use a local disk."),
    ):
        with pytest.raises(StorageError) as caught:
            attempt()
        assert f'nfs4 mounted at "{tmp_path}"' in caught.value.message
        assert caught.value.hint == "Use a local disk."
        assert not caught.value.passing, "a job would wait for locks forever"
    assert not locks.is_locked(tmp_path / ".lock")
    assert locks.is_locked(tmp_path / ".lock", shared=True), "a failed check must count as locked"
    release = locks.share_lock(tmp_path / ".lock")
    assert release is not None
    release()
    assert set(os.listdir("/dev/fd")) <= before


def test_eacces_from_flock_means_that_another_process_has_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(fd: int, how: int) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(fcntl, "flock", refused)
    assert not locks.Lock(tmp_path / ".lock", "Use a local disk.").acquire()
    assert locks.is_locked(tmp_path / ".lock")


def test_a_shared_lock_is_seen_on_nfs_where_exclusive_locks_need_a_writable_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On NFS, flock takes a lock of bytes: an exclusive one needs a file that is open for writing."""
    path, flock = tmp_path / "manifest.json", fcntl.flock
    path.write_text("{}")

    def as_on_nfs(fd: int, how: int) -> None:
        if how & fcntl.LOCK_EX and fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        flock(fd, how)

    monkeypatch.setattr(fcntl, "flock", as_on_nfs)
    assert not locks.is_locked(path, shared=True)
    release = locks.share_lock(path)
    assert release is not None
    assert locks.is_locked(path, shared=True)
    release()


def test_a_file_with_a_shared_lock_cannot_be_locked_for_removal(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    assert locks.share_lock(path) is None
    path.write_text("{}")
    os.utime(path, (1, 1))
    first, second = locks.share_lock(path), locks.share_lock(path)
    assert first is not None
    assert second is not None
    assert path.stat().st_mtime > 1e9, "the time of last use was not set"
    assert locks.is_locked(path, shared=True)
    assert not locks.is_locked(path), "a shared lock counted as an exclusive one"
    first()
    assert not locks.Lock(path).acquire()
    second()
    assert not locks.is_locked(path, shared=True)


def test_share_lock_returns_none_if_the_file_is_removed_while_it_waits(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_text("{}")
    remover = locks.Lock(path)
    assert remover.acquire()
    held: list[object] = []
    waiting = threading.Thread(target=lambda: held.append(locks.share_lock(path)))
    waiting.start()
    path.unlink()
    remover.release()
    waiting.join(timeout=patience.HANG_S)
    assert held == [None]


def test_who_waits_for_a_block_can_be_stopped(tmp_path: Path) -> None:
    class Stopped(Exception):  # noqa: N818  # as a request to stop
        pass

    def stop() -> None:
        raise Stopped

    path = tmp_path / "lock"
    with locks.alone(path):
        with pytest.raises(Stopped), locks.alone(path, stop):
            pytest.fail("two at once")
        assert path.exists()
    with locks.alone(path, stop):  # it is free, so nothing is asked
        pass
    assert not path.exists()
