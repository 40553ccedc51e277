"""Runs the command line for `python -m seedbed`."""

import sys

if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # the working directory: a file there, such as queue.py, must not be imported by mistake
    from seedbed.cli.main import main

    sys.exit(main())
