"""`seedbed unarchive`: list archived runs again."""

from __future__ import annotations

import argparse

from seedbed.cli.archive import set_archived
from seedbed.cli.parser import many_runs_option, runs_option

DESCRIPTION = (
    "Unarchive runs, so that `seedbed runs` lists them again. `seedbed runs --archived` lists the archived runs."
)
EXAMPLES = """\
  seedbed unarchive first-try
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `unarchive` to the parser."""
    many_runs_option(parser, "the runs to unarchive")
    runs_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Unarchive the runs."""
    return set_archived(arguments, archived=False)
