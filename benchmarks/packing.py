"""Packing: how full the rows are and how long the plan takes, for several ways to pack the same samples.

Lengths are lognormal, as those of conversations and files are, cut at the row length. Seedbed's best-fit-decreasing plan is
compared with first-fit without sorting, with packing in order, with a row for each sample, and, if it is installed, with
`pack_dataset` of TRL (its time includes moving the tokens).

    python benchmarks/packing.py --samples 100000 --row 4096
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

GOAL_FILL, GOAL_S = 0.999, 0.3


def lognormal(count: int, row: int, seed: int, center: float, spread: float) -> np.ndarray:
    """Sample lengths, 1 .. `row`."""
    drawn = np.exp(np.random.default_rng(seed).normal(center, spread, count))
    return np.clip(drawn.astype(np.int64), 1, row)


def by_seedbed(lengths: np.ndarray, row: int) -> int:
    """The number of rows of Seedbed's plan, which is checked."""
    from seedbed.data.packing import pack

    plan = pack(lengths, row)
    assert np.array_equal(np.sort(plan.members), np.arange(len(lengths)))
    assert int(np.add.reduceat(lengths[plan.members], plan.starts[:-1]).max()) <= row
    return plan.num_rows


def in_order(lengths: np.ndarray, row: int) -> int:
    """Each sample goes into the last row if it fits, else into a new one."""
    rows, free = 0, 0
    for length in lengths.tolist():
        if length > free:
            rows, free = rows + 1, row
        free -= length
    return rows


def first_fit(lengths: np.ndarray, row: int) -> int:
    """Each sample, in the order of the data, goes into the first row that has room (a tree finds it)."""
    size = 1
    while size < len(lengths):
        size *= 2
    most = [row] * (2 * size)  # the largest free space below each node
    used = 0
    for length in lengths.tolist():
        node = 1
        while node < size:
            node = 2 * node if most[2 * node] >= length else 2 * node + 1
        used = max(used, node - size + 1)
        most[node] -= length
        while node > 1:
            node //= 2
            most[node] = max(most[2 * node], most[2 * node + 1])
    return used


def padded(lengths: np.ndarray, row: int) -> int:
    """A row for each sample."""
    return len(lengths)


def by_trl(lengths: np.ndarray, row: int) -> int:
    """TRL's `pack_dataset` with the strategy bfd."""
    import datasets
    import pyarrow as pa
    from trl import pack_dataset

    datasets.disable_progress_bars()

    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    ids = pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(np.zeros(offsets[-1], dtype=np.int32)))
    data = datasets.Dataset(pa.table({"input_ids": ids}))
    return len(pack_dataset(data, row, strategy="bfd"))


WAYS: dict[str, Callable[[np.ndarray, int], int]] = {
    "seedbed, best fit decreasing": by_seedbed,
    "first fit": first_fit,
    "in order": in_order,
    "one per row": padded,
    "TRL, bfd": by_trl,
}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Fill and seconds of each way; the best of `--repeats`."""
    lengths = lognormal(options.samples, options.row, options.seed, options.center, options.spread)
    found: dict[str, Any] = {}
    for name, way in WAYS.items():
        seconds, rows = [], 0
        try:
            for _ in range(options.repeats):
                begun = time.perf_counter()
                rows = way(lengths, options.row)
                seconds.append(time.perf_counter() - begun)
        except ImportError:
            continue
        found[name] = {"fill": float(lengths.sum() / rows / options.row), "seconds": min(seconds), "rows": rows}
    ours = found["seedbed, best fit decreasing"]
    return {
        "samples": options.samples,
        "row": options.row,
        "tokens": int(lengths.sum()),
        "median_length": float(statistics.median(lengths.tolist())),
        "ways": found,
        "met": ours["fill"] >= GOAL_FILL and ours["seconds"] <= GOAL_S,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--row", type=int, default=4096)
    parser.add_argument("--center", type=float, default=6.0, help="mean of the logarithm of the lengths")
    parser.add_argument("--spread", type=float, default=1.0, help="its standard deviation")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    result = measure(options)
    if options.json:
        print(json.dumps(result))
        return
    print(f"{result['samples']:,} samples, median {result['median_length']:,.0f} tokens, rows of {result['row']:,}")
    for name, each in result["ways"].items():
        print(f"{name:30}{each['fill']:9.3%} full{each['seconds']:9.3f} s{each['rows']:10,} rows")
    print(f"goal: {GOAL_FILL:.1%} full in {GOAL_S} s: {'met' if result['met'] else 'missed'}")


if __name__ == "__main__":
    main()
