"""Runs one command line and prints, last on stderr, every module that it has loaded."""

from __future__ import annotations

import sys

from seedbed.cli.main import main

if __name__ == "__main__":
    status = main()
    print(*sorted(sys.modules), file=sys.stderr)
    sys.exit(status)
