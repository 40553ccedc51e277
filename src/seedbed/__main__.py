"""`python -m seedbed` is the command line."""

import os
import sys

if __name__ == "__main__":
    if sys.path[0] in ("", os.getcwd()):
        del sys.path[0]  # a file of the working directory, such as queue.py, must not stand in for a module
    from seedbed.cli.main import main

    sys.exit(main())
