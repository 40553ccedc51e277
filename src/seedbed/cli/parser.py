"""The argument parser: commands and shared options. It imports only the module of the command that is used."""

from __future__ import annotations

import argparse
import importlib
import re
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any, NoReturn

from seedbed import __version__
from seedbed.cli.commands import COMMANDS
from seedbed.cli.streams import terminal_columns
from seedbed.errors import EXIT_USAGE

_EXAMPLES = """\
examples:
  seedbed train                                    a small model on built-in stories; minutes on a laptop
  seedbed generate --prompt "Once upon a time"     generate text with the newest model
  seedbed train --preset tiny --data text:~/novels --epochs 3
  seedbed COMMAND --help                           options and examples of a command

RUN is a run's id, a unique prefix of the id, its name, its path, or `latest`. Without RUN: the latest suitable run.
Runs are stored in ./runs, or in the folder given by --runs or SEEDBED_RUNS.
"""


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Formats help texts: keeps line breaks of descriptions and examples, and allows 30 characters for an option."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=terminal_columns() - 2)


class Parser(argparse.ArgumentParser):
    """An argument parser without abbreviated options, whose errors exit with status 2 and one hint."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("formatter_class", HelpFormatter)
        super().__init__(allow_abbrev=False, **options)
        self._negative_number_matcher = re.compile(r"-\.?\d")  # `--for -3m`: a value, not an option
        self.synonyms: dict[str, str] = {}
        """Option of another program -> the option or command of Seedbed to use instead, for error messages."""

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse a value that is not one of the choices, and name the choice that was probably meant."""
        if action.choices is None or value in action.choices:
            return
        from seedbed.cli.hints import near

        names = [str(choice) for choice in action.choices]
        close = near(str(value), names)
        meant = f"; did you mean {' or '.join(close)}?" if close else "."
        raise argparse.ArgumentError(action, f'"{value}" is not one of {", ".join(names)}{meant}')

    def _print_message(self, message: str, file: Any = None) -> None:
        """Write the help text. Unlike in argparse, a full or closed output is an error, as in every command."""
        if message and file is sys.stdout:
            sys.stdout.write(message)
        else:
            super()._print_message(message, file)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Parse as argparse does, but accept the positional `words` also between and after the options."""
        found, strange = super().parse_known_args(args, namespace)
        if hasattr(found, "words"):
            found.words = [*found.words, *(word for word in strange if not word.startswith("-"))]
            strange = [word for word in strange if word.startswith("-")]
        return found, strange

    def error(self, message: str) -> NoReturn:
        """Print the error and exit with status 2."""
        from seedbed.cli.console import print_error
        from seedbed.errors import UsageError
        from seedbed.text import printable

        print_error(UsageError(f"{self.prog}: {printable(message)}", f"`{self.prog} --help` lists the options."))
        self.exit(EXIT_USAGE)


def build(words: Sequence[str] | None = None) -> Parser:
    """Make the parser with all commands, or, given the `words` of a command line, only with the command that they name.

    If `words` name no command, the parser has all commands, but without their options.
    """
    parser = Parser(
        prog="seedbed",
        description="Train language models on your own machine.",
        epilog=_EXAMPLES,
        usage="seedbed COMMAND [options]",
    )
    parser.add_argument("--version", action="version", version=f"seedbed {__version__}")
    commands = parser.add_subparsers(
        metavar="COMMAND", dest="command", title="commands", parser_class=Parser, prog="seedbed"
    )
    named = None if words is None else next((word for word in words if not word.startswith("-")), "")
    for name, (module, summary) in COMMANDS.items():
        full = named is None or name == named
        if named in COMMANDS and not full:
            continue  # this parser is used for one command only
        loaded = load(module) if full else None
        command = commands.add_parser(
            name,
            help=summary,
            description=(loaded.__dict__.get("DESCRIPTION") or summary.capitalize() + ".") if loaded else None,
            epilog="examples:\n" + loaded.EXAMPLES if loaded else None,
        )
        if loaded:
            loaded.options(command)
            command.synonyms = loaded.__dict__.get("SYNONYMS", {})
            command.set_defaults(run=loaded.run)
    return parser


def load(module: str) -> ModuleType:
    """Import the module of a command.

    It has EXAMPLES, options(parser), and run(arguments), which returns the exit status.
    """
    return importlib.import_module(f"seedbed.cli.{module}")


def run_option(parser: argparse.ArgumentParser, help_text: str) -> None:
    """Add the argument RUN, which may be omitted, to the parser."""
    action = parser.add_argument("ref", metavar="RUN", nargs="?", help=help_text)
    action.completer = complete_run  # type: ignore[attr-defined]


def request_options(parser: argparse.ArgumentParser, until: str) -> None:
    """Add the arguments of a command that sends a request to a running job: RUN, --wait, --runs and --json.

    `until` says what --wait waits for, such as `is paused`.
    """
    run_option(parser, "which run (default: the newest that is running)")
    parser.add_argument("--wait", action="store_true", help=f"return when the run {until}")
    runs_option(parser)
    json_option(parser, "the run's status afterwards")


def many_runs_option(parser: argparse.ArgumentParser, help_text: str) -> None:
    """Add the argument RUN, given once or more, to the parser."""
    action = parser.add_argument("refs", metavar="RUN", nargs="+", help=help_text)
    action.completer = complete_run  # type: ignore[attr-defined]


def turn_options(parser: argparse.ArgumentParser) -> None:
    """Add the options --queue and --after to the parser. They say what a run waits for before it starts."""
    parser.add_argument(
        "--queue",
        action="store_true",
        help="wait in the background until the device is free; runs start one after the other",
    )
    after = parser.add_argument("--after", metavar="RUN", help="wait in the background until that run has ended")
    after.completer = complete_run  # type: ignore[attr-defined]


def runs_option(parser: argparse.ArgumentParser) -> None:
    """Add the option --runs, the folder of the runs, to the parser."""
    parser.add_argument("--runs", metavar="DIR", help="folder of the runs (default: SEEDBED_RUNS or ./runs)")


def json_option(parser: argparse._ActionsContainer, what: str) -> None:
    """Add the option --json, which prints `what` for scripts, to the parser."""
    parser.add_argument("--json", action="store_true", help=f"print {what} as JSON")


def complete_run(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """`latest` and the names and ids of runs that begin with `prefix`, for shell completion."""
    from seedbed.cli.store_option import store

    words = ["latest"]
    for run in store(getattr(parsed_args, "runs", None)).all():
        words += [run.name(), run.id]
    return [word for word in words if word.startswith(prefix)]
