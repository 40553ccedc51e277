"""The writer saves beside training, and keeps what is worth keeping."""

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
    told = []
    for step in (9_000, 10_000, 11_000, 12_000, 13_000):
        writer.submit(make(step), best=step == 10_000)
    writer.close()
    told = writer.poll()
    assert names(find(folder).good) == ["step-00010000", "step-00012000", "step-00013000"]
    assert [event.step for event in told] == [9_000, 10_000, 11_000, 12_000, 13_000]
    assert [event.deleted for event in told] == [
        (),
        (),
        ("checkpoints/step-00009000",),
        (),
        ("checkpoints/step-00011000",),
    ]
    assert told[0].path == "checkpoints/step-00009000"
    assert told[0].size_bytes > 0
    assert writer.poll() == []


def test_the_writer_keeps_every_nth_as_well(folder: Path, make: Make) -> None:
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


def test_a_later_session_still_knows_the_best_until_a_better_comes(folder: Path, make: Make) -> None:
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


def test_keeping_none_still_keeps_one(folder: Path, make: Make) -> None:
    writer = Writer(folder, keep_last=0)
    for step in (1, 2):
        writer.submit(make(step))
    writer.close()
    assert names(find(folder).good) == ["step-00000002"]


def test_submit_returns_while_the_write_goes_on(folder: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_the_stall_counts_from_where_the_snapshot_began(folder: Path, make: Make) -> None:
    writer = Writer(folder)
    writer.submit(make(1), begun=time.perf_counter() - 3.0)
    writer.close()
    assert 3.0 <= writer.poll()[0].stall_s < 13.0


def test_a_full_disk_surfaces_at_the_next_poll_and_harms_nothing(
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
    """A file system of 200 kB, where this machine lets us mount one."""
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


def test_an_old_checkpoint_that_cannot_be_removed_costs_no_new_one(
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
    assert event.deleted == ("checkpoints/step-00000001", "checkpoints/step-00000002"), "they were forgotten"
    assert names(find(folder).good) == ["step-00000003"]


def test_a_disk_that_fills_up_keeps_what_was_saved(small_disk: Path, make: Make) -> None:
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


def test_a_write_that_does_not_read_back_deletes_nothing(
    folder: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(folder, make(1))
    monkeypatch.setattr(marker, "sha256_file", lambda path: "0" * 64)
    writer = Writer(folder, keep_last=1)
    writer.submit(make(2))
    with pytest.raises(SeedbedError, match="was damaged or edited"):
        writer.close()
    assert names(find(folder).good) == ["step-00000001"]


def test_an_error_of_the_code_is_not_swallowed_by_the_thread(folder: Path, make: Make) -> None:
    writer = Writer(folder)
    writer.submit(make(1)._replace(files={"model.safetensors": [object()]}))
    with pytest.raises(TypeError):
        writer.close()
    assert list(folder.iterdir()) == []


def test_an_unwritable_folder_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SeedbedError, match="file"):
        Writer(tmp_path / "file" / "checkpoints")


def test_leftovers_are_cleaned_and_nothing_else(folder: Path, make: Make) -> None:
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
