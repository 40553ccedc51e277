"""`seedbed tui`: manage runs in a full-screen terminal."""

from __future__ import annotations

import argparse
import gc
import sys

from seedbed.cli.parser import runs_option

DESCRIPTION = """\
Start, watch, stop, resume, rename, compare and delete runs, and generate text with their models, in a full-screen
terminal. Closing or killing the window does not affect a run. `?` shows all keys, q closes the window.
"""
EXAMPLES = """\
  seedbed tui
  seedbed tui --runs ~/models    runs in another folder
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `tui` to the parser."""
    runs_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Show the window until it is closed; returns the exit status."""
    from seedbed.cli.store_option import store
    from seedbed.config.environment import env
    from seedbed.errors import SeedbedError, UsageError

    if env("TERM") == "dumb":
        raise UsageError("This terminal (TERM=dumb) cannot show a window.", "`seedbed runs` lists the runs.")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "`seedbed tui` needs a terminal.", "In scripts, use `seedbed runs --json` and `seedbed status --json`."
        )
    runs_store = store(arguments.runs)
    runs_store.refuse_file()
    gc.disable()  # garbage collection takes a tenth of the start-up time; tui/app.py enables it again
    try:
        from seedbed.tui import app
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "textual":
            raise
        raise SeedbedError(
            "`seedbed tui` needs the package textual.", "Install it with: pip install 'seedbed[tui]'"
        ) from error
    return app.run(runs_store)
