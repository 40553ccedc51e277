"""Published interruptions and effective times of large clusters against what the failure model predicts.

Every row of the file is shown; where a row does not give enough figures for a prediction, the reason is shown. Nothing is
fitted: the rates come from facts/failures.json, the checkpoint and recovery times from the options below.

    python benchmarks/failures.py published_failures.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from seedbed.simulate.failures import Reliability
from seedbed.simulate.goodput import Checkpointing, effective_share, recommended_interval_s


class Line(NamedTuple):
    """One published figure and its prediction (None: there is none, for the reason in `note`)."""

    row: str
    figure: str
    published: float
    predicted: float | None
    note: str = ""


def nodes_of(row: dict[str, Any]) -> float | None:
    """Nodes of the row; where only GPUs are given, eight per node (assumed)."""
    return row.get("nodes") or (row["gpus"] / 8 if row.get("gpus") else None)


def lines_of(row: dict[str, Any], rates: Reliability, blocking_s: float, load_s: float) -> Iterator[Line]:
    """Every figure of a row about failures or effective time."""
    name, nodes, days = row["id"], nodes_of(row), row.get("duration_days")
    unexpected = row.get("unexpected_interruptions") or row.get("interruptions")
    if unexpected is not None:
        if nodes and days:
            yield Line(name, "interruptions", unexpected, rates.expected_failures(round(nodes), days))
        else:
            yield Line(name, "interruptions", unexpected, None, "the row gives no duration")
    if row.get("planned_interruptions") and nodes and days:
        planned = nodes * days * rates.maintenance_rate / 1000
        yield Line(name, "planned interruptions", row["planned_interruptions"], planned, "the source of this rate")
    if row.get("failures_per_1000_node_days") is not None:
        yield Line(name, "failures / 1000 node-days", row["failures_per_1000_node_days"], rates.total_rate())
    if row.get("mtbf_hours") is not None and nodes:
        yield Line(name, "hours between failures", row["mtbf_hours"], 1 / rates.failures_per_s(round(nodes)) / 3600)
    for gpus, hours in (row.get("mttf_by_gpus_hours") or {}).items():
        count = int(gpus.split()[0]) // 8
        yield Line(name, f"hours to failure, {gpus} GPUs", hours, 1 / rates.failures_per_s(count) / 3600)
    if row.get("effective_time") is not None:
        if nodes:
            given = Checkpointing(
                blocking_s,
                1 / rates.failures_per_s(round(nodes)),
                rates.recovery_s(round(nodes), row["gpus"], load_s),
                30.0,
            )
            share = effective_share(recommended_interval_s(given), given)
            yield Line(name, "effective time", row["effective_time"], share, row.get("effective_time_note", ""))
        else:
            yield Line(name, "effective time", row["effective_time"], None, "the row gives no number of nodes")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--blocking", type=float, default=12.0, help="seconds a checkpoint blocks training (assumed)")
    parser.add_argument("--load", type=float, default=60.0, help="seconds to read a checkpoint (assumed)")
    options = parser.parse_args()
    rows = json.loads(options.file.read_text(encoding="utf-8"))
    print(f"{'row':24} {'figure':38} {'published':>10} {'predicted':>10} {'error':>7}  note")
    silent = []
    for row in rows:
        found = list(lines_of(row, Reliability(), options.blocking, options.load))
        if not found:
            silent.append(f"{row['id']}: no count, rate or effective time")
        for line in found:
            predicted = f"{line.predicted:10.3g}" if line.predicted is not None else f"{'-':>10}"
            error = f"{line.predicted / line.published - 1:+7.0%}" if line.predicted is not None else f"{'-':>7}"
            print(f"{line.row:24} {line.figure:38} {line.published:10.4g} {predicted} {error}  {line.note[:70]}")
    print("\nRows without a figure:")
    for words in silent:
        print(f"  {words}")


if __name__ == "__main__":
    main()
