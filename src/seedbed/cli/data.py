"""`seedbed data`: merge and split datasets, cut them to a length, check them, and show what is in them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seedbed.cli.argument_types import file_path
from seedbed.cli.prepare import shared_options, start_and_follow

if TYPE_CHECKING:
    from seedbed.config.preparing import Merging
    from seedbed.config.resolving import Resolved

DESCRIPTION = """\
Work with datasets: folders that `seedbed prepare` and `seedbed data merge` make.

  merge      put datasets together: leave out duplicates, group what belongs together, split into train and eval
  clip       cut rows to a number of tokens, at turns and lines only
  lengths    show how many tokens the rows have
  peek       show rows as the model sees them, with the tokens that are trained in colour
  check      check the files, and whether evaluation answers are visible in the training rows
  report     show what is in a dataset
  diff       show what differs between two datasets
"""
EXAMPLES = """\
  seedbed data merge data/logs data/fim data/commits --name full --eval-frac 0.15
  seedbed data merge data/* --out data/full --against humaneval.jsonl
  seedbed data report data/full
  seedbed data lengths data/full --model ~/models/A
  seedbed data clip data/full --max-tokens 2048 --model ~/models/A --out data/short
  seedbed data peek data/full --model ~/models/A --rows 3
  seedbed data check data/full
  seedbed data diff data/full data/full-2
"""
MERGE_KEYS = {
    "--eval-frac": "split.eval_fraction",
    "--eval-rows": "split.eval_rows",
    "--level": "split.level",
    "--salt": "split.salt",
    "--ledger": "split.ledger",
    "--near": "duplicates.near",
    "--workers": "merge.workers",
}
"""Option of `merge` -> the key of the config that it sets."""
_HELP = {
    "--eval-frac": ("SHARE", "share of the rows for evaluation (default: 0.1)"),
    "--eval-rows": ("N", "the most rows for evaluation (default: 10000)"),
    "--level": ("WHAT", "what stays together: auto (default), links, repository or time"),
    "--salt": ("TEXT", "another text gives another split"),
    "--ledger": ("FILE", "remembers which rows were ever for evaluation (default: eval-ledger.jsonl in the dataset)"),
    "--near": ("WHAT", "near duplicates: drop (default) or mark"),
    "--workers": ("N", "processes (default: one for each usable core)"),
}
SYNONYMS = {"--output": "--out", "--bg": "--background", "--overwrite": "--force", "--eval-size": "--eval-rows"}
_FOLDER = Path("data")


def options(parser: argparse.ArgumentParser) -> None:
    """Add the verbs of `data` and their options to the parser."""
    verbs = parser.add_subparsers(metavar="VERB", dest="verb", required=True, title="verbs")
    _merge_options(_verb(verbs, "merge", "put datasets together, and split them into train and eval"))


def _verb(verbs: Any, name: str, summary: str) -> argparse.ArgumentParser:
    """Add a verb with its examples."""
    examples = "".join(f"{line}\n" for line in EXAMPLES.splitlines() if f"data {name}" in line)
    added: argparse.ArgumentParser = verbs.add_parser(
        name, help=summary, description=summary.capitalize() + ".", epilog="examples:\n" + examples
    )
    added.synonyms = SYNONYMS  # type: ignore[attr-defined]
    return added


def _merge_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("inputs", metavar="DATASET", nargs="+", help="folders of datasets")
    parser.add_argument(
        "--out", metavar="DIR", type=file_path, help="the folder of the new dataset (default: data/NAME)"
    )
    for option, (metavar, text) in _HELP.items():
        parser.add_argument(option, metavar=metavar, help=text)
    parser.add_argument(
        "--against",
        metavar="PATH",
        action="append",
        default=[],
        help="an evaluation set (JSON lines, text, or a folder): rows that contain its items are left out; may be repeated",
    )
    shared_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Do what the verb says; returns the exit status."""
    return {"merge": merge}[arguments.verb](arguments)


def merge(arguments: argparse.Namespace) -> int:
    """Start a merge and follow it."""
    from seedbed.actions.preparing import with_inputs
    from seedbed.errors import UsageError

    if arguments.out is None:
        if arguments.name is None:
            raise UsageError(
                "Where to? The new dataset has no folder.", "Give --out DIR, or --name NAME for data/NAME."
            )
        arguments.out = _FOLDER / arguments.name
    wanted = with_inputs(resolved(arguments), "merge", inputs(arguments.inputs, arguments.out))
    return start_and_follow(arguments, "merge", wanted)


def inputs(names: list[str], output: Path) -> list[str]:
    """The inputs without what a pattern such as data/* also names: the output itself, and what is no dataset.

    Raises UsageError if a single path that is no dataset was given.
    """
    from seedbed.cli.console import note
    from seedbed.curation.folder import is_dataset
    from seedbed.files import normal_path
    from seedbed.text import quoted

    if len(names) == 1:
        return names
    kept = []
    for name in names:
        path = normal_path(name)
        if path == normal_path(output):
            note(f"{quoted(name)} is the output, so it is not an input.")
        elif path.is_dir() and not is_dataset(path):
            note(f"{quoted(name)} is not a dataset, so it is left out.")
        else:
            kept.append(name)
    return kept


def resolved(arguments: argparse.Namespace) -> Resolved[Merging]:
    """The config that the options describe. Raises UsageError if a value is wrong."""
    from seedbed.config.layers import Flagged
    from seedbed.config.resolving import resolve
    from seedbed.config.roots import MERGE
    from seedbed.files import normal_path

    flags: dict[str, Any] = {
        path: Flagged(getattr(arguments, option[2:].replace("-", "_")), option) for option, path in MERGE_KEYS.items()
    }
    if arguments.against:
        flags["decontamination.against"] = Flagged([str(normal_path(each)) for each in arguments.against], "--against")
    return resolve(MERGE, sets=arguments.sets, flags=flags)
