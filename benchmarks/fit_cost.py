"""Fit the constants of the cost model on published training runs, and report the errors on sources left out.

    python benchmarks/fit_cost.py RUNS.json                 report the errors of the shipped constants
    python benchmarks/fit_cost.py RUNS.json --write         fit, write facts/fitted.json and the table in docs/planner.md

Method: least squares on log(predicted / published) with a soft L1 loss (scale 5 %), so that rows that are far off count
little. A row weighs its source's number of rows to the power -0.35, half if its source was not read, and half if it is not a
core row. The constants are pulled to their priors (round numbers in constants.py) with a standard deviation of 7 %.

Errors are those of sources that the fit has not seen: each source is left out in turn, the constants are fitted on the
others, and the left-out rows are predicted. The same is done for each kind of GPU. No constant belongs to a row or a
source. Needs scipy: pip install scipy.
"""

from __future__ import annotations

import argparse
import datetime as dt
import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from scipy.optimize import least_squares

from seedbed.simulate.constants import FITTED_FILE, PRIORS, Constants, FittedFile, Spread, fitted
from seedbed.simulate.cost import step_cost
from seedbed.simulate.intervals import CLASSES, UNSEEN, class_of
from seedbed.simulate.published import Row, read_rows

NAMES = Constants.__struct_fields__
SOFT = 0.05
PRIOR_SIGMA = 0.07
SOURCE_POWER = -0.35
SPREAD_POWER = -0.5
COVERAGE = 0.8
UPPER = {"network": 1.0, "exposed_torch": 1.0, "exposed_fused": 1.0}
DOCS = Path(__file__).parents[1] / "docs" / "planner.md"
BEGIN, END = "<!-- table of fit_cost.py -->", "<!-- end of table -->"


class Fit(NamedTuple):
    """Rows with a published throughput, their weights, and the logarithms of the priors."""

    rows: list[Row]
    weights: np.ndarray

    def errors(self, k: Constants, chosen: Sequence[int]) -> np.ndarray:
        """log(predicted / published) of the chosen rows."""
        return np.array(
            [
                math.log(
                    step_cost(self.rows[i].setup, k).tokens_per_s_per_gpu / (self.rows[i].tokens_per_s_per_gpu or 1)
                )
                for i in chosen
            ]
        )

    def fit(self, chosen: Sequence[int], start: Constants = PRIORS, steps: int = 12) -> Constants:
        """The constants that fit the chosen rows best."""
        center = _logs(PRIORS)
        upper = np.array([math.log(UPPER[name]) if name in UPPER else center[i] + 2 for i, name in enumerate(NAMES)])
        weights = self.weights[list(chosen)]

        def residuals(logs: np.ndarray) -> np.ndarray:
            scaled = (self.errors(_constants(logs), chosen) / SOFT) ** 2
            data = np.sqrt(2 * (np.sqrt(1 + scaled) - 1) * weights) * SOFT
            return np.concatenate([data, (logs - center) * SOFT / PRIOR_SIGMA])

        begin = np.clip(_logs(start), center - 2 + 1e-6, upper - 1e-6)
        return _constants(least_squares(residuals, begin, bounds=(center - 2, upper), max_nfev=steps).x)

    def leave_out(self, key: Callable[[Row], str], start: Constants) -> tuple[np.ndarray, dict[str, Constants]]:
        """Errors of each row from constants that were fitted without all rows of its group, and those constants."""
        errors, fits = np.zeros(len(self.rows)), {}
        for group in sorted({key(row) for row in self.rows}):
            out = [i for i, row in enumerate(self.rows) if key(row) == group]
            fits[group] = self.fit([i for i, row in enumerate(self.rows) if key(row) != group], start, 6)
            errors[out] = self.errors(fits[group], out)
        return errors, fits


def _logs(k: Constants) -> np.ndarray:
    return np.log([getattr(k, name) for name in NAMES])


def _constants(logs: np.ndarray) -> Constants:
    return Constants(**{name: float(value) for name, value in zip(NAMES, np.exp(logs), strict=True)})


def weights_of(rows: Sequence[Row]) -> np.ndarray:
    """The weight of each row in the fit."""
    count = Counter(row.source for row in rows)
    return np.array(
        [
            count[row.source] ** SOURCE_POWER * (0.5 if row.trust == "from_memory" else 1) * (1 if row.is_core else 0.5)
            for row in rows
        ]
    )


def spread_of(rows: Sequence[Row], errors: np.ndarray, name: str, chosen: Sequence[int]) -> Spread | None:
    """The spread of a class of setups over the chosen rows; each source counts with its rows to the power 0.5."""
    here = [i for i in chosen if class_of(rows[i].setup, len(rows[i].assumed)) == name]
    if len(here) < 4:
        return None
    count = Counter(rows[i].source for i in here)
    order = sorted(here, key=lambda i: abs(errors[i]))
    shares = np.cumsum([count[rows[i].source] ** SPREAD_POWER for i in order])
    at = order[int(np.searchsorted(shares / shares[-1], COVERAGE))]
    return Spread(len(here), round(math.exp(abs(errors[at])), 3))


def coverage(rows: Sequence[Row], errors: np.ndarray) -> float:
    """Share of left-out rows inside their interval, when the intervals come from the other sources alone."""
    hits = 0
    for source in {row.source for row in rows}:
        others = [i for i, row in enumerate(rows) if row.source != source]
        spreads = {name: spread_of(rows, errors, name, others) for name in CLASSES}
        usual = spreads["usual"]
        assert usual is not None
        for i, row in enumerate(rows):
            if row.source == source:
                found = spreads[class_of(row.setup, len(row.assumed))]
                width = math.log(found.factor) if found else UNSEEN * math.log(usual.factor)
                hits += abs(errors[i]) <= width
    return hits / len(rows)


def percent(errors: np.ndarray) -> tuple[float, float, float]:
    """Median and 90th percentile of the absolute error, and the median error, in percent."""
    relative = np.expm1(errors) * 100
    return float(np.median(abs(relative))), float(np.percentile(abs(relative), 90)), float(np.median(relative))


def table(rows: list[Row], timed: list[Row], errors: np.ndarray, inside: np.ndarray, by_gpu: np.ndarray) -> str:
    """The table of errors by source and by GPU, in Markdown."""
    core = np.array([row.is_core for row in timed])
    lines = ["| rows | number | median error | 90th percentile | median bias |", "|---|---|---|---|---|"]

    def line(name: str, chosen: np.ndarray, found: np.ndarray) -> None:
        middle, high, bias = percent(found[chosen])
        lines.append(f"| {name} | {chosen.sum()} | {middle:.1f} % | {high:.1f} % | {bias:+.1f} % |")

    every = np.ones(len(timed), bool)
    line("**all, each source left out in turn**", every, errors)
    line("**core, each source left out in turn**", core, errors)
    line("all, each kind of GPU left out in turn", every, by_gpu)
    line("all, in the fit", every, inside)
    line("core, in the fit", core, inside)
    for source, _ in Counter(row.source for row in timed).most_common():
        line(source, np.array([row.source == source for row in timed]), errors)
    silent = Counter(row.source for row in rows if row.tokens_per_s_per_gpu is None)
    left = ", ".join(f"{source} ({number})" for source, number in silent.most_common())
    lines += ["", f"{sum(silent.values())} of the {len(rows)} rows publish no speed, only memory: {left}."]
    return "\n".join(lines)


def main() -> None:
    """Report the errors; with --write, fit the constants first and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="a JSON file of published runs")
    parser.add_argument("--write", action="store_true", help="fit and write the constants and the table")
    given = parser.parse_args()
    rows = read_rows(given.runs)
    timed = [row for row in rows if row.tokens_per_s_per_gpu]
    fit = Fit(timed, weights_of(timed))
    every = range(len(timed))
    k = fit.fit(every) if given.write else fitted()
    errors, fits = fit.leave_out(lambda row: row.source, k)
    by_gpu, _ = fit.leave_out(lambda row: row.setup.gpu.name, k)
    covered = coverage(timed, errors)
    spreads = {name: spread_of(timed, errors, name, every) for name in CLASSES}
    text = table(rows, timed, errors, fit.errors(k, every), by_gpu)
    text += f"\n\n{100 * covered:.0f} % of the left-out rows lie in their 80 % interval."
    print(text)
    for name in NAMES:
        values = [getattr(each, name) for each in fits.values()]
        print(
            f"{name:18} {getattr(k, name):8.4g}   prior {getattr(PRIORS, name):6.4g}   {min(values):.4g} to {max(values):.4g}"
        )
    print({name: spread for name, spread in spreads.items() if spread})
    if given.write:
        ranges = {
            name: [round(f([getattr(each, name) for each in fits.values()]), 5) for f in (min, max)] for name in NAMES
        }
        content = FittedFile(
            about="Written by benchmarks/fit_cost.py; do not edit.",
            date=dt.datetime.now(dt.UTC).date().isoformat(),
            rows=len(timed),
            constants=Constants(**{name: float(f"{getattr(k, name):.5g}") for name in NAMES}),
            ranges={name: (low, high) for name, (low, high) in ranges.items()},
            spreads={name: spread for name, spread in spreads.items() if spread},
        )
        FITTED_FILE.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")
        before, _, rest = DOCS.read_text().partition(BEGIN)
        DOCS.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
