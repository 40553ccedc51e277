"""`seedbed du`: the disk usage of runs and caches."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

from seedbed.cli.parser import json_option, runs_option

if TYPE_CHECKING:
    from seedbed.runs.caches import CacheEntry
    from seedbed.runs.store import Store

DESCRIPTION = """\
Show the disk usage of each run (checkpoints, logs, other files), the largest first, then the disk usage of the caches
(prepared data and compiled kernels, which are recreated when needed). `seedbed prune` and `seedbed delete` free space.
"""
EXAMPLES = """\
  seedbed du
  seedbed du --json
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `du` to the parser."""
    runs_option(parser)
    json_option(parser, "all sizes in bytes")


def run(arguments: argparse.Namespace) -> int:
    """Measure the disk usage and print it."""
    from seedbed.cli.console import say, say_json
    from seedbed.cli.store_option import store

    found = measure(store(arguments.runs))
    if arguments.json:
        say_json(found)
        return 0
    for line in describe(found):
        say(line)
    return 0


def measure(store: Store) -> dict[str, Any]:
    """The sizes of all runs and caches, as an object that `--json` prints."""
    from seedbed.config.directories import cache_dir
    from seedbed.disk_space import free_bytes
    from seedbed.runs.caches import UNFINISHED, cache_entries
    from seedbed.runs.retention import leftovers, tree_bytes, usage

    runs = [
        {
            "id": used.run.id,
            "name": used.run.name(),
            "archived": used.run.is_archived(),
            "checkpoints_bytes": used.checkpoints_bytes,
            "log_bytes": used.log_bytes,
            "rest_bytes": used.rest_bytes,
            "total_bytes": used.total_bytes,
        }
        for used in sorted(map(usage, store.all()), key=lambda used: -used.total_bytes)
    ]
    left = [{"path": str(path), "total_bytes": tree_bytes(path)} for path in leftovers(store)]
    caches = [cache_entry(entry) for entry in cache_entries(store) if entry.size_bytes or entry.kind != UNFINISHED]
    return {
        "runs_dir": str(store.root.absolute()),
        "runs": runs,
        "leftovers": left,
        "runs_bytes": sum(each["total_bytes"] for each in [*runs, *left]),
        "cache_dir": str(cache_dir()),
        "caches": caches,
        "caches_bytes": sum(each["total_bytes"] for each in caches),
        "runs_free_bytes": free_bytes(store.root),
        "cache_free_bytes": free_bytes(cache_dir()),
    }


def cache_entry(entry: CacheEntry) -> dict[str, Any]:
    """A cache entry (data prepared for runs, or compiled kernels) as an object that `--json` prints."""
    return {
        "kind": entry.kind,
        "name": entry.name,
        "path": str(entry.path),
        "total_bytes": entry.size_bytes,
        "last_used": entry.last_used,
        "used_by": list(entry.used_by),
        "in_use": entry.in_use,
    }


def describe(found: dict[str, Any]) -> list[str]:
    """The sizes of all runs and caches as lines of text."""
    from seedbed import text
    from seedbed.cli.console import fitted, paint, table, width

    lines: list[str] = []
    columns = ["CHECKPOINTS", "LOGS", "REST", "TOTAL"]
    keys = ("checkpoints_bytes", "log_bytes", "rest_bytes", "total_bytes")
    rows = [
        [
            text.printable(each["id"]),
            text.shorten(text.printable(each["name"]), 28),
            *(text.size(each[key]) for key in keys),
        ]
        for each in found["runs"]
    ]
    rows += [
        [text.printable(each["path"]), "leftover", "", "", "", text.size(each["total_bytes"])]
        for each in found["leftovers"]
    ]
    if rows:
        header = ["RUN", "NAME", *columns]
        fitted(header, rows, [], spare=("REST", "RUN", "LOGS", "CHECKPOINTS"))
        lines += [*table(rows, header, right=columns), ""]
    if found["caches"]:
        lines += [*caches_table(found["caches"]), ""]
    for label, size_bytes, folder, free in (
        ("runs", found["runs_bytes"], found["runs_dir"], found["runs_free_bytes"]),
        ("caches", found["caches_bytes"], found["cache_dir"], found["cache_free_bytes"]),
    ):
        where = f"in {text.printable(folder)} ({text.size(free)} free)"
        line = f"{paint(f'{label:<8}', 'dim')}{text.size(size_bytes):>10}"
        lines += (
            [f"{line}  {where}"]
            if 20 + len(where) <= width(200)
            else [f"{line}  ({text.size(free)} free)", f"  {text.printable(folder)}"]
        )
    return lines


def caches_table(entries: list[dict[str, Any]]) -> list[str]:
    """Cache entries as the lines of a table."""
    from seedbed import text
    from seedbed.cli.console import fitted, table

    header = ["CACHE", "NAME", "USED BY", "LAST USED", "TOTAL"]
    rows = [
        [
            each["kind"],
            text.shorten(text.printable(each["name"]), 40),
            users(each),
            f"{text.duration(max(time.time() - each['last_used'], 0.0))} ago",
            text.size(each["total_bytes"]),
        ]
        for each in entries
    ]
    fitted(header, rows, [], spare=("USED BY", "LAST USED", "CACHE"))
    return table(rows, header, right=["TOTAL"])


def users(entry: dict[str, Any]) -> str:
    """What uses a cache entry, as text: a running job, other programs, or how many runs."""
    count = len(entry["used_by"])
    if entry["in_use"]:
        return "a running job"
    if entry["kind"] == "compiled kernels":
        return "torch, also in other programs"
    return f"{count} run{'' if count == 1 else 's'}" if count else "no run here"
