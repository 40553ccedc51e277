"""The command line's shape: its commands and options. Loads only the command that is asked for."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any, NoReturn

from seedbed import __version__
from seedbed.cli.commands import COMMANDS
from seedbed.errors import EXIT_USAGE

_EXAMPLES = """\
examples:
  seedbed train                                    a small model on built-in stories; minutes on a laptop
  seedbed generate --prompt "Once upon a time"     let the newest model write
  seedbed train --preset tiny --data text:~/novels --epochs 3
  seedbed COMMAND --help                           options and examples of a command

RUN is a run's id, a unique prefix of it, its name, its path, or `latest`; left out, the latest run that fits.
Runs live in ./runs, or where --runs or SEEDBED_RUNS says.
"""


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Descriptions and examples as they are written; options in one column that fits the longest."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30)


class Parser(argparse.ArgumentParser):
    """argparse with no abbreviations, help that keeps its lines, and errors that end in status 2 with one hint."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("formatter_class", HelpFormatter)
        super().__init__(allow_abbrev=False, **options)
        self.synonyms: dict[str, str] = {}
        """Option of another program -> what stands for it here, for messages."""

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse what is none of an argument's choices, naming the one that was probably meant."""
        if action.choices is None or value in action.choices:
            return
        from seedbed.cli.hints import near

        names = [str(choice) for choice in action.choices]
        close = near(str(value), names)
        meant = f"; did you mean {' or '.join(close)}?" if close else "."
        raise argparse.ArgumentError(action, f'"{value}" is none of {", ".join(names)}{meant}')

    def _print_message(self, message: str, file: Any = None) -> None:
        """Write help so that a full or closed output is an error, as with every command; argparse says nothing."""
        if message and file is sys.stdout:
            sys.stdout.write(message)
        else:
            super()._print_message(message, file)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """As argparse does it, but `words` may also stand between and after the options."""
        found, strange = super().parse_known_args(args, namespace)
        if hasattr(found, "words"):
            found.words = [*found.words, *(word for word in strange if not word.startswith("-"))]
            strange = [word for word in strange if word.startswith("-")]
        return found, strange

    def error(self, message: str) -> NoReturn:
        """Say what is wrong in the words of the command line and leave with status 2."""
        from seedbed.text import printable

        message = printable(message)
        self.exit(EXIT_USAGE, f"error: {self.prog}: {message}\nhint: `{self.prog} --help` lists the options.\n")


def build(words: Sequence[str] | None = None) -> Parser:
    """The parser; with `words`, of the command that they name alone, or where they name none, of all without options."""
    parser = Parser(
        prog="seedbed",
        description="Grow language models on the machine you have.",
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
            continue  # nobody will ask this parser for another command
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
    """The module of a command: EXAMPLES, options(parser), run(arguments) -> exit status."""
    return importlib.import_module(f"seedbed.cli.{module}")


def run_option(parser: argparse.ArgumentParser, help_text: str) -> None:
    """The positional RUN."""
    action = parser.add_argument("ref", metavar="RUN", nargs="?", help=help_text)
    action.completer = complete_run  # type: ignore[attr-defined]


def asking_options(parser: argparse.ArgumentParser, until: str) -> None:
    """What every command takes that asks a running job for something: which run, whether to wait `until` it is done."""
    run_option(parser, "which run (default: the newest that is running)")
    parser.add_argument("--wait", action="store_true", help=f"return when it {until}")
    runs_option(parser)
    json_option(parser, "the run's status afterwards")


def many_runs_option(parser: argparse.ArgumentParser, help_text: str) -> None:
    """The positional RUN, once or more often."""
    action = parser.add_argument("refs", metavar="RUN", nargs="+", help=help_text)
    action.completer = complete_run  # type: ignore[attr-defined]


def turn_options(parser: argparse.ArgumentParser) -> None:
    """The options --queue and --after: what to wait for before the work begins."""
    parser.add_argument(
        "--queue", action="store_true", help="wait until its device is free; in the background, one after the other"
    )
    after = parser.add_argument("--after", metavar="RUN", help="wait, in the background, until that run has ended")
    after.completer = complete_run  # type: ignore[attr-defined]


def runs_option(parser: argparse.ArgumentParser) -> None:
    """The --runs option: where runs live."""
    parser.add_argument("--runs", metavar="DIR", help="where runs live (default: SEEDBED_RUNS or ./runs)")


def json_option(parser: argparse._ActionsContainer, what: str) -> None:
    """The --json option: the same facts for a script."""
    parser.add_argument("--json", action="store_true", help=f"print {what} as JSON")


def complete_run(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """Names and ids of runs, for the shell's completion."""
    from seedbed.cli.store_option import store

    words = ["latest"]
    for run in store(getattr(parsed_args, "runs", None)).all():
        words += [run.name(), run.id]
    return [word for word in words if word.startswith(prefix)]
