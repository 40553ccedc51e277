"""The benchmark of near duplicates runs, and finds its planted pairs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import patience

SCRIPT = Path(__file__).resolve().parents[3] / "benchmarks" / "near_duplicates.py"


def test_the_benchmark_finds_its_planted_pairs() -> None:
    command = [sys.executable, str(SCRIPT), "--pieces", "300", "--repeat", "1", "--workers", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=patience.HANG_S)
    recalls = [float(number) for number in re.findall(r"'J>=\.8': ([0-9.]+)", done.stdout)]
    assert recalls
    assert min(recalls) >= 0.99
    assert re.search(r"rensa, 1 processes: [0-9.]+ s", done.stdout)
