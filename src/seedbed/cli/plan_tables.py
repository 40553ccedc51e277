"""The tables of `seedbed plan`: ranked layouts, published runs, known facts, and sizes for a time."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seedbed.config.chosen import Chosen

MOST_LAYOUTS = 12
"""Layouts that --search shows if nothing is said."""


def run(arguments: argparse.Namespace) -> int:
    """Print the table that --list, --runs, --for or --search asks for."""
    if arguments.list:
        return _list(arguments)
    if arguments.runs:
        return _compare(arguments)
    if getattr(arguments, "for"):
        return _plan_time(arguments)
    return _search(arguments)


def _plan_time(arguments: argparse.Namespace) -> int:
    """Print the size that `seedbed train --for` would choose; this machine is measured for some seconds."""
    from seedbed import actions
    from seedbed.cli.console import say_json, set_temporary_line
    from seedbed.config.layers import Flagged
    from seedbed.config.resolving import resolve
    from seedbed.config.roots import TRAIN
    from seedbed.presentation.size_plan import as_json

    flags = {
        "train.time": Flagged(getattr(arguments, "for"), "--for"),
        "data.source": Flagged(arguments.data, "--data"),
    }
    wanted = resolve(TRAIN, file=arguments.file, flags=flags)
    set_temporary_line("measuring this machine ...")
    try:
        found = actions.choose_size(wanted)
    finally:
        set_temporary_line()
    if arguments.json:
        say_json(as_json(found.chosen))
        return 0
    print_sizes(found.chosen)
    return 0


def print_sizes(chosen: Chosen) -> None:
    """Print the choice of a size, with a table of the sizes beside it, as wide as the terminal."""
    from seedbed.cli.console import fitted, folded, say, table
    from seedbed.presentation.size_plan import COLUMNS, RIGHT, closing, opening, table_of_sizes

    header, rows = list(COLUMNS), table_of_sizes(chosen)
    fitted(header, rows, [], spare=("tokens", "parameters"))
    opened, closed = ([line for words in part for line in folded(words)] for part in (opening(chosen), closing(chosen)))
    for line in (*opened, "", *table(rows, header, right=RIGHT), "", *closed):
        say(line)


def _search(arguments: argparse.Namespace) -> int:
    from seedbed.cli.console import fitted, paint, say, say_json, table
    from seedbed.cli.plan_request import request_of
    from seedbed.presentation.plan import LAYOUT_COLUMNS, as_json, layout_json, layouts_table
    from seedbed.simulate.plan import plan_on_fewer_gpus

    first, found, tried = plan_on_fewer_gpus(request_of(arguments))
    top = arguments.top or MOST_LAYOUTS
    by_time = sorted(found, key=lambda each: each.whole.wall_s)
    by_cost = sorted(found, key=lambda each: each.whole.gpu_hours)
    if arguments.json:
        say_json(
            {
                "tried": tried,
                "fit": len(found),
                "fastest": as_json(first),
                "by_time": [layout_json(each) for each in by_time[:top]],
                "by_cost": [layout_json(each) for each in by_cost[:top]],
            }
        )
        return 0
    say(f"{tried:,} layouts compared; {len(found):,} fit into memory.")
    for heading, ranked in (("By time", by_time), ("By cost", by_cost)):
        say()
        say(paint(heading, "bold"))
        header, cells = list(LAYOUT_COLUMNS), layouts_table(ranked[:top])
        fitted(header, cells, [], spare=("GiB", "MFU"), shorten="layout", least=20)
        for line in table(cells, header, right=("GPUs", "training", "step", "MFU", "GiB", "money")):
            say(line)
    return 0


def _compare(arguments: argparse.Namespace) -> int:
    from seedbed import text
    from seedbed.cli.console import say, say_json, table
    from seedbed.presentation.published import as_json, compare, summaries
    from seedbed.simulate.published import read_rows

    found = compare(read_rows(arguments.runs))
    if arguments.json:
        say_json(as_json(found))
        return 0
    cells = [
        [
            text.printable(each.row.id),
            text.count(each.row.tokens_per_s_per_gpu) if each.row.tokens_per_s_per_gpu else "-",
            text.count(each.tokens_per_s_per_gpu),
            _share(each.error, "+"),
            {True: "yes", False: "no", None: "-"}[each.inside],
            f"{each.row.memory_gib:.3g}" if each.row.memory_gib else "-",
            f"{each.memory_gib:.3g}",
        ]
        for each in found
    ]
    header = ("run", "published", "predicted", "error", "in 80 %", "GiB", "predicted GiB")
    for line in table(cells, header, right=header[1:]):
        say(line)
    say()
    say("Tokens per second and GPU, by source (absolute errors; bias: median error):")
    rows = [
        [
            text.printable(each.name),
            str(each.rows),
            _share(each.median),
            _share(each.p90),
            _share(each.bias, "+"),
            str(each.memory_rows),
            _share(each.memory_median),
        ]
        for each in summaries(found)
    ]
    columns = ("source", "runs", "median", "90th pct", "bias", "with memory", "memory median")
    for line in table(rows, columns, right=columns[1:]):
        say(line)
    inside = [each.inside for each in found if each.inside is not None]
    if inside:
        say(f"{sum(inside)} of {len(inside)} lie in their 80 % interval.")
    return 0


def _share(value: float | None, sign: str = "") -> str:
    return "-" if value is None else f"{100 * value:{sign}.1f} %"


def _list(arguments: argparse.Namespace) -> int:
    import msgspec

    from seedbed import text
    from seedbed.cli.console import say, say_json, table
    from seedbed.presentation.facts import LISTS

    facts = LISTS[arguments.list]()
    if arguments.json:
        say_json([msgspec.to_builtins(each) for each in facts.rows])
        return 0
    cells = [[text.printable(cell) for cell in row] for row in facts.cells]
    for line in table(cells, facts.header, right=facts.header[1:]):
        say(line)
    return 0
