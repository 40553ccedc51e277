"""`python -m seedbed` is the command line."""

import sys

if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # the working directory: a file there, such as queue.py, must not stand in for a module
    from seedbed.cli.main import main

    sys.exit(main())
