"""`seedbed archive`: put runs out of sight."""

from __future__ import annotations

import argparse

from seedbed.cli.parser import many_runs_option, runs_option

DESCRIPTION = """\
Archive runs: `seedbed runs` does not list them, and `latest` never means one. Nothing is moved or removed, and every
command still finds them by name or id. `seedbed unarchive` lists them again.
"""
EXAMPLES = """\
  seedbed archive first-try second-try
  seedbed runs --archived              those that are archived
"""


def options(parser: argparse.ArgumentParser) -> None:
    """The options of `archive`."""
    many_runs_option(parser, "which runs")
    runs_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Archive them."""
    return put(arguments, archived=True)


def put(arguments: argparse.Namespace, *, archived: bool) -> int:
    """Find all runs before any is changed, then put them out of sight or back, and say so."""
    from seedbed import actions
    from seedbed.cli.console import say
    from seedbed.cli.store_option import find_all
    from seedbed.text import printable

    for found in find_all(actions.store(arguments.runs), arguments.refs):
        actions.set_archived(found, archived)
        say(f'"{printable(found.name())}" is {"archived" if archived else "listed again"} ({printable(found.id)}).')
    return 0
