"""`seedbed tui`: watch and steer runs from one full-screen terminal."""

from __future__ import annotations

import argparse
import gc
import sys

from seedbed.cli.parser import runs_option

DESCRIPTION = """\
Watch, start, stop, resume, rename, compare and delete runs, and let their models write, all from one terminal.
It only looks and asks: closing it, or killing it, changes nothing about a run. `?` shows every key, q leaves.
"""
EXAMPLES = """\
  seedbed tui
  seedbed tui --runs ~/models    runs that live elsewhere
"""


def options(parser: argparse.ArgumentParser) -> None:
    """The options of `tui`."""
    runs_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Open the window."""
    from seedbed.cli.store_option import store
    from seedbed.config.environment import env
    from seedbed.errors import SeedbedError, UsageError

    if env("TERM") == "dumb":
        raise UsageError("This terminal (TERM=dumb) cannot show a window.", "`seedbed runs` lists the runs.")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "`seedbed tui` needs a terminal.", "`seedbed runs` and `seedbed status --json` are for scripts."
        )
    place = store(arguments.runs)
    place.refuse_file()
    gc.disable()  # what is loaded now stays: to look for garbage in it again and again takes a tenth of the time
    try:
        from seedbed.tui import app
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "textual":
            raise
        raise SeedbedError("`seedbed tui` needs the package textual.", "pip install 'seedbed[tui]'") from error
    return app.run(place)
