"""The command line is stable: a golden file lists every command, option and default, and changes only on purpose.

To change it: UPDATE_GOLDEN=1 pytest tests/contracts/test_cli_surface.py, and add a line to CHANGELOG.md.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

from seedbed.cli.parser import build

GOLDEN = Path(__file__).parent / "golden" / "cli_surface.txt"


def surface(parser: argparse.ArgumentParser) -> Iterator[str]:
    """A line for each command and each of its arguments."""
    yield parser.prog
    nested: list[argparse.ArgumentParser] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            nested = list(action.choices.values())
        elif "--help" not in action.option_strings:
            name = " ".join(action.option_strings) or str(action.metavar or action.dest)
            takes = (
                "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}" * bool(action.option_strings)
            )
            many = f" nargs={action.nargs}" if action.nargs not in (None, 0) else ""
            choices = f" {{{','.join(map(str, action.choices))}}}" if action.choices else ""
            default = "" if action.default in (None, False, [], argparse.SUPPRESS) else f" = {action.default}"
            yield f"  {name}{takes}{many}{choices}{default}"
    for each in nested:
        yield from surface(each)


def test_the_command_line_equals_the_golden_file() -> None:
    found = "\n".join(surface(build())) + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(found)
    assert found == GOLDEN.read_text()


def test_every_option_has_help() -> None:
    def check(parser: argparse.ArgumentParser) -> None:
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for each in action.choices.values():
                    check(each)
            else:
                assert action.help, f"{parser.prog} {action.dest}"

    check(build())


def test_every_default_is_a_value_that_its_option_takes() -> None:
    """argparse passes a default that is a text to the type of the option: `data peek` without --kind was refused."""

    def check(parser: argparse.ArgumentParser) -> None:
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for each in action.choices.values():
                    check(each)
            elif isinstance(action.default, str) and action.default != argparse.SUPPRESS:
                parser._get_value(action, action.default)

    check(build())
