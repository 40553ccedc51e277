"""Names and values of open metrics for people."""

from __future__ import annotations

import pytest

from seedbed.presentation.open_metrics import known
from seedbed.presentation.wording import open_metrics
from seedbed.simulate.telemetry import step_metrics
from simulated import scenario

METRICS = {
    "mfu": 0.3817,
    "samples_per_s": 312.38,
    "tokens_per_s_per_gpu": 9712.0,
    "goodput": 0.981,
    "interruptions": 3.0,
}


def test_metrics_of_simulated_runs_have_readable_names_and_units() -> None:
    shown = open_metrics({"simulated": True, "metrics": METRICS})
    assert shown == "MFU 38.2%, samples/s 312.4, tokens/s per GPU 9.71k, goodput 98.1%, interruptions 3"


def test_metrics_of_other_runs_keep_their_names_and_values() -> None:
    # A program may log a share or a percentage as mfu.
    assert open_metrics({"simulated": False, "metrics": {"mfu": 38.2, "lr_scale": 0.5}}) == "mfu 38.2, lr_scale 0.5"


def test_every_metric_that_the_simulator_logs_is_known() -> None:
    for name in step_metrics(scenario(peak_flops=1e15, flops_per_token=1e9), 1.0, 0.9, 0):
        assert known(name, simulated=True).heading.isupper()
        assert "_" not in known(name, simulated=True).plot


@pytest.mark.parametrize(("name", "words"), [("mfu", "MFU"), ("val_accuracy", "val_accuracy")])
def test_a_plot_of_simulated_runs_has_a_readable_name_if_one_is_known(name: str, words: str) -> None:
    assert known(name, simulated=True).plot == words
