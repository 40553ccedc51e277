"""`python -m seedbed` is the command line."""

import sys

from seedbed.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
