"""`seedbed prepare`: make a dataset from logs of coding assistants, source files, commits, or whole repositories."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seedbed.cli.argument_types import file_path
from seedbed.cli.parser import json_option, runs_option

if TYPE_CHECKING:
    from seedbed.actions import Launch
    from seedbed.config.preparing import Preparation
    from seedbed.config.resolving import Resolved
    from seedbed.runs.store import RunDir

DESCRIPTION = """\
Make a dataset. Secrets and personal data are replaced before anything is written, everything that is left out is
counted with a reason, and report.html in the folder shows what is in it.

  logs       conversations of coding assistants: Claude Code, Codex, Cline, Aider, ChatGPT exports, ShareGPT, OpenAI
             messages, Alpaca; the format is recognised
  fim        source files of a repository or folder, with gaps to fill in (fill in the middle)
  commits    the history of a repository: from the state before a commit and its message to its edits
  harvest    fim and commits of every repository under a folder, or of a repository that is cloned

`seedbed data merge` then makes training and evaluation rows of one or more datasets. Ctrl-C keeps what is done;
`seedbed resume` continues. The same command later repeats only what has changed.
"""
EXAMPLES = """\
  seedbed prepare logs ~/.claude/projects --out data/logs
  seedbed prepare fim ~/src/app --out data/fim --for qwen2.5-coder
  seedbed prepare fim ~/src/app --out data/fim --edits 3
  seedbed prepare commits ~/src/app --out data/commits --since 2025-01-01
  seedbed prepare harvest ~/src --out data/all
  seedbed prepare logs export.zip --out data/chats --yes --background
"""
SUMMARIES = {
    "logs": "conversations of coding assistants",
    "fim": "source files with gaps to fill in",
    "commits": "commits as edits of the state before",
    "harvest": "fim and commits of many repositories",
}
_SHARED = {"--seed": "prepare.seed", "--workers": "prepare.workers", "--executor": "prepare.executor"}
_CODE = {
    "--licences": "prepare.licences",
    "--tokenizer": "prepare.tokenizer_folder",
    "--max-tokens": "prepare.most_tokens",
}
_FIM = {"--for": "fim.family", "--fim-rate": "fim.rate", "--context": "fim.context", "--edits": "fim.edits"}
_HISTORY = {"--since": "commits.since", "--max-commits": "commits.max_commits"}
_COMMITS = {
    "--branch": "commits.branch",
    **_HISTORY,
    "--answer": "commits.answer",
}
NAMED_KEYS: dict[str, dict[str, str]] = {
    "logs": {
        **_SHARED,
        "--format": "logs.format",
        "--thinking": "logs.thinking",
        "--subagents": "logs.subagents",
        "--failed": "logs.failed",
    },
    "fim": {**_SHARED, **_CODE, **_FIM, **_HISTORY},
    "commits": {**_SHARED, "--licences": "prepare.licences", **_COMMITS},
    "harvest": {**_SHARED, **_CODE, **_FIM, **_COMMITS},
}
"""Verb -> option -> the key of the config that it sets."""
_HELP = {
    "--seed": ("N", "seed of everything that is chosen at random (default: 1337)"),
    "--workers": ("N", "processes (default: one for each usable core)"),
    "--executor": ("FILE", "a TOML file that configures an executor of datatrove: local, slurm or ray"),
    "--licences": ("WHICH", "any (default), permissive, or a list such as MIT,Apache-2.0"),
    "--tokenizer": ("DIR", "a model folder whose tokenizer measures lengths (default: lengths are estimated)"),
    "--max-tokens": ("N", "the most tokens of a piece of code with its markers (default: 2048)"),
    "--for": ("FAMILY", "the model family whose markers are used, such as qwen2.5-coder or starcoder2"),
    "--fim-rate": ("SHARE", "share of pieces with a gap; the others are plain text (default: 0.5)"),
    "--context": ("WHAT", "file (default), or repository: show other files of the repository before the gap"),
    "--edits": ("N", "also up to N gaps from each commit: the lines that it added to a file (default: 0)"),
    "--branch": ("NAME", "the branch to read (default: the current one, and the files as they are in the folder)"),
    "--since": ("DATE", "only commits after this date, such as 2026-11-01 or '90 days'"),
    "--max-commits": ("N", "the most commits, newest first (default: all)"),
    "--answer": ("FORM", "edits (default): search/replace edits; diff: a unified diff"),
    "--format": ("NAME", "the format of the logs (default: recognised)"),
    "--thinking": ("WHAT", "keep or drop (default) the thinking before answers"),
    "--subagents": ("WHAT", "separate (default): rows of their own; drop: left out"),
    "--failed": ("WHAT", "keep (default) or drop sessions that end in an error"),
}
"""Option -> (its value, what it does)."""
SYNONYMS = {"--output": "--out", "--bg": "--background", "--overwrite": "--force"}


def options(parser: argparse.ArgumentParser) -> None:
    """Add the verbs of `prepare` and their options to the parser."""
    verbs = parser.add_subparsers(metavar="WHAT", dest="what", required=True, title="what to prepare")
    for verb, summary in SUMMARIES.items():
        examples = "".join(f"{line}\n" for line in EXAMPLES.splitlines() if f"prepare {verb}" in line)
        each = verbs.add_parser(
            verb, help=summary, description=f"Make a dataset of {summary}.", epilog="examples:\n" + examples
        )
        each.synonyms = SYNONYMS  # type: ignore[attr-defined]
        several = "files or folders" if verb == "logs" else "repositories or folders"
        several += ", or the address of a repository, which is cloned" if verb == "harvest" else ""
        each.add_argument("inputs", metavar="PATH", nargs="+", help=several)
        each.add_argument("--out", metavar="DIR", type=file_path, required=True, help="the folder of the new dataset")
        for option in NAMED_KEYS[verb]:
            metavar, text = _HELP[option]
            each.add_argument(option, metavar=metavar, help=text)
        if "--branch" in NAMED_KEYS[verb]:
            each.add_argument(
                "--all-branches", action="store_true", help="read all branches, those of remotes included"
            )
        if verb == "logs":
            each.add_argument(
                "--yes", action="store_true", help="you may train on the output of the models in these logs: do not ask"
            )
        each.add_argument(
            "--keep-personal", action="store_true", help="keep personal data; secrets are always replaced"
        )
        shared_options(each)


def shared_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that all tasks that make a dataset have."""
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        dest="sets",
        help="set any value of the config, such as quality.filters=true; may be repeated",
    )
    parser.add_argument("--force", action="store_true", help="replace a dataset that --out names")
    parser.add_argument("--name", help="a name for the task (letters, digits, space, _ . -; up to 64)")
    parser.add_argument(
        "--background", action="store_true", help="work in the background: print the task's id and exit"
    )
    runs_option(parser)
    json_option(parser, "the dataset's description")


def run(arguments: argparse.Namespace) -> int:
    """Start the task and follow it until it ends; with --background, return once it has started."""
    from seedbed.actions.preparing import check_preparation, with_inputs
    from seedbed.runs.store import chosen_store

    wanted = with_inputs(resolved(arguments), "prepare", arguments.inputs)
    if arguments.what == "logs" and not arguments.yes:
        check_preparation(wanted.config, chosen_store(arguments.runs))
        confirm_models(wanted.config)
    return start_and_follow(arguments, "prepare", wanted)


def resolved(arguments: argparse.Namespace) -> Resolved[Preparation]:
    """The config that the options describe. Raises UsageError if a value is wrong."""
    from seedbed.config.layers import Flagged
    from seedbed.config.resolving import resolve
    from seedbed.config.roots import PREPARE
    from seedbed.errors import UsageError

    flags: dict[str, Any] = {"prepare.what": Flagged(arguments.what, "prepare")}
    for option, path in NAMED_KEYS[arguments.what].items():
        flags[path] = Flagged(getattr(arguments, option[2:].replace("-", "_")), option)
    if getattr(arguments, "all_branches", False):
        flags["commits.all_branches"] = Flagged(True, "--all-branches")
    if arguments.keep_personal:
        flags["redaction.personal"] = Flagged(False, "--keep-personal")
    found: Resolved[Preparation] = resolve(PREPARE, sets=arguments.sets, flags=flags)
    if arguments.what == "fim" and found.config.fim.edits == 0:
        for option, path in _HISTORY.items():
            if flags[path].value is not None:
                raise UsageError(
                    f"{option} chooses commits, and `prepare fim` reads none without --edits.", "Add --edits 3."
                )
    return found


def confirm_models(config: Preparation) -> None:
    """Name the models whose output is in the logs, and ask whether the user may train on it.

    Raises UsageError if the answer is no, or if nobody can answer.
    """
    from seedbed.actions.preparing import models_in_logs
    from seedbed.cli.console import note
    from seedbed.errors import UsageError
    from seedbed.text import printable

    found = models_in_logs(config)
    if not found:
        note("These logs do not say which model wrote the answers.")
    for model, turns in found.most_common(12):
        note(f"  {printable(model)}: {turns:,} answers")
    terms = "The terms of some providers do not allow training other models on the output of theirs."
    hint = "If you may train on these answers, add --yes."
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(f"{terms} This is not a terminal, so you cannot be asked.", hint)
    note(terms)
    sys.stderr.write("May you train on these answers? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UsageError("Nothing was prepared.", hint)


def start_and_follow(arguments: argparse.Namespace, kind: str, wanted: Resolved[Any]) -> int:
    """Start a task that makes a dataset, and follow it; `--json` prints the description of the dataset at the end."""
    from seedbed.actions.preparing import discard, start_dataset_task
    from seedbed.cli.evaluate import in_background
    from seedbed.cli.follow import follow
    from seedbed.runs.store import chosen_store

    store = chosen_store(arguments.runs)

    def start() -> Launch:
        return start_dataset_task(store, kind, wanted, arguments.out, arguments.name, sys.argv, force=arguments.force)

    if arguments.background:
        return in_background(start(), as_json=arguments.json)
    report = print_description if arguments.json else None
    return follow(start, as_json=arguments.json, report=report, discard=partial(discard, store))


def print_description(task: RunDir) -> None:
    """Print the description of the dataset that a task has made, as JSON."""
    from msgspec import to_builtins

    from seedbed.cli.console import say_json
    from seedbed.curation.folder import describe
    from seedbed.runs.tasks import output_of

    say_json(to_builtins(describe(Path(str(output_of(task))))))
