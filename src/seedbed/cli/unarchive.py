"""`seedbed unarchive`: put archived runs back in sight."""

from __future__ import annotations

import argparse

from seedbed.cli.archive import put
from seedbed.cli.parser import many_runs_option, runs_option

DESCRIPTION = (
    "Take runs out of the archive, so that `seedbed runs` lists them. `seedbed runs --archived` shows those in it."
)
EXAMPLES = """\
  seedbed unarchive first-try
"""


def options(parser: argparse.ArgumentParser) -> None:
    """The options of `unarchive`."""
    many_runs_option(parser, "which runs")
    runs_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Put them back."""
    return put(arguments, archived=False)
