"""Renames, locks and tails: what a crash, a full disk or a second owner may not break."""

from __future__ import annotations

import errno
import fcntl
import os
import pickle
import random
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

import patience
from seedbed import files
from seedbed.errors import DiskFullError, SeedbedError, StorageError


def test_atomic_write_replaces_whole_and_leaves_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "state.json"
    files.write_atomic(target, "one")
    files.write_atomic(target, b"two")
    assert target.read_text() == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]
    assert target.stat().st_mode & 0o777 == 0o644


def test_a_write_that_fails_keeps_the_old_file(tmp_path: Path) -> None:
    """A file size limit stands in for a full disk: the kernel refuses the write in the middle."""
    target = tmp_path / "state.json"
    target.write_text("old")
    script = f"""
import errno, resource, signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from seedbed import files
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    files.write_atomic(Path({str(target)!r}), b"x" * 5000)
except files.SeedbedError as error:
    print(error.message)
"""
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "state.json" in said
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


def test_a_missing_folder_is_explained(tmp_path: Path) -> None:
    with pytest.raises(SeedbedError, match="nowhere"):
        files.write_atomic(tmp_path / "nowhere" / "x", "y")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_folder_is_explained(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(SeedbedError, match="permissions"):
        files.write_atomic(tmp_path / "x", "y")


@pytest.mark.parametrize(
    ("number", "said", "passing"),
    [
        (errno.EIO, "input/output error", True),
        (errno.EFBIG, "ulimit -f", True),
        (errno.EDQUOT, "quota", True),
        (errno.EROFS, "read-only", False),
        (errno.EACCES, "permission", False),
        (errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)[1:], True),
    ],
)
def test_a_refused_write_says_which_file_why_and_what_helps(
    tmp_path: Path, number: int, said: str, passing: bool
) -> None:
    with pytest.raises(StorageError) as caught, files.explained(tmp_path / "a file"):
        raise OSError(number, os.strerror(number))
    assert said in caught.value.reason
    assert f'"{tmp_path}/a file"' in caught.value.message
    assert said in caught.value.message
    assert caught.value.hint
    assert caught.value.passing is passing
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), vars(again)) == (type(caught.value), vars(caught.value))


def test_enospc_is_its_own_error(tmp_path: Path) -> None:
    with pytest.raises(DiskFullError, match="the disk is full"), files.explained(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_read_json_tells_missing_from_broken(tmp_path: Path) -> None:
    assert files.read_json(tmp_path / "absent.json") is None
    (tmp_path / "broken.json").write_text('{"a": ')
    with pytest.raises(SeedbedError, match="not valid JSON"):
        files.read_json(tmp_path / "broken.json")


def test_an_unfinished_last_line_waits(tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    log.write_bytes(b"one\ntwo\nthr")
    lines, offset = files.read_lines(log)
    assert lines == [b"one", b"two"]
    with log.open("ab") as handle:
        handle.write(b"ee\n")
    assert files.read_lines(log, offset) == ([b"three"], 14)
    assert files.read_lines(log, 14) == ([], 14)


def test_a_shorter_file_is_read_from_its_start(tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    log.write_bytes(b"new\n")
    assert files.read_lines(log, 1000) == ([b"new"], 4)
    assert files.read_lines(tmp_path / "absent", 7) == ([], 0)


def test_a_limit_bounds_memory_but_not_a_line(tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    log.write_bytes(b"a\n" + b"b" * 50 + b"\n" + b"c" * 20 + b"\n")
    assert files.read_lines(log, 0, limit=10) == ([b"a"], 2)
    assert files.read_lines(log, 2, limit=10) == ([b"b" * 50], 53)


def test_blocks_of_any_size_make_up_the_whole_lines(tmp_path: Path) -> None:
    chance, log = random.Random(3), tmp_path / "events.jsonl"
    for _ in range(200):
        data = bytes(chance.choice(b"ab\n\r") for _ in range(chance.randint(0, 80)))
        log.write_bytes(data)
        limit = chance.choice((None, 1, 2, 7, 100))
        found, place = b"", 0
        while True:
            block, after = files.read_block(log, place, limit)
            assert after == place + len(block)
            if not block:
                break
            assert block.endswith(b"\n")
            found, place = found + block, after
        assert found == data[: data.rfind(b"\n") + 1]
    assert files.read_block(tmp_path / "none", 5) == (b"", 0)


def test_ballast_takes_space_that_can_be_had_again(small_disk: Path, fill: Callable[[Path], Path]) -> None:
    size = 100 << 10
    ballast = files.Ballast(small_disk / ".ballast", size)
    before = files.free_bytes(small_disk)
    assert not ballast.held
    assert ballast.take()
    assert ballast.held
    assert before - files.free_bytes(small_disk) >= size
    filler = fill(small_disk)
    ballast.drop()
    assert not ballast.held
    assert files.free_bytes(small_disk) >= size
    assert not ballast.take(), "it would fill the disk"
    assert not ballast.path.exists()
    filler.unlink()
    assert ballast.take()
    ballast.drop()
    ballast.drop()
    assert files.free_bytes(small_disk) == before


def test_ballast_that_a_killed_job_left_is_taken_over(small_disk: Path, fill: Callable[[Path], Path]) -> None:
    size = 100 << 10
    assert files.Ballast(small_disk / ".ballast", size).take()
    filler = fill(small_disk)
    os.truncate(filler, filler.stat().st_size - size)
    assert files.Ballast(small_disk / ".ballast", size).take()


def test_an_append_log_never_merges_with_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"n":1}\n{"n":2,"tor')
    log = files.AppendLog(path)
    log.write(b'{"n":3}\n')
    log.close()
    log.close()
    assert path.read_bytes().splitlines() == [b'{"n":1}', b'{"n":2,"tor', b'{"n":3}']


def test_a_line_beyond_the_limit_on_file_sizes_is_taken_back_whole_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    script = """
import pathlib, resource, sys
from seedbed import errors, files
log = files.AppendLog(pathlib.Path(sys.argv[1]))
log.write(b"x" * 79 + b"\\n")
most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (100, most))
for line in (b"y" * 50 + b"\\n", b"z" * 90 + b"\\n"):
    try:
        log.write(line)
    except errors.DiskFullError:
        print("full")
    except errors.StorageError as error:
        print(error.reason)
print(files.obstacle(pathlib.Path(sys.argv[1]).parent, 0, 5000).reason)
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
print(files.obstacle(pathlib.Path(sys.argv[1]).parent, 0, 5000))
log.write(b"w\\n")
"""
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    *refused, afterwards = done.stdout.splitlines()
    assert len(refused) == 3
    assert all("ulimit -f" in line for line in refused)
    assert afterwards == "None"
    assert path.read_bytes() == b"x" * 79 + b"\nw\n"


def test_a_torn_line_that_cannot_be_taken_back_at_once_is_taken_back_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a file system that was remounted read-only, cutting the file fails like writing it."""
    log = files.AppendLog(tmp_path / "events.jsonl")
    log.write(b"one\n")
    write = os.write

    def torn(fd: int, data: bytes) -> int:
        if len(data) < 4:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return write(fd, data[:4])

    def refused(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "write", torn)
        patch.setattr(files.os, "ftruncate", refused)
        with pytest.raises(StorageError, match="read-only"):
            log.write(b"second\n")
        assert log.path.read_bytes() == b"one\nseco", "the line was not torn"
        with pytest.raises(StorageError, match="read-only"):
            log.write(b"second\n")
    log.write(b"second\n")
    assert log.path.read_bytes() == b"one\nsecond\n"


def test_what_stands_against_a_write_is_known_before_it(small_disk: Path, fill: Callable[[Path], Path]) -> None:
    assert files.obstacle(small_disk, 1 << 20) is None
    assert list(small_disk.iterdir()) == [], "the trial left something behind"
    trouble = files.obstacle(small_disk, 1 << 30)
    assert isinstance(trouble, DiskFullError)
    assert "full" in trouble.reason
    filler = fill(small_disk)
    assert isinstance(files.obstacle(small_disk, 0), DiskFullError), "a small file was written where nothing fits"
    filler.unlink()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    trouble = files.obstacle(small_disk, 0)
    assert trouble is not None
    assert "read-only" in trouble.reason
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert files.obstacle(small_disk, 0) is None


def test_on_macos_what_is_durable_has_left_the_drives_own_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def fcntl_(fd: int, number: int) -> int:
        asked.append(number)
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(errno.ENOTSUP, "not for a folder")
        return 0

    synced: list[int] = []
    monkeypatch.setattr(files.fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(files.fcntl, "fcntl", fcntl_)
    monkeypatch.setattr(files.os, "fsync", synced.append)
    files.write_atomic(tmp_path / "DONE", "x")
    assert asked == [51, 51], "the file, then its folder"
    assert len(synced) == 1, "a folder that does not know F_FULLFSYNC is at least fsynced"
    prepared = files.temporary_dir(tmp_path, "step")
    (prepared / "model").write_text("x")
    asked.clear()
    files.publish_dir(prepared, tmp_path / "step")
    assert asked == [51] * 3, "the file, its folder, and the one above"


def test_file_systems_that_sync_no_folders_and_know_no_modes_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAT, SMB and FUSE: a checkpoint that is whole must not be refused for that."""
    fsync = os.fsync

    def files_alone(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        fsync(fd)

    def refused(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(files.os, "fsync", files_alone)
    monkeypatch.setattr(files.os, "fchmod", refused)
    monkeypatch.setattr(files.os, "chmod", refused)
    prepared = files.temporary_dir(tmp_path, "step")
    files.write_atomic(prepared / "DONE", "x")
    files.publish_dir(prepared, tmp_path / "step")
    assert (tmp_path / "step" / "DONE").read_text() == "x"


def test_an_io_error_of_a_folders_sync_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(files.os, "fsync", broken)
    with pytest.raises(OSError, match="error"):
        files.fsync_dir(tmp_path)


def test_a_lock_has_one_owner_and_dies_with_it(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import pathlib, sys, time; from seedbed.files import Lock; lock = Lock(pathlib.Path(sys.argv[1]));"
            " print(lock.acquire(), flush=True); time.sleep(60)",
            str(path),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "True\n"
        assert files.is_locked(path)
        assert not files.Lock(path).acquire()
    finally:
        holder.kill()
        holder.wait()
    assert not files.is_locked(path)
    mine = files.Lock(path)
    assert mine.acquire()
    mine.release()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_without_file_locks_a_safeguard_goes_on_and_what_must_hold_names_the_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def lockless(fd: int, how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.fcntl, "flock", lockless)
    partition = type("Partition", (), {"mountpoint": str(tmp_path), "fstype": "nfs4"})
    monkeypatch.setattr("psutil.disk_partitions", lambda **_: [partition])
    before = os.listdir("/dev/fd")
    with files.Lock(tmp_path / ".labels.lock") as lock:
        assert lock.is_current()
    for attempt in (
        lambda: files.Lock(tmp_path / ".lock", "Use a local disk.").acquire(),
        lambda: files.refuse_without_locks(tmp_path, "Use a local disk."),
    ):
        with pytest.raises(StorageError) as caught:
            attempt()
        assert f'nfs4 mounted at "{tmp_path}"' in caught.value.message
        assert caught.value.hint == "Use a local disk."
        assert not caught.value.passing, "a job would wait for locks for ever"
    assert not files.is_locked(tmp_path / ".lock")
    assert files.is_locked(tmp_path / ".lock", shared=True), "what cannot be told must not be removed"
    release = files.share_lock(tmp_path / ".lock")
    assert release is not None
    release()
    assert os.listdir("/dev/fd") == before


def test_a_lock_that_a_network_file_system_refuses_with_eacces_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(fd: int, how: int) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(files.fcntl, "flock", refused)
    assert not files.Lock(tmp_path / ".lock", "Use a local disk.").acquire()
    assert files.is_locked(tmp_path / ".lock")


def test_where_locks_depend_on_how_a_file_is_open_a_shared_one_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On NFS, flock takes a lock of bytes: an exclusive one needs a file that is open for writing."""
    path, flock = tmp_path / "manifest.json", fcntl.flock
    path.write_text("{}")

    def as_on_nfs(fd: int, how: int) -> None:
        if how & fcntl.LOCK_EX and fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        flock(fd, how)

    monkeypatch.setattr(files.fcntl, "flock", as_on_nfs)
    assert not files.is_locked(path, shared=True)
    release = files.share_lock(path)
    assert release is not None
    assert files.is_locked(path, shared=True)
    release()


def test_a_published_folder_appears_whole(tmp_path: Path) -> None:
    prepared = files.temporary_dir(tmp_path, "step")
    assert prepared.name.startswith(".")
    (prepared / "inner").mkdir()
    (prepared / "inner" / "file").write_text("x")
    files.publish_dir(prepared, tmp_path / "step")
    assert (tmp_path / "step" / "inner" / "file").read_text() == "x"
    assert [path.name for path in tmp_path.iterdir()] == ["step"]
    files.remove_tree(tmp_path / "step")
    files.remove_tree(tmp_path / "step")
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_being_replaced_changes_only_if_all_goes_well(tmp_path: Path) -> None:
    target = tmp_path / "steps.csv"
    target.write_text("old")
    with suppress(ZeroDivisionError), files.replacing(target) as handle:
        handle.write(b"half of it")
        raise ZeroDivisionError
    assert target.read_text() == "old"
    with files.replacing(target) as handle:
        handle.write(b"all ")
        handle.write(b"of it")
        assert target.read_text() == "old"
    assert target.read_text() == "all of it"
    assert [path.name for path in tmp_path.iterdir()] == ["steps.csv"]


def test_a_held_file_is_shared_and_nobody_removes_it(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    assert files.share_lock(path) is None
    path.write_text("{}")
    os.utime(path, (1, 1))
    first, second = files.share_lock(path), files.share_lock(path)
    assert first is not None
    assert second is not None
    assert path.stat().st_mtime > 1e9, "it was not noted that somebody uses it"
    assert files.is_locked(path, shared=True)
    assert not files.is_locked(path), "one who shares it was taken for its owner"
    first()
    assert not files.Lock(path).acquire()
    second()
    assert not files.is_locked(path, shared=True)


def test_who_waits_to_hold_a_file_while_it_is_removed_gets_nothing(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_text("{}")
    remover = files.Lock(path)
    assert remover.acquire()
    held: list[object] = []
    waiting = threading.Thread(target=lambda: held.append(files.share_lock(path)))
    waiting.start()
    path.unlink()
    remover.release()
    waiting.join(timeout=patience.HANG_S)
    assert held == [None]
