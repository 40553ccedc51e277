"""`seedbed prune`: remove old runs, checkpoints or caches, by policy."""

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
    from seedbed.runs.caches import Entry
    from seedbed.runs.retention import Chosen, Policy, Thinning
    from seedbed.runs.store import Store

DESCRIPTION = """\
Make room: shows what would go, asks, and removes it; never what a process uses.
--older-than, --keep, --status and --archived choose among the runs that have ended, which go whole; where several
are given, all must hold. With --checkpoints the runs stay, but of their checkpoints only the last and the best, if
these verify. With --caches, prepared data goes that no run here was trained on, and compiled kernels that nobody
uses; with --older-than, whatever was not used for so long. Both are made again when they are needed.
Archived runs are touched with --archived alone.
"""
EXAMPLES = """\
  seedbed prune --status failed,lost --older-than 30d
  seedbed prune --keep 20 --dry-run          what all but the 20 newest take up
  seedbed prune --archived --yes             archived runs, without asking
  seedbed prune --checkpoints                last and best checkpoint of each run are enough
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
"""Options of other programs -> what stands for them here."""

_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_AGE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([smhdw])")
_CUT_OFF_S = 3600.0
_POLICIES = "--older-than, --keep, --status, --archived, --checkpoints, --caches"
_REMOVABLE = tuple(status for status in STATUSES if status in REMOVABLE)


def options(parser: argparse.ArgumentParser) -> None:
    """The options of `prune`."""
    from seedbed.cli.generate import whole

    add = parser.add_argument
    add("--older-than", metavar="AGE", type=age, help="not used for 45m, 12h, 30d, 2w")
    add("--keep", metavar="N", type=whole(1), help="spare the N newest")
    add(
        "--status",
        metavar="S[,S...]",
        type=any_of(_REMOVABLE),
        action="extend",
        default=[],
        help=f"only these: {', '.join(_REMOVABLE)} (default: all but broken)",
    )
    add("--archived", action="store_true", help="archived runs, instead of the others")
    add("--checkpoints", action="store_true", help="thin checkpoints to the last and the best; the runs stay")
    add("--caches", action="store_true", help="prepared data, and compiled kernels idle for an hour")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--dry-run", action="store_true", help="only show what would go")
    what.add_argument("--yes", action="store_true", help="do not ask")
    runs_option(parser)
    json_option(parser, "what goes (with --dry-run or --yes)")


class Plan(NamedTuple):
    """What goes."""

    runs: list[tuple[Chosen, int]]
    """With their bytes."""
    thinnings: list[Thinning]
    caches: list[Entry]
    leftovers: list[tuple[Path, int]]
    """Of runs whose making or removal was cut off, with their bytes."""

    @property
    def size_bytes(self) -> int:
        """Bytes of all of it."""
        thinned = sum(each.freed_bytes for each in self.thinnings)
        whole = sum(size for _, size in self.runs) + sum(size for _, size in self.leftovers)
        return whole + thinned + sum(each.size_bytes for each in self.caches)

    def __bool__(self) -> bool:
        return any(self)


def run(arguments: argparse.Namespace) -> int:
    """Plan, show, ask, remove; exit status 1 if something that was planned could not go."""
    from seedbed.cli.console import can_ask, confirm, note, print_error, say, say_json
    from seedbed.cli.store_option import store
    from seedbed.errors import EXIT_FAILURE, SeedbedError, UsageError
    from seedbed.text import size

    policy = chosen_policy(arguments)
    unasked = arguments.yes or arguments.dry_run
    if not unasked and (arguments.json or not can_ask()):
        why = "--json leaves no room for a question" if arguments.json else "There is no terminal to ask at"
        raise UsageError(f"{why}, so nothing was removed.", "Add --yes to remove, or --dry-run to look.")
    plan = make_plan(store(arguments.runs), policy, arguments)
    freed, failed = 0, False
    if not arguments.json:
        for line in describe(plan) if plan else ["Nothing to prune."]:
            (note if plan and not unasked else say)(line)
    if plan and not unasked and not confirm(f"Remove all this for good ({size(plan.size_bytes)})?"):
        note("Nothing was removed.")
        return EXIT_FAILURE
    if not arguments.dry_run:
        for remove in steps(plan):
            try:
                freed += remove()
            except SeedbedError as error:
                print_error(error)
                failed = True
    if arguments.json:
        say_json({**as_json(plan), "freed_bytes": freed, "dry_run": arguments.dry_run})
    elif plan and not arguments.dry_run:
        say(f"Freed {size(freed)}.")
    return EXIT_FAILURE if failed else 0


def chosen_policy(arguments: argparse.Namespace) -> Policy:
    """Which runs are meant. Raises UsageError where nothing is, or where an option says nothing."""
    from seedbed.errors import UsageError
    from seedbed.runs.retention import Policy

    chooses = bool(arguments.keep or arguments.status or arguments.archived)
    thins = arguments.checkpoints or arguments.caches
    if not (chooses or thins or arguments.older_than is not None):
        raise UsageError("prune was not told what to delete.", f"Name a policy: {_POLICIES}.")
    if chooses and arguments.caches and not arguments.checkpoints:
        raise UsageError(
            "--keep, --status and --archived choose runs; of the caches only --older-than can choose.",
            "Prune runs and caches one after the other.",
        )
    return Policy(arguments.older_than, arguments.keep, frozenset(arguments.status), arguments.archived)


def make_plan(place: Store, policy: Policy, arguments: argparse.Namespace) -> Plan:
    """Look for what fits; removes nothing."""
    from seedbed.cli.generate import loading
    from seedbed.runs.caches import entries
    from seedbed.runs.retention import choose, leftovers, thinning, tree_bytes
    from seedbed.text import printable

    caches: list[Entry] = []
    if arguments.caches:
        going = [entry for entry in entries(place) if entry.may_go(policy.older_than_s)]
        caches = sorted(going, key=lambda entry: bool(entry.used_by))
    if arguments.checkpoints:
        thinnings = []
        for each in choose(place, policy):
            loading(f"verifying the checkpoints of {printable(each.run.id)} ...")
            found = thinning(each.run)
            thinnings += [found] if found is not None else []
        loading("")
        return Plan([], thinnings, caches, [])
    if arguments.caches:
        return Plan([], [], caches, [])
    runs = [(each, tree_bytes(each.run.path)) for each in choose(place, policy)]
    return Plan(runs, [], [], [(path, tree_bytes(path)) for path in leftovers(place, _CUT_OFF_S)])


def steps(plan: Plan) -> list[Callable[[], int]]:
    """What removes each part of a plan and tells the bytes that were freed."""
    from functools import partial

    from seedbed.actions import delete
    from seedbed.files import remove_tree
    from seedbed.runs.caches import remove
    from seedbed.runs.retention import thin

    def clear(path: Path, size_bytes: int) -> int:
        remove_tree(path)
        return 0 if path.exists() else size_bytes

    return [
        *(partial(delete, each.run) for each, _ in plan.runs),
        *(partial(clear, path, size) for path, size in plan.leftovers),
        *(partial(thin, each) for each in plan.thinnings),
        *(partial(remove, each) for each in plan.caches),
    ]


def describe(plan: Plan) -> list[str]:
    """A plan for people."""
    from seedbed import text
    from seedbed.cli.console import table
    from seedbed.cli.du import cache_entry, caches_table

    def name(run: Any) -> str:
        return text.shorten(text.printable(run.name()), 28)

    lines: list[str] = []
    if plan.runs:
        rows = [
            [
                text.printable(each.run.id),
                name(each.run),
                each.status,
                f"{text.duration(each.idle_s)} ago",
                text.size(size),
            ]
            for each, size in plan.runs
        ]
        lines += table(rows, ["RUN", "NAME", "STATUS", "LAST USED", "SIZE"], right=["SIZE"])
    if plan.leftovers:
        rows = [[text.printable(str(path)), text.size(size)] for path, size in plan.leftovers]
        lines += table(rows, ["LEFT BEHIND", "SIZE"], right=["SIZE"])
    if plan.thinnings:
        rows = []
        for each in plan.thinnings:
            kept = ", ".join(str(checkpoint.step) for checkpoint in each.kept)
            going = ", ".join(dict.fromkeys(str(checkpoint.step) for checkpoint in each.going))
            rows.append(
                [
                    text.printable(each.run.id),
                    name(each.run),
                    kept,
                    text.shorten(going, 40),
                    text.size(each.freed_bytes),
                ]
            )
        lines += table(rows, ["RUN", "NAME", "KEEPS STEPS", "REMOVES", "SIZE"], right=["SIZE"])
    if plan.caches:
        lines += caches_table([cache_entry(entry) for entry in plan.caches])
    return [*lines, f"Altogether {text.size(plan.size_bytes)}."]


def as_json(plan: Plan) -> dict[str, Any]:
    """A plan for a script."""
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
            for each, size in plan.runs
        ],
        "checkpoints": [
            {
                "id": each.run.id,
                "kept": [str(checkpoint.path) for checkpoint in each.kept],
                "removed": [str(checkpoint.path) for checkpoint in each.going],
                "total_bytes": each.freed_bytes,
            }
            for each in plan.thinnings
        ],
        "caches": [cache_entry(entry) for entry in plan.caches],
        "leftovers": [{"path": str(path), "total_bytes": size} for path, size in plan.leftovers],
        "total_bytes": plan.size_bytes,
    }


def age(word: str) -> float:
    """An argument type: an age such as 30d, in seconds."""
    found = _AGE.fullmatch(word)
    if found is None:
        raise argparse.ArgumentTypeError(f"{word!r} is no age; write a number and s, m, h, d or w, such as 30d")
    return float(found[1]) * _UNITS_S[found[2]]
