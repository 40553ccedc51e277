"""`seedbed note`: write, change or print a note on a run."""

from __future__ import annotations

import argparse

from seedbed.cli.parser import complete_run, json_option, runs_option

DESCRIPTION = """\
Write a note on a run, such as its purpose or its result; without TEXT, print the note. A new note replaces the old one.
`seedbed status` shows it. Up to 2,000 characters; `-` reads the note from stdin.
"""
EXAMPLES = """\
  seedbed note quickstart "a larger batch, to see whether the loss gets smoother"
  seedbed note quickstart              print it
  seedbed note quickstart --remove     remove it
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `note` to the parser."""
    action = parser.add_argument("ref", metavar="RUN", help="which run")
    action.completer = complete_run  # type: ignore[attr-defined]
    parser.add_argument("text", metavar="TEXT", nargs="?", help="the note; - reads stdin")
    parser.add_argument("--remove", action="store_true", help="remove the note")
    runs_option(parser)
    json_option(parser, "id, name, tags and note")


def run(arguments: argparse.Namespace) -> int:
    """Set, remove or print the note on a run."""
    from seedbed import actions
    from seedbed.cli.console import note as print_note
    from seedbed.cli.console import say, say_json
    from seedbed.errors import UsageError
    from seedbed.runs.labels import read_labels
    from seedbed.text import printable

    if arguments.remove and arguments.text is not None:
        raise UsageError(
            "Both a note and --remove are given.", "Give only one of the two; a new note replaces the old one."
        )
    found = actions.store(arguments.runs).find(arguments.ref)
    changes = arguments.remove or arguments.text is not None
    labels = (
        actions.set_note(found, "" if arguments.remove else _text(arguments.text)) if changes else read_labels(found)
    )
    if arguments.json:
        say_json({"id": found.id, **labels._asdict(), "tags": list(labels.tags)})
    elif labels.note:
        say(printable(labels.note, newlines=True))
    elif changes:
        say(f'The note on "{printable(found.name())}" is removed ({printable(found.id)}).')
    else:
        print_note(f'"{printable(found.name())}" has no note ({printable(found.id)}).')
    return 0


def _text(word: str) -> str:
    """The note from the command line, or from stdin if `word` is `-`. Raises UsageError if it is empty or not UTF-8."""
    import sys

    from seedbed.errors import UsageError
    from seedbed.runs.labels import LONGEST_NOTE

    if word != "-":
        if not word.strip():
            raise UsageError("The note is empty.", "Write a text, or remove the note with --remove.")
        return word
    try:
        text = sys.stdin.buffer.read(5 * LONGEST_NOTE).decode() if sys.stdin is not None else ""
    except UnicodeDecodeError as error:
        raise UsageError(
            f"The note on stdin is not UTF-8 text (byte {error.start}).", "Convert the text to UTF-8."
        ) from error
    if not text.strip():
        raise UsageError("There is no text on stdin.", "Write the note after RUN, or pipe it to this command.")
    return text
