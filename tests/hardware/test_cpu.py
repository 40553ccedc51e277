"""Processors as /proc/cpuinfo and cgroups describe them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from seedbed.hardware import cpu

INTEL = """processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R)   Platinum 8481C CPU @ 2.70GHz
flags\t\t: fpu vme avx2 avx512f avx512_bf16 amx_bf16 amx_tile amx_int8
processor\t: 1
model name\t: other
"""
OLD = "model name\t: Intel(R) Core(TM) i5-4210U\nflags\t\t: fpu avx avx2\n"
ARM = "processor\t: 0\nBogoMIPS\t: 243.75\nFeatures\t: fp asimd bf16 i8mm\nCPU implementer\t: 0x41\n"


def test_name_and_features_are_read_from_x86_cpuinfo() -> None:
    name, features, missing = cpu.parse_cpuinfo(INTEL)
    assert name == "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz"
    assert features == ("amx_bf16", "avx512_bf16", "avx512f", "avx2")
    assert missing == {}


def test_bf16_is_fast_only_with_amx_or_avx512_bf16() -> None:
    def fast(text: str) -> bool:
        name, features, missing = cpu.parse_cpuinfo(text)
        return cpu.Cpu(name, 1, features, missing).fast_bf16

    assert fast(INTEL)
    assert fast(INTEL.replace("amx_bf16", ""))
    assert not fast(OLD)
    assert not fast(ARM)


def test_every_missing_value_has_a_reason() -> None:
    name, features, missing = cpu.parse_cpuinfo(ARM)
    assert (name, features) == ("", ("bf16",))
    assert set(missing) == {"name"}
    assert set(cpu.parse_cpuinfo("")[2]) == {"name", "features"}


def test_this_machine_has_a_name_and_cores() -> None:
    here = cpu.probe()
    assert here.name or here.missing["name"]
    assert 1 <= here.cores <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("text", "cores"),
    [("200000 100000\n", 2), ("150000 100000\n", 2), ("50000 100000\n", 1), ("max 100000\n", None), ("0 0\n", None)],
)
def test_quotas_round_up_to_whole_cores(tmp_path: Path, text: str, cores: int | None) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert cpu._quota_cores(tmp_path) == cores
    assert cpu._quota_cores(tmp_path / "none") is None


@pytest.mark.parametrize(("quota", "cores"), [("150000", 2), ("-1", None)])
def test_quotas_of_cgroup_v1_round_up_to_whole_cores(tmp_path: Path, quota: str, cores: int | None) -> None:
    (tmp_path / "cpu.cfs_quota_us").write_text(quota + "\n")
    (tmp_path / "cpu.cfs_period_us").write_text("100000\n")
    assert cpu._quota_cores(tmp_path) == cores


def test_the_lowest_quota_of_the_process_and_its_parent_groups_applies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = tmp_path / "slurm" / "job_7"
    job.mkdir(parents=True)
    (tmp_path / "slurm" / "cpu.max").write_text("100000 100000\n")
    (job / "cpu.max").write_text("400000 100000\n")
    monkeypatch.setattr(cpu, "groups", lambda _: [job, job.parent, tmp_path])
    assert cpu.usable_cores() == 1
