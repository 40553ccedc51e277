"""The summary of a simulated run says what happened in it, with the values that its status shows."""

from __future__ import annotations

from typing import Any

import pytest

from seedbed.events import Message, Phase, Step
from seedbed.simulate.cluster_run import ClusterRun
from simulated import CALM, scenario


def final_loss(**changes: Any) -> tuple[float, str]:
    """The loss of the last step, and the sentence about it."""
    run = ClusterRun(scenario(reliability=CALM, spikes_per_step=0.0, eval_every=0, **changes))
    loss, line = 0.0, ""
    for _, event in run.events():
        if isinstance(event, Step):
            loss = event.loss
        if isinstance(event, Message) and event.text.startswith("Final loss"):
            line = event.text
    return loss, line


SMALL: dict[str, Any] = {"parameters": 3_000_000, "vocab": 4096, "tokens_per_step": 16_384, "sequences_per_step": 64}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, ""),
        ({**SMALL, "steps": 30_000}, ""),
        (
            {**SMALL, "steps": 610},
            "The law does not hold for so few tokens: it gives more than guessing, 8.3178.",
        ),  # ln(4096)
        ({**SMALL, "steps": 3200}, "the start of the curve"),
        ({"steps": 50, "warmup_steps": 5}, "only 50 steps"),
        ({**SMALL, "steps": 30_000, "sequences_per_step": 1, "seed": 3}, "its batch is small"),
    ],
)
def test_a_final_loss_far_from_the_law_is_explained(changes: dict[str, Any], why: str) -> None:
    loss, line = final_loss(**changes)
    assert line.startswith(f"Final loss: {loss:.4f}")
    if why:
        assert why in line
    else:
        assert line.endswith(".")
        law = float(line.partition("the law gives ")[2].rstrip("."))
        assert loss == pytest.approx(law, rel=0.03)


def test_the_goodput_at_the_end_is_that_of_the_summary() -> None:
    run = ClusterRun(scenario(steps=200, checkpoint_write_s=300.0))
    events = [event for _, event in run.events()]
    (end,) = (event for event in events if isinstance(event, Phase) and event.name == "train" and event.done)
    (line,) = (event.text for event in events if isinstance(event, Message) and event.text.startswith("Goodput"))
    assert end.metrics is not None
    assert line.startswith(f"Goodput: {end.metrics['goodput']:.1%}.")
    assert end.metrics["goodput"] == pytest.approx(200 * 4.5 / run.t, rel=1e-5)
