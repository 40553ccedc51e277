"""Atomic and durable writes: failed writes, unusual file systems, folders."""

from __future__ import annotations

import errno
import os
import pickle
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from seedbed import files
from seedbed.errors import DiskFullError, SeedbedError, StorageError


def test_an_atomic_write_replaces_the_file_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    target = tmp_path / "state.json"
    files.write_atomic(target, "one")
    files.write_atomic(target, b"two")
    assert target.read_text() == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]
    assert target.stat().st_mode & 0o777 == 0o644


def test_a_normal_path_has_no_dots_and_keeps_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "far" / "inner").mkdir(parents=True)
    (tmp_path / "near").mkdir()
    (tmp_path / "near" / "link").symlink_to(tmp_path / "far" / "inner")
    monkeypatch.chdir(tmp_path / "near")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert files.normal_path("./link/") == tmp_path / "near" / "link"
    assert files.normal_path("../far/../near//x.json") == tmp_path / "near" / "x.json"
    assert files.normal_path("~/near/./x.json") == tmp_path / "near" / "x.json"
    # The parent of the folder to which the link leads, as the system sees it.
    assert files.normal_path("link/../x.json") == tmp_path.resolve() / "far" / "x.json"


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    """A file size limit stands in for a full disk: the kernel refuses the write in the middle."""
    target = tmp_path / "state.json"
    target.write_text("old")
    script = f"""
import resource, signal
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


def test_writing_in_a_missing_folder_names_the_folder(tmp_path: Path) -> None:
    with pytest.raises(SeedbedError, match="nowhere"):
        files.write_atomic(tmp_path / "nowhere" / "x", "y")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_writing_in_an_unwritable_folder_names_its_permissions(tmp_path: Path) -> None:
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
def test_an_os_error_becomes_a_storage_error_with_file_reason_and_hint(
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


def test_enospc_becomes_a_disk_full_error(tmp_path: Path) -> None:
    with pytest.raises(DiskFullError, match="the disk is full"), files.explained(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_read_json_returns_none_for_a_missing_file_and_raises_for_invalid_json(tmp_path: Path) -> None:
    assert files.read_json(tmp_path / "absent.json") is None
    (tmp_path / "broken.json").write_text('{"a": ')
    with pytest.raises(SeedbedError, match="not valid JSON"):
        files.read_json(tmp_path / "broken.json")
    (tmp_path / "deep.json").write_text("[" * 200_000)
    with pytest.raises(SeedbedError, match="not valid JSON"):
        files.read_json(tmp_path / "deep.json")


def test_durable_writes_use_f_fullfsync_on_macos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_file_systems_without_folder_sync_or_modes_can_be_written(
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


def test_an_io_error_while_syncing_a_folder_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(files.os, "fsync", broken)
    with pytest.raises(OSError, match="error"):
        files.fsync_dir(tmp_path)


def test_a_published_folder_appears_complete_and_is_removed_completely(tmp_path: Path) -> None:
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


def test_replacing_changes_the_file_only_if_the_block_ends_without_an_error(tmp_path: Path) -> None:
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
