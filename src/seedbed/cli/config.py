"""`seedbed config`: show a config with where each value came from, or check one before it is used."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seedbed.cli.parser import json_option, runs_option
from seedbed.cli.train import config_options, resolved

if TYPE_CHECKING:
    from seedbed.config.load import Resolved
    from seedbed.runs.store import Store

DESCRIPTION = """\
`show` prints the config that the options of `seedbed train` make up, each value with its origin: preset, file, --set or
flag. `check` says what is wrong or doubtful about it, and what it would need, before any work.
"""
EXAMPLES = """\
  seedbed config show                           the default: preset nano
  seedbed config show my.toml --set optimizer.lr=2e-5
  seedbed config show --like latest             what an earlier run used
  seedbed config check my.toml                  exit status 2 if it cannot work
"""


def options(parser: argparse.ArgumentParser) -> None:
    """The options of `config`."""
    verbs = parser.add_subparsers(metavar="VERB", dest="verb", required=True, title="verbs")
    for verb, summary in (("show", "print every value and its origin"), ("check", "say what is wrong or doubtful")):
        each = verbs.add_parser(
            verb,
            help=summary,
            description=summary.capitalize() + ".",
            epilog="examples:\n" + "".join(f"{line}\n" for line in EXAMPLES.splitlines() if f"config {verb}" in line),
        )
        each.add_argument(
            "file", metavar="FILE", nargs="?", type=Path, help="a config file (TOML) laid over the preset"
        )
        config_options(each)
        runs_option(each)
        json_option(each, "values and origins" if verb == "show" else "the findings")


def run(arguments: argparse.Namespace) -> int:
    """Show or check."""
    from seedbed import actions

    wanted = resolved(arguments, arguments.file)
    if arguments.verb == "show":
        return show(wanted, arguments.json)
    return check_config(wanted, actions.store(arguments.runs), arguments.json)


def show(wanted: Resolved, as_json: bool) -> int:
    """Print every value with its origin."""
    import msgspec

    from seedbed.cli.console import say, say_json
    from seedbed.config.load import dump

    if as_json:
        say_json({"config": msgspec.to_builtins(wanted.config), "origins": wanted.origins})
    else:
        say(dump(wanted.config, wanted.origins).rstrip("\n"))
    return 0


def check_config(wanted: Resolved, place: Store, as_json: bool) -> int:
    """Print the findings and what the config would need; returns 2 where it cannot work."""
    from seedbed import actions
    from seedbed.cli.console import say, say_json
    from seedbed.errors import EXIT_USAGE, SeedbedError

    findings = [finding._asdict() for finding in actions.examine(wanted.config, place)]
    try:
        actions.refuse_unusable_data(wanted.config)
    except SeedbedError as error:
        findings.append({"level": "error", "code": "data", "text": error.message, "why": "", "hint": error.hint})
    bad = any(finding["level"] == "error" for finding in findings)
    needs = estimate(wanted)
    if as_json:
        say_json({"ok": not bad, "findings": findings, **needs})
        return EXIT_USAGE if bad else 0
    for line in describe(findings, needs):
        say(line)
    return EXIT_USAGE if bad else 0


def estimate(wanted: Resolved) -> dict[str, Any]:
    """Parameters and peak training memory, for the vocabulary that the tokenizer may have at most."""
    from seedbed.config.arithmetic import count_parameters, memory_estimate

    config = wanted.config
    precision = "fp32" if config.train.precision == "auto" else config.train.precision
    rows = config.tokenizer.vocab_size
    return {
        "parameters": count_parameters(config.model, rows),
        "memory_bytes": memory_estimate(config, rows, precision).total,
        "precision": precision,
        "vocab_size": rows,
    }


def describe(findings: list[dict[str, Any]], needs: dict[str, Any]) -> list[str]:
    """Findings and needs for people."""
    from seedbed import text
    from seedbed.cli.console import paint

    lines = []
    for finding in findings:
        word = paint(finding["level"] + ":", "bold red" if finding["level"] == "error" else "bold yellow")
        lines.append(f"{word} " + text.printable(f"{finding['text']} {finding['why']}".strip()))
        if finding["hint"]:
            lines.append("  " + text.printable(finding["hint"]))
    if not findings:
        lines.append("Nothing is wrong with this config.")
    model = f"{text.count(needs['parameters'])} parameters (vocabulary {needs['vocab_size']})"
    memory = f"{text.size(needs['memory_bytes'])} of memory in {needs['precision']}"
    lines.append(f"It makes a model of {model}; training it takes about {memory}.")
    return lines
