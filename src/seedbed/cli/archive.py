"""`seedbed archive`: hide runs from the list."""

from __future__ import annotations

import argparse

from seedbed.cli.parser import many_runs_option, runs_option

DESCRIPTION = """\
Archive runs: `seedbed runs` does not list archived runs, and `latest` never selects one. No file is moved or deleted,
and every command still finds archived runs by name or id. `seedbed unarchive` undoes this.
"""
EXAMPLES = """\
  seedbed archive first-try second-try
  seedbed runs --archived              list the archived runs
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `archive` to the parser."""
    many_runs_option(parser, "the runs to archive")
    runs_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Archive the runs."""
    return set_archived(arguments, archived=True)


def set_archived(arguments: argparse.Namespace, *, archived: bool) -> int:
    """Archive or unarchive the runs that the command line names. All runs are found before any is changed."""
    from seedbed import actions
    from seedbed.cli.console import say
    from seedbed.cli.store_option import find_all
    from seedbed.text import printable

    for found in find_all(actions.store(arguments.runs), arguments.refs):
        actions.set_archived(found, archived)
        say(f'"{printable(found.name())}" is {"archived" if archived else "listed again"} ({printable(found.id)}).')
    return 0
