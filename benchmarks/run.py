"""Everything that RESULTS.md reports, one script after another, each in a process of its own. Takes about 15 minutes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SCRIPTS = (
    ("time_to_quality.py",),
    ("throughput.py", "--curve"),
    ("status.py",),
    ("tui.py",),
    ("tokenising.py",),
    ("loader.py",),
    ("checkpoint_stall.py",),
    ("memory.py",),
    ("redaction.py",),
)


def main() -> int:
    """Run each; the exit status is that of the worst."""
    worst = 0
    for script, *options in SCRIPTS:
        print(f"== {script} {' '.join(options)}".rstrip(), flush=True)
        worst = max(worst, subprocess.run([sys.executable, str(HERE / script), *options], check=False).returncode)
        print(flush=True)
    return worst


if __name__ == "__main__":
    sys.exit(main())
