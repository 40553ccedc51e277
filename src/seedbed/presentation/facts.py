"""The tables of facts as text: GPUs, models and networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from seedbed import text
from seedbed.simulate import catalog
from seedbed.simulate.rates import half_peak


class Facts(NamedTuple):
    """One table: its columns, the cells of each row as text, and the rows themselves."""

    header: tuple[str, ...]
    cells: list[list[str]]
    rows: Sequence[Any]


def _number(value: float) -> str:
    return f"{value:g}" if value else "-"


def gpus() -> Facts:
    """All known GPUs."""
    rows = catalog.gpus()
    cells = [
        [
            each.name,
            _number(half_peak(each) / 1e12),
            _number(each.memory_gib),
            _number(each.memory_gbps),
            _number(each.link_gbps),
            _number(each.power_w),
            f"{each.usd_per_hour:.2f}" if each.usd_per_hour else "-",
        ]
        for each in rows
    ]
    return Facts(("GPU", "16-bit TFLOPS", "GiB", "GB/s", "link GB/s", "watts", "$ an hour"), cells, rows)


def models() -> Facts:
    """All known models, Seedbed's presets first."""
    rows = (*catalog.preset_shapes(), *catalog.models())
    cells = [
        [
            each.name,
            text.count(each.parameters),
            text.count(each.active_parameters) if each.experts else "-",
            str(each.layers),
            str(each.hidden),
            str(each.heads),
            f"{each.context:,}",
        ]
        for each in rows
    ]
    return Facts(("model", "parameters", "active", "layers", "hidden", "heads", "context"), cells, rows)


def networks() -> Facts:
    """All known networks between servers."""
    rows = catalog.networks()
    cells = [
        [
            each.name,
            _number(each.gbps),
            str(each.links_per_node),
            _number(each.node_gbps),
            f"{100 * each.efficiency:.0f} %",
        ]
        for each in rows
    ]
    return Facts(("network", "GB/s per link", "links per node", "GB/s per node", "reached"), cells, rows)


LISTS: dict[str, Callable[[], Facts]] = {"gpus": gpus, "models": models, "networks": networks}
"""Name of a table -> the function that makes it."""
