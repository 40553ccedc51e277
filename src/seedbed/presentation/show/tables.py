"""The tables of the scrolling view, in plain borders: the GPUs and the summary."""

from __future__ import annotations

from seedbed import text
from seedbed.presentation.show.rows import bordered, bordered_width
from seedbed.simulate.show.items import GpuRow, GpuTable, RunEnds

_NARROW = 60


def gpu_table(item: GpuTable, width: int) -> list[str]:
    """The lines of the table of GPUs: one row each of the first nodes, and one for the others."""
    cells = [[f"{each.node:03d}", f"{each.gpu}", *_load(each)] for each in item.rows]
    if item.rest is not None:
        others = f"+{text.plural(item.rest_nodes, 'node')}"
        cells.append([others, f"{item.rest_gpus:,}", *_load(item.rest)])
    header = ["node", "GPU", "util", "memory used", "used", "temp", "power"]
    if width < _NARROW:
        header, cells = header[:3], [each[:3] for each in cells]
    if bordered_width([header, *cells]) > width:
        return [f"{node}/{gpu} {load}" if node.isdecimal() else f"{node} {load}" for node, gpu, load, *_ in cells]
    return bordered(header, cells, right=range(1, len(header)))


def _load(each: GpuRow) -> list[str]:
    share = each.used_bytes / each.total_bytes if each.total_bytes else 0.0
    return [
        f"{each.fraction:.0%}",
        f"{each.used_bytes / 2**30:.1f} / {each.total_bytes / 2**30:.1f} GiB",
        f"{share:.0%}",
        f"{each.celsius:.0f} C",
        f"{each.watts:.0f} W",
    ]


def summary_table(item: RunEnds, width: int) -> list[str]:
    """The lines of the summary of a run."""
    hours = f"{item.gpu_hours:,.0f} h" if item.gpu_hours >= 10 else f"{item.gpu_hours:.1f} h"
    cells = [
        ["model", f"{item.model}, {text.count(item.parameters)} parameters"],
        ["dataset", item.dataset],
        ["GPUs", f"{item.num_gpus:,} x {item.gpu}"],
        ["steps", f"{item.steps:,} in {text.plural(item.epochs, 'epoch')}"],
        ["tokens", f"{item.tokens:,}"],
        ["time", f"{text.duration(item.elapsed_s)} (simulated)"],
        ["tokens/s", f"{item.tokens_per_s:,.0f}"],
        ["final loss", f"{item.loss:.4f}"],
        ["perplexity", f"{item.perplexity:,.2f}"],
        ["best val_loss", f"{item.best_loss:.4f}"],
        ["goodput", f"{item.goodput:.1%}"],
        ["interruptions", f"{item.interruptions}; {text.plural(item.lost_steps, 'step')} trained again"],
        ["GPU hours", hours],
    ]
    if item.mfu is not None:
        cells.insert(7, ["MFU", f"{item.mfu:.1%}"])
    if item.energy_kwh is not None:
        cells.append(["energy", f"{item.energy_kwh:,.0f} kWh"])
    if item.usd is not None:
        cells.append(["cost", f"${item.usd:,.0f}"])
    cells.append(["saved in", item.target])
    if bordered_width(cells) > width:
        return [f"{label}: {value}" for label, value in cells]
    return bordered((), cells)
