"""The command line with fake training jobs: `python fake_seedbed.py train ...`."""

from __future__ import annotations

import sys
from pathlib import Path

from seedbed.actions import launching
from seedbed.cli.main import main

if __name__ == "__main__":
    launching.JOBS = (sys.executable, str(Path(__file__).with_name("fake_job.py")))
    sys.exit(main())
