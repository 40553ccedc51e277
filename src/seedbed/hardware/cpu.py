"""Read the properties of the processor: name, usable cores and instruction sets. Imports no torch."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

from seedbed.hardware.cgroup import groups, number

FEATURES = ("amx_bf16", "avx512_bf16", "avx512f", "avx2", "bf16")
"""Instruction sets that matter for speed: the first two make matrix products in bf16 fast, the last is ARM's bf16."""


class Cpu(NamedTuple):
    """A processor: name, cores, instruction sets. `missing` has the reason for each unknown value."""

    name: str
    cores: int
    features: tuple[str, ...]
    missing: dict[str, str]

    @property
    def fast_bf16(self) -> bool:
        """Whether matrix products are several times as fast in bf16 as in fp32 (measured: AMX 9x, AVX512-BF16 4x)."""
        return "amx_bf16" in self.features or "avx512_bf16" in self.features

    @property
    def emulates_bf16(self) -> bool:
        """Whether it has no instructions for bf16, which is then up to 100 times slower than fp32."""
        return not self.fast_bf16 and "bf16" not in self.features


@cache
def probe() -> Cpu:
    """The properties of the processor of this machine, read once and then cached."""
    if sys.platform == "darwin":
        name, features, missing = _from_sysctl()
    else:
        try:
            name, features, missing = parse_cpuinfo(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace"))
        except OSError as error:
            name, features = "", ()
            missing = {"features": f"/proc/cpuinfo cannot be read: {error.strerror}"}
    return Cpu(name or platform.machine() or "unknown CPU", usable_cores(), features, missing)


def parse_cpuinfo(text: str) -> tuple[str, tuple[str, ...], dict[str, str]]:
    """Name, features (instruction sets) and reasons for missing values, from the text of Linux's /proc/cpuinfo.

    The text may be of an x86 or an ARM machine.
    """
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            fields.setdefault(key.strip().lower(), value.strip())
    flags = set((fields.get("flags") or fields.get("features") or "").split())
    missing = {}
    if not flags:
        missing["features"] = "/proc/cpuinfo lists no flags"
    name = fields.get("model name") or fields.get("hardware") or ""
    if not name:
        missing["name"] = "/proc/cpuinfo has no model name"
    return re.sub(r"\s+", " ", name), tuple(feature for feature in FEATURES if feature in flags), missing


def _from_sysctl() -> tuple[str, tuple[str, ...], dict[str, str]]:
    """Name, features (instruction sets) and reasons for missing values, read with `sysctl` on macOS."""
    missing = {}
    name = _sysctl("machdep.cpu.brand_string")
    if not name:
        missing["name"] = "sysctl reports no processor name"
    features = []
    if _sysctl("hw.optional.arm.FEAT_BF16") == "1":
        features.append("bf16")
    features += [
        name for name, key in (("avx512f", "avx512f"), ("avx2", "avx2_0")) if _sysctl(f"hw.optional.{key}") == "1"
    ]
    return name, tuple(features), missing


def _sysctl(key: str) -> str:
    try:
        done = subprocess.run(["sysctl", "-n", key], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def usable_cores() -> int:
    """The number of cores that this process may use: its CPU affinity, limited by the quotas of its control groups."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    quotas = [quota for group in groups("cpu") if (quota := _quota_cores(group)) is not None]
    return max(1, min([cores, *quotas]))


def _quota_cores(group: Path) -> int | None:
    """The CPU quota of a control group in whole cores, rounded up; None if it has no quota.

    Version 2 of control groups has it in `cpu.max` (`max 100000` or `200000 100000`), version 1 in two files.
    """
    try:
        quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
        return -(-int(quota) // int(period))
    except (OSError, ValueError, ZeroDivisionError):
        pass
    old, old_period = number(group / "cpu.cfs_quota_us"), number(group / "cpu.cfs_period_us")
    return -(-old // old_period) if old and old > 0 and old_period else None
