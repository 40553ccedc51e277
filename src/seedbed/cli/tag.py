"""`seedbed tag`: add, remove or print a run's tags."""

from __future__ import annotations

import argparse

from seedbed.cli.parser import complete_run, json_option, runs_option

DESCRIPTION = """\
Add tags to a run, remove tags, or print its tags, one per line. `seedbed runs --tag TAG` lists the runs with a tag.
A tag is one word of letters, digits, _ . and -, up to 32 characters; capitals become lower case.
"""
EXAMPLES = """\
  seedbed tag quickstart keep baseline     add two tags
  seedbed tag quickstart --remove baseline
  seedbed tag quickstart                   print the tags
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `tag` to the parser."""
    action = parser.add_argument("ref", metavar="RUN", help="which run")
    action.completer = complete_run  # type: ignore[attr-defined]
    parser.add_argument("tags", metavar="TAG", nargs="*", help="a tag to add")
    parser.add_argument("--remove", metavar="TAG", action="append", default=[], help="a tag to remove; may be repeated")
    runs_option(parser)
    json_option(parser, "id, name and tags")


def run(arguments: argparse.Namespace) -> int:
    """Change the tags of a run, if that is requested, and print its tags."""
    from seedbed import actions
    from seedbed.cli.console import note, say, say_json
    from seedbed.runs.labels import checked_tag, read_labels
    from seedbed.text import listed, printable, quoted

    found = actions.store(arguments.runs).find(arguments.ref)
    removed = [checked_tag(tag) for tag in arguments.remove]
    before = labels = read_labels(found)
    if arguments.tags or removed:
        labels = actions.change_tags(found, arguments.tags, removed)
    missing = [tag for tag in removed if tag not in before.tags]
    if missing:
        note(f"{printable(found.id)} has no tag {listed([quoted(tag) for tag in missing])}.")
    if arguments.json:
        say_json({"id": found.id, "name": labels.name, "tags": list(labels.tags), "archived": labels.archived})
    else:
        for tag in labels.tags:
            say(tag)
    return 0
