"""Memory of the machine and of the container around it."""

from __future__ import annotations

from pathlib import Path

import pytest

from seedbed.hardware import memory


def test_memory_figures_of_this_machine_are_plausible() -> None:
    assert 0 < memory.available_bytes() <= memory.total_bytes()
    assert 1 << 20 < memory.resident_bytes() < memory.total_bytes()


def test_resident_memory_grows_with_an_allocation() -> None:
    before = memory.resident_bytes()
    held = bytearray(b"x") * (64 << 20)
    assert memory.resident_bytes() - before > 60 << 20
    del held


def test_a_cgroup_limit_applies_and_its_file_cache_counts_as_free(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("700000\n")
    (tmp_path / "memory.stat").write_text("anon 400000\ninactive_file 250000\nactive_file 5\n")
    assert memory._limit(tmp_path) == 1_000_000
    assert memory._left(tmp_path) == 550_000


def test_a_cgroup_v1_limit_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "memory"
    folder.mkdir()
    (folder / "memory.limit_in_bytes").write_text("1000000\n")
    (folder / "memory.usage_in_bytes").write_text("700000\n")
    (folder / "memory.stat").write_text("cache 1\ninactive_file 1\ntotal_inactive_file 100000\n")
    assert memory._left(folder) == 400_000


def test_a_cgroup_without_a_limit_gives_none(tmp_path: Path) -> None:
    assert memory._left(tmp_path) is None
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._limit(tmp_path) is None
    assert memory._left(tmp_path) is None


def test_the_limit_of_a_parent_group_applies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch system's limit is on the job's own group, below the root."""
    job = tmp_path / "slurm" / "job_7"
    job.mkdir(parents=True)
    (job / "memory.max").write_text("max\n")
    (job.parent / "memory.max").write_text("3000000\n")
    (job.parent / "memory.current").write_text("1000000\n")
    monkeypatch.setattr(memory, "groups", lambda _: [job, job.parent, tmp_path])
    assert memory.total_bytes() == 3_000_000
    assert memory.available_bytes() == 2_000_000
