"""The fit of the cost model: each source of published runs is left out in turn, and the shipped constants are the fitted ones."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import numpy as np
import pytest

from seedbed.simulate.constants import fitted, fitted_file
from seedbed.simulate.published import read_rows
from test_benchmarks import script

RUNS = Path(os.environ.get("SEEDBED_TEST_DATA", ""), "published_runs.json")
pytestmark = pytest.mark.skipif(not RUNS.is_file(), reason="SEEDBED_TEST_DATA has no published_runs.json")


@pytest.mark.slow
def test_runs_of_sources_left_out_are_predicted_with_the_stated_errors() -> None:
    pytest.importorskip("scipy")
    module = script("fit_cost")
    rows = [row for row in read_rows(RUNS) if row.tokens_per_s_per_gpu]
    fit = module.Fit(rows, module.weights_of(rows))
    k = fit.fit(range(len(rows)))
    for name, value in msgspec.structs.asdict(k).items():
        assert value == pytest.approx(getattr(fitted(), name), rel=0.02), f"{name}: run benchmarks/fit_cost.py --write"
    assert fitted_file().rows == len(rows)
    errors, _ = fit.leave_out(lambda row: row.source, k)
    core = np.array([row.is_core for row in rows])
    for chosen, median, high in ((np.ones(len(rows), bool), 7, 27), (core, 6, 18)):
        found = module.percent(errors[chosen])
        assert found[0] <= median
        assert found[1] <= high
    assert 0.75 <= module.coverage(rows, errors) <= 0.85
