"""The checkpoint writer saves in the background and deletes old checkpoints."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from seedbed.checkpoint import marker, writing
from seedbed.checkpoint.reading import find, load
from seedbed.checkpoint.writer import Writer
from seedbed.checkpoint.writing import Snapshot, save
from seedbed.errors import DiskFullError, SeedbedError, StorageError

Make = Callable[..., Snapshot]


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def test_the_writer_keeps_the_last_and_the_best(folder: Path, make: Make) -> None:
    writer = Writer(folder, keep_last=2)
    saved_events = []
    for step in (9_000, 10_000, 11_000, 12_000, 13_000):
        writer.submit(make(step), best=step == 10_000)
    writer.close()
    saved_events = writer.poll()
    assert names(find(folder).good) == ["step-00010000", "step-00012000", "step-00013000"]
    assert [event.step for event in saved_events] == [9_000, 10_000, 11_000, 12_000, 13_000]
    assert [event.deleted for event in saved_events] == [
        (),
        (),
        ("checkpoints/step-00009000",),
        (),
        ("checkpoints/step-00011000",),
    ]
    assert saved_events[0].path == "checkpoints/step-00009000"
    assert saved_events[0].size_bytes > 0
    assert writer.poll() == []


def test_the_writer_also_keeps_every_nth_checkpoint(folder: Path, make: Make) -> None:
    writer = Writer(folder, keep_last=1, keep_every=1_000)
    for step in (500, 999, 1_000, 9_500, 10_000, 10_500):
        writer.submit(make(step), best=step == 500)
    writer.close()
    kept = ["step-00000500", "step-00001000", "step-00010000", "step-00010500"]
    assert names(find(folder).good) == kept
    again = Writer(folder, keep_last=1, keep_every=0)
    again.submit(make(11_000))
    again.close()
    assert names(find(folder).good) == ["step-00000500", "step-00011000"]


def test_a_later_session_keeps_the_best_checkpoint_until_there_is_a_better_one(folder: Path, make: Make) -> None:
    writer = Writer(folder, keep_last=1)
    writer.submit(make(1), best=True)
    writer.submit(make(2))
    writer.close()
    again = Writer(folder, keep_last=1)
    again.submit(make(3))
    again.close()
    assert names(find(folder).good) == ["step-00000001", "step-00000003"]
    again.submit(make(4), best=True)
    again.close()
    assert names(find(folder).good) == ["step-00000004"]


def test_keep_last_0_still_keeps_one_checkpoint(folder: Path, make: Make) -> None:
    writer = Writer(folder, keep_last=0)
    for step in (1, 2):
        writer.submit(make(step))
    writer.close()
    assert names(find(folder).good) == ["step-00000002"]


def test_submit_returns_before_the_write_ends(folder: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    real = writing.publish_dir

    def waiting(*args: Any) -> None:
        assert gate.wait(600)
        real(*args)

    monkeypatch.setattr(writing, "publish_dir", waiting)
    writer = Writer(folder)
    begun = time.perf_counter()
    writer.submit(make(1))
    assert writer.poll() == []
    assert time.perf_counter() - begun < 100, "submit waited for the write"
    gate.set()
    writer.close()
    (event,) = writer.poll()
    assert event.stall_s < 10
    assert event.write_s > 0


def test_the_stall_is_measured_from_the_start_of_the_snapshot(folder: Path, make: Make) -> None:
    writer = Writer(folder)
    writer.submit(make(1), begun=time.perf_counter() - 3.0)
    writer.close()
    assert 3.0 <= writer.poll()[0].stall_s < 13.0


def test_a_full_disk_is_raised_at_close_and_keeps_earlier_checkpoints(
    folder: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer(folder, keep_last=1)
    writer.submit(make(1))
    writer.close()

    def full(handle: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("seedbed.files.os.fsync", full)
        writer.submit(make(2))
        with pytest.raises(DiskFullError):
            writer.close()
    assert [event.step for event in writer.poll()] == [1]
    assert names(list(folder.iterdir())) == ["step-00000001"], "the unfinished write was left behind"
    assert load(folder / "step-00000001").step == 1
    writer.submit(make(3))
    writer.close()
    assert names(find(folder).good) == ["step-00000003"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 kB, if it can be mounted on this machine."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None or sys.platform != "linux":
        pytest.skip("needs Linux's mount to make a small disk")
    made = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if made.returncode != 0:
        pytest.skip(f"cannot mount a small disk here: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_failed_deletion_of_an_old_checkpoint_does_not_fail_the_save_and_is_retried(
    folder: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer(folder, keep_last=1)
    writer.submit(make(1))
    writer.close()

    def refused(path: Path) -> None:
        raise StorageError(f"Cannot write or read '{path}': permission is denied.")

    with monkeypatch.context() as patch:
        patch.setattr("seedbed.checkpoint.writer.remove_tree", lambda path: refused(path) if path.exists() else None)
        writer.submit(make(2))
        writer.close()
    assert [(event.step, event.deleted) for event in writer.poll()] == [(1, ()), (2, ())]
    writer.submit(make(3))
    writer.close()
    (event,) = writer.poll()
    assert event.deleted == ("checkpoints/step-00000001", "checkpoints/step-00000002"), "they were not deleted later"
    assert names(find(folder).good) == ["step-00000003"]


def test_a_disk_that_fills_up_keeps_the_saved_checkpoints(small_disk: Path, make: Make) -> None:
    writer = Writer(small_disk, keep_last=2)
    writer.submit(make(1))
    writer.close()
    large = make(2, weights={"w": torch.ones(60_000)})
    writer.submit(large)
    with pytest.raises(DiskFullError):
        writer.close()
    assert names(list(small_disk.iterdir())) == ["step-00000001"]
    assert load(small_disk / "step-00000001").step == 1
    writer.submit(make(3))
    writer.close()
    assert names(find(small_disk).good) == ["step-00000001", "step-00000003"]


def test_a_save_that_fails_verification_deletes_no_checkpoint(
    folder: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(folder, make(1))
    monkeypatch.setattr(marker, "sha256_file", lambda path: "0" * 64)
    writer = Writer(folder, keep_last=1)
    writer.submit(make(2))
    with pytest.raises(SeedbedError, match="was damaged or edited"):
        writer.close()
    assert names(find(folder).good) == ["step-00000001"]


def test_an_unexpected_error_in_the_thread_is_raised(folder: Path, make: Make) -> None:
    writer = Writer(folder)
    writer.submit(make(1)._replace(files={"model.safetensors": [object()]}))
    with pytest.raises(TypeError):
        writer.close()
    assert list(folder.iterdir()) == []


def test_an_unwritable_folder_is_named_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SeedbedError, match="file"):
        Writer(tmp_path / "file" / "checkpoints")


def test_only_leftovers_of_unfinished_saves_are_removed(folder: Path, make: Make) -> None:
    good = save(folder, make(5)).path
    unfinished = save(folder, make(6)).path
    (unfinished / "DONE").unlink()
    damaged = save(folder, make(7)).path
    (damaged / "trainer.json").unlink()
    (folder / ".step-00000008.abcd1234").mkdir()
    (folder / ".step-00000004.x.gone").mkdir()
    (folder / ".step-00000005.replaced").mkdir()
    (folder / "notes").mkdir()
    Writer(folder)
    assert set(folder.iterdir()) == {good, damaged, folder / "notes"}
