"""Free space, the check before a write, and the reserve for a full disk."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from seedbed import disk_space
from seedbed.errors import DiskFullError


def test_ballast_reserves_space_and_frees_it(small_disk: Path, fill: Callable[[Path], Path]) -> None:
    size = 100 << 10
    ballast = disk_space.Ballast(small_disk / ".ballast", size)
    before = disk_space.free_bytes(small_disk)
    assert not ballast.held
    assert ballast.take()
    assert ballast.held
    assert before - disk_space.free_bytes(small_disk) >= size
    filler = fill(small_disk)
    ballast.drop()
    assert not ballast.held
    assert disk_space.free_bytes(small_disk) >= size
    assert not ballast.take(), "it would fill the disk"
    assert not ballast.path.exists()
    filler.unlink()
    assert ballast.take()
    ballast.drop()
    ballast.drop()
    assert disk_space.free_bytes(small_disk) == before


def test_ballast_of_a_killed_job_is_reused(small_disk: Path, fill: Callable[[Path], Path]) -> None:
    size = 100 << 10
    assert disk_space.Ballast(small_disk / ".ballast", size).take()
    filler = fill(small_disk)
    os.truncate(filler, filler.stat().st_size - size)
    assert disk_space.Ballast(small_disk / ".ballast", size).take()


def test_obstacle_gives_the_reason_why_a_write_would_fail(small_disk: Path, fill: Callable[[Path], Path]) -> None:
    assert disk_space.obstacle(small_disk, 1 << 20) is None
    assert list(small_disk.iterdir()) == [], "the check left a file"
    reason = disk_space.obstacle(small_disk, 1 << 30)
    assert isinstance(reason, DiskFullError)
    assert "full" in reason.reason
    filler = fill(small_disk)
    assert isinstance(disk_space.obstacle(small_disk, 0), DiskFullError), "a small file was written where nothing fits"
    filler.unlink()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    reason = disk_space.obstacle(small_disk, 0)
    assert reason is not None
    assert "read-only" in reason.reason
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert disk_space.obstacle(small_disk, 0) is None


def test_the_speed_of_a_disk_is_measured_without_leaving_a_file(small_disk: Path, fill: Callable[[Path], Path]) -> None:
    rate = disk_space.write_rate(small_disk, 100 << 10)
    assert rate is not None
    assert rate > 0
    assert not list(small_disk.iterdir())
    fill(small_disk)
    assert disk_space.write_rate(small_disk, 4 << 20) is None, "the disk is full"
    assert disk_space.write_rate(small_disk / "missing") is None
