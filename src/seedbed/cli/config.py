"""`seedbed config`: explain the keys of a config, show a config with the origin of each value, or check it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from seedbed.cli.argument_types import file_path
from seedbed.cli.parser import json_option, runs_option
from seedbed.cli.train import config_options, resolved

if TYPE_CHECKING:
    from seedbed.config.resolving import Resolved
    from seedbed.config.roots import Root
    from seedbed.config.schema import Config, Table
    from seedbed.runs.store import Store

DESCRIPTION = """\
`keys` explains every key of a config: its meaning, its allowed values and its default.
`show` prints the config that `seedbed train` would use with the same options, each value with its origin: preset, file,
--set or option. `check` prints errors and warnings about that config, and the memory, disk and time that training would
need.
"""
EXAMPLES = """\
  seedbed config keys                           every key with its meaning
  seedbed config keys optimizer                 the keys of a table
  seedbed config keys lr                        the keys that begin with "lr"
  seedbed config show                           the default: preset nano
  seedbed config show my.toml --set optimizer.lr=2e-5
  seedbed config show --like latest             the config of an earlier run
  seedbed config check my.toml --lr 2e-5
  seedbed config check my.toml                  exit status 2 if the config cannot work
"""

_CHOSEN_LATER = "The size of the model is chosen when the run starts, from the speed of this machine and the text."


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `config` to the parser."""
    from seedbed.cli.train import SYNONYMS

    verbs = parser.add_subparsers(metavar="VERB", dest="verb", required=True, title="verbs")
    explains = verbs.add_parser(
        "keys",
        help="explain every key",
        description="Explain every key of a config: its meaning, its allowed values and its default in the preset.",
        epilog="examples:\n" + _examples("keys"),
    )
    begins = explains.add_argument(
        "prefix", metavar="PREFIX", nargs="?", help="only keys whose path or name begins with this"
    )
    begins.completer = complete_key  # type: ignore[attr-defined]
    kind_option(explains)
    explains.add_argument("--preset", metavar="NAME", help="show the defaults of this preset (default: nano)")
    json_option(explains, "an object by key")
    for verb, summary in (("show", "print every value and its origin"), ("check", "print errors and warnings")):
        each = verbs.add_parser(
            verb,
            help=summary,
            description=summary.capitalize() + ".",
            epilog="examples:\n" + _examples(verb),
        )
        each.synonyms = SYNONYMS  # type: ignore[attr-defined]
        each.add_argument(
            "file",
            metavar="FILE",
            nargs="?",
            type=file_path,
            help="a config file (TOML); its values replace the preset's",
        )
        kind_option(each)
        config_options(each)
        runs_option(each)
        json_option(each, "values and origins" if verb == "show" else "the findings")


def kind_option(parser: argparse.ArgumentParser) -> None:
    """Add the option --kind, which selects the kind of config, to the parser."""
    from seedbed.config.roots import ROOTS, TRAIN

    parser.add_argument(
        "--kind", choices=list(ROOTS), default=TRAIN.name, help="the kind of config (default: %(default)s)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the chosen subcommand of `seedbed config`."""
    from seedbed import actions
    from seedbed.config.roots import ROOTS, TRAIN

    root = ROOTS[arguments.kind]
    if arguments.verb == "keys":
        return explain(arguments.prefix or "", arguments.preset, root, arguments.json)
    if arguments.verb == "show":
        return show(resolved(arguments, arguments.file, root), arguments.json)
    if root.name != TRAIN.name:
        resolved(arguments, arguments.file, root)
        return report([], {}, arguments.json)
    return check_config(resolved(arguments, arguments.file, TRAIN), actions.store(arguments.runs), arguments.json)


def _examples(verb: str) -> str:
    return "".join(f"{line}\n" for line in EXAMPLES.splitlines() if f"config {verb}" in line)


def complete_key(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """The config keys and tables (such as `train`) that begin with `prefix`, for shell completion."""
    from seedbed.config.keys import keys, tables
    from seedbed.config.roots import ROOTS

    root = ROOTS[parsed_args.kind]
    return [name for name in (*tables(root), *keys(root)) if name.startswith(prefix)]


def explain(prefix: str, preset: str | None, root: Root[Any], as_json: bool) -> int:
    """Print the config keys whose path or name begins with `prefix`: default, help and allowed values.

    Raises UsageError if there is no such key.
    """
    import textwrap

    from seedbed.cli.console import paint, say, say_json, width
    from seedbed.config.keys import keys, tables, value_of
    from seedbed.config.resolving import defaults
    from seedbed.config.spelling import any_of, did_you_mean
    from seedbed.config.unknown_keys import nearest_keys, other_owners
    from seedbed.config.values import toml_value
    from seedbed.errors import UsageError

    found = [key for key in keys(root).values() if key.path.startswith(prefix) or key.name.startswith(prefix)]
    if not found:
        owners = other_owners(prefix, root)
        suggestion = f'"{prefix}" belongs to {any_of(owners)}. ' if owners else did_you_mean(nearest_keys(prefix, root))
        raise UsageError(
            f'No key of {root.title} begins with "{prefix}".', f"{suggestion}The tables are {', '.join(tables(root))}."
        )
    start = defaults(root, preset)
    values = {key.path: value_of(start, key.path) for key in found}
    if as_json:
        say_json(
            {
                key.path: {"expected": key.expected, "default": values[key.path], "choices": list(key.choices)}
                | {"help": key.help}
                for key in found
            }
        )
        return 0
    for number, key in enumerate(found):
        value = values[key.path]
        default = "not set" if value is None else toml_value(value)
        default += f" ({key.if_unset})" if value is None and key.if_unset else ""
        if number:
            say()
        say(f"{paint(key.path, 'bold')} = {default}")
        for line in textwrap.wrap(f"{key.help} ({key.expected[0].upper()}{key.expected[1:]}.)", width() - 2):
            say("  " + line)
    return 0


def show(wanted: Resolved[Table], as_json: bool) -> int:
    """Print every value of a config with its origin, that is, where the value was set."""
    import msgspec

    from seedbed.cli.console import say, say_json
    from seedbed.config.frozen import dump

    if as_json:
        say_json({"config": msgspec.to_builtins(wanted.config), "origins": wanted.origins})
    else:
        say(dump(wanted.config, wanted.origins).rstrip("\n"))
    return 0


def check_config(wanted: Resolved[Config], store: Store, as_json: bool) -> int:
    """Print what is wrong with a config and what training would need. Returns 2 if training cannot work, else 0."""
    from seedbed import actions
    from seedbed.errors import SeedbedError

    findings = [finding._asdict() for finding in actions.examine(wanted.config, store)]
    try:
        actions.refuse_unusable_data(wanted.config, store)
    except SeedbedError as error:
        findings.append({"level": "error", "code": "data", "text": error.message, "why": "", "hint": error.hint})
    needs = estimate(wanted) | {f"estimated_{name}": value for name, value in _estimated(wanted, store).items()}
    return report(findings, needs, as_json)


def report(findings: list[dict[str, Any]], needs: dict[str, Any], as_json: bool) -> int:
    """Print what is wrong with a config (`findings`) and what training would need. Returns 2 for an error, else 0.

    `needs` is empty for a kind of config without estimates.
    """
    from seedbed.cli.console import say, say_json
    from seedbed.errors import EXIT_USAGE

    bad = any(finding["level"] == "error" for finding in findings)
    if as_json:
        say_json({"ok": not bad, "findings": findings, **needs})
        return EXIT_USAGE if bad else 0
    for line in describe(findings, needs):
        say(line)
    return EXIT_USAGE if bad else 0


def estimate(wanted: Resolved[Config]) -> dict[str, Any]:
    """The number of parameters and the peak training memory for a config, by name.

    They are computed for the largest vocabulary that the tokenizer can have.
    """
    from seedbed.actions.precision import training_precision
    from seedbed.config.arithmetic import count_parameters, memory_estimate

    config = wanted.config
    precision = training_precision(config.train)
    rows = config.tokenizer.vocab_size
    return {
        "parameters": count_parameters(config.model, rows),
        "memory_bytes": memory_estimate(config, rows, precision).total,
        "precision": precision,
        "precision_chosen": config.train.precision == "auto",
        "micro_batch": config.train.micro_batch,
        "vocab_size": rows,
        "size": config.train.size,
    }


def _estimated(wanted: Resolved[Config], store: Store) -> dict[str, Any]:
    from seedbed.runs.estimate import estimate as estimate_run

    return estimate_run(wanted.config, store)._asdict()


def describe(findings: list[dict[str, Any]], needs: dict[str, Any]) -> list[str]:
    """The result of `config check` as lines: what is wrong (`findings`), and how much memory, disk and time training takes."""
    from seedbed import text
    from seedbed.cli.console import paint
    from seedbed.presentation.wording import time_taken

    lines = []
    for finding in findings:
        word = paint(finding["level"] + ":", "bold red" if finding["level"] == "error" else "bold yellow")
        lines.append(f"{word} " + text.printable(f"{finding['text']} {finding['why']}".strip()))
        if finding["hint"]:
            lines.append("  " + text.printable(finding["hint"]))
    if not findings:
        lines.append("Nothing is wrong with this config.")
    if not needs:
        return lines
    if needs["size"] == "auto":
        taken = time_taken(needs["estimated_seconds"], None, needs["estimated_basis"])
        return [*lines, _CHOSEN_LATER, f"Estimated time: {taken}."]
    model = f"{text.count(needs['parameters'])} parameters (vocabulary {needs['vocab_size']})"
    memory = f"{text.size(needs['memory_bytes'])} of memory in {needs['precision']}"
    if needs["precision_chosen"]:
        memory += " (which `train` chooses on this machine)"
    if needs["micro_batch"]:
        memory += f", {text.plural(needs['micro_batch'], 'sequence')} at a time"
    lines.append(f"The model has {model}; training it takes about {memory}.")
    disk = f"Its checkpoints take up to {text.size(needs['estimated_disk_bytes'])} of disk"
    if needs["estimated_tokens"] is not None:
        tokens = f"{text.count(needs['estimated_tokens'])} tokens in {text.plural(needs['estimated_steps'], 'step')}"
        lines.append(f"It trains on {tokens}. {disk}.")
    else:
        lines.append(f"{disk}. The number of training tokens is known once the data has been prepared.")
    if needs["estimated_seconds"] is not None or needs["estimated_tokens"] is not None:
        taken = time_taken(needs["estimated_seconds"], needs["estimated_tokens"], needs["estimated_basis"])
        lines.append(f"Estimated time: {taken}.")
    return lines
