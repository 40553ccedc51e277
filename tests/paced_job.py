"""A real job that can be made to wait at a step: see pacing.py."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import pacing  # in the folder of this file, which is not always on Python's search path
from seedbed.jobs.__main__ import main

if __name__ == "__main__":
    pacing.install()
    sys.exit(main())
