"""`seedbed delete`: delete runs and everything they saved."""

from __future__ import annotations

import argparse

from seedbed.cli.parser import many_runs_option, runs_option

DESCRIPTION = """\
Delete runs permanently, with their checkpoints and logs. The command lists the runs and asks for confirmation first.
A run with a live job cannot be deleted.
"""
EXAMPLES = """\
  seedbed delete first-try second-try
  seedbed delete first-try --yes        do not ask, for scripts
"""
SYNONYMS = {
    "--f": "--yes",
    "--force": "--yes",
    "--y": "--yes",
}
"""Option of another program -> the equivalent in Seedbed."""


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `delete` to the parser."""
    many_runs_option(parser, "the runs to delete")
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    runs_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Find all runs, list them, ask for confirmation, and delete them."""
    from seedbed import actions, text
    from seedbed.cli.console import can_ask, confirm, note, say, table
    from seedbed.cli.store_option import find_all
    from seedbed.errors import EXIT_FAILURE, UsageError
    from seedbed.runs.retention import refuse_living, usage

    found = find_all(actions.store(arguments.runs), arguments.refs)
    statuses = [refuse_living(each).status for each in found]
    if not arguments.yes and not can_ask():
        raise UsageError(
            "Nothing was deleted: asking for confirmation needs a terminal.", "Add --yes to delete without asking."
        )
    sizes = [usage(each).total_bytes for each in found]
    if not arguments.yes:
        rows = [
            [text.printable(each.id), text.shorten(text.printable(each.name()), 28), status, text.size(size)]
            for each, status, size in zip(found, statuses, sizes, strict=True)
        ]
        for line in table(rows, ["ID", "NAME", "STATUS", "SIZE"], right=["SIZE"]):
            note(line)
        what = "this run" if len(found) == 1 else f"these {len(found)} runs"
        if not confirm(f"Delete {what} permanently ({text.size(sum(sizes))})?"):
            note("Nothing was deleted.")
            return EXIT_FAILURE
    for each in found:
        freed = actions.delete(each)
        say(f"Deleted {text.printable(each.id)} ({text.size(freed)}).")
    return 0
