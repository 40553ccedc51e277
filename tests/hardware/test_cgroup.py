"""Which control groups limit this process, according to /proc/self/cgroup."""

from __future__ import annotations

from pathlib import Path

import pytest

from seedbed.hardware.cgroup import groups


@pytest.mark.parametrize(
    ("text", "folders"),
    [
        ("0::/user.slice/job 7\n", ["user.slice/job 7", "user.slice", "", "memory"]),
        ("0::/\n", ["", "memory"]),
        ("9:cpu,cpuacct:/a\n4:memory:/slurm/uid_1\n0::/\n", ["memory/slurm/uid_1", "memory/slurm", "", "memory"]),
        ("0::/../../elsewhere\n", ["", "memory"]),
        ("4:memory:/docker/the-hosts-path\n", ["", "memory"]),
        ("nonsense", ["", "memory"]),
    ],
)
def test_groups_are_listed_from_the_process_up_to_the_root(tmp_path: Path, text: str, folders: list[str]) -> None:
    for made in ("user.slice/job 7", "memory/slurm/uid_1"):
        (tmp_path / "fs" / made).mkdir(parents=True)
    (tmp_path / "own").write_text(text)
    assert groups("memory", tmp_path / "fs", tmp_path / "own") == [tmp_path / "fs" / name for name in folders]


def test_a_system_without_control_groups_lists_none(tmp_path: Path) -> None:
    assert groups("memory", tmp_path / "none", tmp_path / "none either") == []
