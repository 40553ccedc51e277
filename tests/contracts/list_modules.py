"""Runs one command line and prints every module that it has loaded, as the last line of stderr."""

from __future__ import annotations

import sys

from seedbed.cli.main import main

if __name__ == "__main__":
    status = main()
    print(*sorted(sys.modules), file=sys.stderr)
    sys.exit(status)
