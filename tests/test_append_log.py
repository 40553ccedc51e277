"""Reading and writing of logs that grow by lines."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from seedbed import append_log
from seedbed.errors import StorageError


def test_an_unfinished_last_line_is_read_once_it_is_complete(tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    log.write_bytes(b"one\ntwo\nthr")
    lines, offset = append_log.read_lines(log)
    assert lines == [b"one", b"two"]
    with log.open("ab") as handle:
        handle.write(b"ee\n")
    assert append_log.read_lines(log, offset) == ([b"three"], 14)
    assert append_log.read_lines(log, 14) == ([], 14)


def test_a_truncated_file_is_read_from_its_start(tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    log.write_bytes(b"new\n")
    assert append_log.read_lines(log, 1000) == ([b"new"], 4)
    assert append_log.read_lines(tmp_path / "absent", 7) == ([], 0)


def test_limit_bounds_the_bytes_read_but_never_cuts_a_line(tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    log.write_bytes(b"a\n" + b"b" * 50 + b"\n" + b"c" * 20 + b"\n")
    assert append_log.read_lines(log, 0, limit=10) == ([b"a"], 2)
    assert append_log.read_lines(log, 2, limit=10) == ([b"b" * 50], 53)


def test_blocks_of_any_size_add_up_to_all_whole_lines(tmp_path: Path) -> None:
    chance, log = random.Random(3), tmp_path / "events.jsonl"
    for _ in range(200):
        data = bytes(chance.choice(b"ab\n\r") for _ in range(chance.randint(0, 80)))
        log.write_bytes(data)
        limit = chance.choice((None, 1, 2, 7, 100))
        found, place = b"", 0
        while True:
            block, after = append_log.read_block(log, place, limit)
            assert after == place + len(block)
            if not block:
                break
            assert block.endswith(b"\n")
            found, place = found + block, after
        assert found == data[: data.rfind(b"\n") + 1]
    assert append_log.read_block(tmp_path / "none", 5) == (b"", 0)


def test_an_append_log_starts_a_new_line_after_an_unfinished_one(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"n":1}\n{"n":2,"tor')
    log = append_log.AppendLog(path)
    log.write(b'{"n":3}\n')
    log.close()
    log.close()
    assert path.read_bytes().splitlines() == [b'{"n":1}', b'{"n":2,"tor', b'{"n":3}']


def test_a_line_over_the_file_size_limit_is_removed_whole_and_the_reason_is_given(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    script = """
import pathlib, resource, sys
from seedbed import append_log, disk_space, errors
log = append_log.AppendLog(pathlib.Path(sys.argv[1]))
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
print(disk_space.obstacle(pathlib.Path(sys.argv[1]).parent, 0, 5000).reason)
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
print(disk_space.obstacle(pathlib.Path(sys.argv[1]).parent, 0, 5000))
log.write(b"w\\n")
"""
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    *refused, afterwards = done.stdout.splitlines()
    assert len(refused) == 3
    assert all("ulimit -f" in line for line in refused)
    assert afterwards == "None"
    assert path.read_bytes() == b"x" * 79 + b"\nw\n"


def test_a_partial_line_that_cannot_be_removed_at_once_is_removed_by_the_next_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a file system that was remounted read-only, cutting the file fails like writing it."""
    log = append_log.AppendLog(tmp_path / "events.jsonl")
    log.write(b"one\n")
    write = os.write

    def torn(fd: int, data: bytes) -> int:
        if len(data) < 4:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return write(fd, data[:4])

    def refused(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", torn)
        patch.setattr(os, "ftruncate", refused)
        with pytest.raises(StorageError, match="read-only"):
            log.write(b"second\n")
        assert log.path.read_bytes() == b"one\nseco", "the line was not torn"
        with pytest.raises(StorageError, match="read-only"):
            log.write(b"second\n")
    log.write(b"second\n")
    assert log.path.read_bytes() == b"one\nsecond\n"
