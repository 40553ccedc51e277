"""`seedbed rename`: rename a run."""

from __future__ import annotations

import argparse

from seedbed.cli.parser import complete_run, json_option, runs_option

DESCRIPTION = "Rename a run. Its id and its folder stay the same."
EXAMPLES = """\
  seedbed rename latest "first novel"
  seedbed rename 20261121 baseline
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `rename` to the parser."""
    action = parser.add_argument("ref", metavar="RUN", help="which run")
    action.completer = complete_run  # type: ignore[attr-defined]
    parser.add_argument("name", metavar="NAME", help="its new name (letters, digits, space, _ . -; up to 64)")
    runs_option(parser)
    json_option(parser, "id, name and tags")


def run(arguments: argparse.Namespace) -> int:
    """Rename the run."""
    from seedbed import actions
    from seedbed.cli.console import say, say_json
    from seedbed.text import printable

    store = actions.store(arguments.runs)
    found = store.find(arguments.ref)
    before = found.name()
    labels = actions.rename(found, arguments.name, store)
    if arguments.json:
        say_json({"id": found.id, "name": labels.name, "tags": list(labels.tags), "archived": labels.archived})
    else:
        say(f'"{printable(before)}" is renamed to "{labels.name}" ({printable(found.id)}).')
    return 0
