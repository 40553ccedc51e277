"""`seedbed prune`: delete old runs, checkpoints or caches."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from seedbed.cli.parser import json_option, runs_option
from seedbed.cli.runs import any_of
from seedbed.runs.statuses import REMOVABLE, STATUSES

if TYPE_CHECKING:
    from seedbed.runs.caches import CacheEntry
    from seedbed.runs.retention import CheckpointPruning, Chosen, Policy
    from seedbed.runs.store import Store

DESCRIPTION = """\
Free disk space: list what would be deleted, ask for confirmation, and delete it. Files that a process uses are kept.
--older-than, --keep, --status and --archived select runs that have ended; a run must match all of them. The selected
runs are deleted completely. With --checkpoints, the runs are kept, and all their checkpoints except the latest and the
best valid ones are deleted. With --caches, unused compiled kernels are deleted, and data that no run here was trained
on; with --caches --older-than, everything in the caches that was not used for that long. Caches are recreated when
needed. Archived runs are selected only with --archived.
"""
EXAMPLES = """\
  seedbed prune --status failed,lost --older-than 30d
  seedbed prune --keep 20 --dry-run          list all but the 20 newest runs
  seedbed prune --archived --yes             delete archived runs, without asking
  seedbed prune --checkpoints                keep the latest and the best checkpoint of each run
  seedbed prune --caches --older-than 2w
"""
SYNONYMS = {
    "--days": "--older-than",
    "--f": "--yes",
    "--force": "--yes",
    "--keep-last": "--keep",
    "--n": "--dry-run",
    "--y": "--yes",
}
"""Option of another program -> the equivalent in Seedbed."""

_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_AGE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([smhdw])")
_INTERRUPTED_S = 3600.0
"""Seconds. A hidden folder unchanged for this long is left from an interrupted creation or deletion of a run."""
_POLICIES = "--older-than, --keep, --status, --archived, --checkpoints, --caches"
_REMOVABLE = tuple(status for status in STATUSES if status in REMOVABLE)


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `prune` to the parser."""
    from seedbed.cli.argument_types import whole

    add = parser.add_argument
    add("--older-than", metavar="AGE", type=age, help="only what was not used for AGE, such as 45m, 12h, 30d, 2w")
    add("--keep", metavar="N", type=whole(1), help="keep the N newest runs")
    add(
        "--status",
        metavar="S[,S...]",
        type=any_of(_REMOVABLE),
        action="extend",
        default=[],
        help=f"only runs with these statuses: {', '.join(_REMOVABLE)} (default: all but broken)",
    )
    add("--archived", action="store_true", help="select archived runs, and only these")
    add("--checkpoints", action="store_true", help="keep the runs; delete all checkpoints but the latest and the best")
    add("--caches", action="store_true", help="delete unused prepared data, and compiled kernels unused for an hour")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--dry-run", action="store_true", help="only list what would be deleted")
    mode.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    runs_option(parser)
    json_option(parser, "what is deleted (with --dry-run or --yes)")


class Removal(NamedTuple):
    """Everything that `seedbed prune` will delete."""

    runs: list[tuple[Chosen, int]]
    """The runs to delete, each with its size in bytes."""
    prunings: list[CheckpointPruning]
    caches: list[CacheEntry]
    leftovers: list[tuple[Path, int]]
    """Folders of runs whose creation or deletion was interrupted, each with its size in bytes."""

    @property
    def size_bytes(self) -> int:
        """The total size in bytes of what will be deleted."""
        pruned = sum(each.freed_bytes for each in self.prunings)
        whole = sum(size for _, size in self.runs) + sum(size for _, size in self.leftovers)
        return whole + pruned + sum(each.size_bytes for each in self.caches)

    def __bool__(self) -> bool:
        return any(self)


def run(arguments: argparse.Namespace) -> int:
    """List what would be deleted, ask for confirmation, and delete it.

    Returns 1 if the answer is no, or if something could not be deleted.
    """
    from seedbed.cli.console import can_ask, confirm, note, print_error, say, say_json
    from seedbed.cli.store_option import store
    from seedbed.errors import EXIT_FAILURE, SeedbedError, UsageError
    from seedbed.text import size

    policy = chosen_policy(arguments)
    asks = not (arguments.yes or arguments.dry_run)
    if asks and (arguments.json or not can_ask()):
        why = "--json cannot ask for confirmation" if arguments.json else "asking for confirmation needs a terminal"
        raise UsageError(f"Nothing was deleted: {why}.", "Add --yes to delete, or --dry-run to list.")
    removal = find_removal(store(arguments.runs), policy, arguments)
    freed, failed = 0, False
    if not arguments.json:
        for line in describe(removal) if removal else ["Nothing to prune."]:
            (note if removal and asks else say)(line)
    if removal and asks and not confirm(f"Delete all of this permanently ({size(removal.size_bytes)})?"):
        note("Nothing was deleted.")
        return EXIT_FAILURE
    if not arguments.dry_run:
        for delete_part in steps(removal):
            try:
                freed += delete_part()
            except SeedbedError as error:
                print_error(error)
                failed = True
    if arguments.json:
        say_json({**as_json(removal), "freed_bytes": freed, "dry_run": arguments.dry_run})
    elif removal and not arguments.dry_run:
        say(f"Freed {size(freed)}.")
    return EXIT_FAILURE if failed else 0


def chosen_policy(arguments: argparse.Namespace) -> Policy:
    """The policy by which the command-line options select runs: age, number to keep, status, archived.

    Raises UsageError if the options select nothing or cannot be combined.
    """
    from seedbed.errors import UsageError
    from seedbed.runs.retention import Policy

    selects_runs = bool(arguments.keep or arguments.status or arguments.archived)
    keeps_runs = arguments.checkpoints or arguments.caches
    if not (selects_runs or keeps_runs or arguments.older_than is not None):
        raise UsageError("No option says what to delete.", f"Give at least one of {_POLICIES}.")
    if selects_runs and arguments.caches and not arguments.checkpoints:
        raise UsageError(
            "--keep, --status and --archived select runs, so they cannot be combined with --caches alone.",
            "Run one command for the runs, and another one with --caches, to which --older-than can be added.",
        )
    return Policy(arguments.older_than, arguments.keep, frozenset(arguments.status), arguments.archived)


def find_removal(store: Store, policy: Policy, arguments: argparse.Namespace) -> Removal:
    """Find everything that the command-line options and the policy select. Nothing is deleted."""
    from seedbed.cli.console import set_temporary_line
    from seedbed.runs.caches import cache_entries
    from seedbed.runs.retention import choose, leftovers, plan_pruning, tree_bytes
    from seedbed.text import printable

    caches: list[CacheEntry] = []
    if arguments.caches:
        unused = [entry for entry in cache_entries(store) if entry.is_removable(policy.older_than_s)]
        caches = sorted(unused, key=lambda entry: bool(entry.used_by))
    if arguments.checkpoints:
        prunings = []
        for each in choose(store, policy):
            set_temporary_line(f"verifying the checkpoints of {printable(each.run.id)} ...")
            found = plan_pruning(each.run)
            prunings += [found] if found is not None else []
        set_temporary_line()
        return Removal([], prunings, caches, [])
    if arguments.caches:
        return Removal([], [], caches, [])
    runs = [(each, tree_bytes(each.run.path)) for each in choose(store, policy)]
    return Removal(runs, [], [], [(path, tree_bytes(path)) for path in leftovers(store, _INTERRUPTED_S)])


def steps(removal: Removal) -> list[Callable[[], int]]:
    """Make the functions that delete: each deletes one part of the removal and returns the number of bytes freed."""
    from functools import partial

    from seedbed.actions import delete
    from seedbed.files import remove_tree
    from seedbed.runs.caches import remove
    from seedbed.runs.retention import prune_checkpoints

    def clear(path: Path, size_bytes: int) -> int:
        remove_tree(path)
        return 0 if path.exists() else size_bytes

    return [
        *(partial(delete, each.run) for each, _ in removal.runs),
        *(partial(clear, path, size) for path, size in removal.leftovers),
        *(partial(prune_checkpoints, each) for each in removal.prunings),
        *(partial(remove, each) for each in removal.caches),
    ]


def describe(removal: Removal) -> list[str]:
    """Lines of text that list everything that will be deleted."""
    from seedbed import text
    from seedbed.cli.console import table
    from seedbed.cli.du import cache_entry, caches_table

    def name(run: Any) -> str:
        return text.shorten(text.printable(run.name()), 28)

    lines: list[str] = []
    if removal.runs:
        rows = [
            [
                text.printable(each.run.id),
                name(each.run),
                each.status,
                f"{text.duration(each.idle_s)} ago",
                text.size(size),
            ]
            for each, size in removal.runs
        ]
        lines += table(rows, ["RUN", "NAME", "STATUS", "LAST USED", "SIZE"], right=["SIZE"])
    if removal.leftovers:
        rows = [[text.printable(str(path)), text.size(size)] for path, size in removal.leftovers]
        lines += table(rows, ["LEFTOVER", "SIZE"], right=["SIZE"])
    if removal.prunings:
        rows = []
        for each in removal.prunings:
            kept = ", ".join(str(checkpoint.step) for checkpoint in each.kept)
            removed = ", ".join(dict.fromkeys(str(checkpoint.step) for checkpoint in each.deleted))
            rows.append(
                [
                    text.printable(each.run.id),
                    name(each.run),
                    kept,
                    text.shorten(removed, 40),
                    text.size(each.freed_bytes),
                ]
            )
        lines += table(rows, ["RUN", "NAME", "KEEPS STEPS", "DELETES", "SIZE"], right=["SIZE"])
    if removal.caches:
        lines += caches_table([cache_entry(entry) for entry in removal.caches])
    return [*lines, f"Total: {text.size(removal.size_bytes)}."]


def as_json(removal: Removal) -> dict[str, Any]:
    """Everything that will be deleted, as an object that `--json` prints."""
    from seedbed.cli.du import cache_entry

    return {
        "runs": [
            {
                "id": each.run.id,
                "name": each.run.name(),
                "status": each.status,
                "idle_s": each.idle_s,
                "total_bytes": size,
            }
            for each, size in removal.runs
        ],
        "checkpoints": [
            {
                "id": each.run.id,
                "kept": [str(checkpoint.path) for checkpoint in each.kept],
                "removed": [str(checkpoint.path) for checkpoint in each.deleted],
                "total_bytes": each.freed_bytes,
            }
            for each in removal.prunings
        ],
        "caches": [cache_entry(entry) for entry in removal.caches],
        "leftovers": [{"path": str(path), "total_bytes": size} for path, size in removal.leftovers],
        "total_bytes": removal.size_bytes,
    }


def age(word: str) -> float:
    """An argument type: an age such as `30d`, converted to seconds."""
    found = _AGE.fullmatch(word)
    if found is None:
        raise argparse.ArgumentTypeError(f'"{word}" is not an age; write a number and s, m, h, d or w, such as 30d')
    return float(found[1]) * _UNITS_S[found[2]]
